"""Each check catches an adapter that breaks its law: a check that cannot fail proves nothing."""

import asyncio

import pytest
from tests.conformance.sabotage import EVERY

from tropism.testing.blobs import BLOB_CHECKS
from tropism.testing.checks import run_checks
from tropism.testing.compute import COMPUTE_CHECKS, PROCESS_CHECKS
from tropism.testing.log import LOG_CHECKS
from tropism.testing.state import STATE_CHECKS

CHECKS = [*LOG_CHECKS, *STATE_CHECKS, *BLOB_CHECKS, *COMPUTE_CHECKS, *PROCESS_CHECKS]


@pytest.mark.parametrize(("check", "factory"), EVERY, ids=[check.__name__ for check, _ in EVERY])
def test_the_check_catches_its_saboteur(check, factory):
    """A deliberately broken adapter fails the check of the law it breaks, with that law in the report."""
    # What waits for something that never comes is caught by the limit.
    report = asyncio.run(run_checks(factory, [check], limit_seconds=2))
    (failure,) = report.failures
    assert failure.check == check.__name__
    assert failure.law
    assert failure.law.endswith((".", ":"))
    assert not report.ok


def test_every_check_has_its_saboteur():
    """No check goes untested, and no kit leaves out a check that is defined beside it."""
    assert {check for check, _ in EVERY} == set(CHECKS)
    for checks in (LOG_CHECKS, STATE_CHECKS, BLOB_CHECKS, (*COMPUTE_CHECKS, *PROCESS_CHECKS)):
        module = __import__(checks[0].__module__, fromlist=["x"])
        defined = {name for name in vars(module) if name.startswith("check_")}
        assert defined == {check.__name__ for check in checks}
