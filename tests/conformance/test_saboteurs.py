"""Each check catches an adapter that breaks its law: a check that cannot fail proves nothing."""

import asyncio

import pytest
from tests.conformance.sabotage import sabotaged
from tests.conformance.sabotage_log import (
    LOG_SABOTEURS,
    WEAK_SABOTEURS,
    leaves_out_of_full_pages,
    spreads_subjects,
)
from tests.conformance.sabotage_others import BLOB_SABOTEURS, COMPUTE_SABOTEURS
from tests.conformance.sabotage_queue import MORE_QUEUE_SABOTEURS, QUEUE_SABOTEURS
from tests.conformance.sabotage_state import STATE_SABOTEURS
from tests.weak_log import WeakLog

from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore, VirtualClock
from tropism.testing.blobs import BLOB_CHECKS
from tropism.testing.checks import run_checks
from tropism.testing.compute import COMPUTE_CHECKS, PROCESS_CHECKS
from tropism.testing.log import LOG_CHECKS, check_subjects_keep_their_order, check_types_can_be_left_out
from tropism.testing.queue import QUEUE_CHECKS, QueueSite
from tropism.testing.state import STATE_CHECKS


def memory_log():
    return MemoryStore().log


def memory_queue():
    clock = VirtualClock()
    queue = MemoryStore(clock=clock).queue
    return QueueSite(queue, queue, clock.advance, clock.monotonic, short_seconds=10.0)


EVERY = [
    *((check, sabotaged(memory_log, break_it)) for check, break_it in LOG_SABOTEURS.items()),
    (check_subjects_keep_their_order, sabotaged(memory_log, spreads_subjects)),
    (check_types_can_be_left_out, sabotaged(memory_log, leaves_out_of_full_pages)),
    *((check, sabotaged(WeakLog, break_it)) for check, break_it in WEAK_SABOTEURS.items()),
    *((check, sabotaged(MemoryStore, break_it)) for check, break_it in STATE_SABOTEURS.items()),
    *((check, sabotaged(memory_queue, break_it)) for check, break_it in QUEUE_SABOTEURS.items()),
    *((check, sabotaged(memory_queue, break_it)) for check, break_it in MORE_QUEUE_SABOTEURS),
    *((check, sabotaged(MemoryBlobs, break_it)) for check, break_it in BLOB_SABOTEURS.items()),
    *((check, sabotaged(MemoryCompute, break_it)) for check, break_it in COMPUTE_SABOTEURS.items()),
]
CHECKS = [*LOG_CHECKS, *QUEUE_CHECKS, *STATE_CHECKS, *BLOB_CHECKS, *COMPUTE_CHECKS, *PROCESS_CHECKS]


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
    for checks in (LOG_CHECKS, QUEUE_CHECKS, STATE_CHECKS, BLOB_CHECKS, (*COMPUTE_CHECKS, *PROCESS_CHECKS)):
        # A kit may be spread over modules; no check of any of them may be left out.
        modules = [__import__(name, fromlist=["x"]) for name in {check.__module__ for check in checks}]
        defined = {name for module in modules for name in vars(module) if name.startswith("check_")}
        assert defined == {check.__name__ for check in checks}


def test_a_log_that_keeps_only_what_all_guarantee_passes():
    """No check asks for more than the port guarantees: dense offsets, remembered ids, exact times."""
    report = asyncio.run(run_checks(sabotaged(WeakLog, lambda _: {}), LOG_CHECKS, limit_seconds=5))
    assert report.failures == ()
