"""Every law of every port, against every adapter."""

import asyncio
from pathlib import Path

import pytest
from tests.conformance.matrix import (
    BLOBS,
    COMPUTES,
    KNOWN_DEVIATIONS,
    LOGS,
    PORTS,
    PROCESSES,
    QUEUES,
    STORES,
)

import tropism.adapters
from tropism.core.errors import TropismError
from tropism.testing.blobs import BLOB_CHECKS
from tropism.testing.checks import run_check
from tropism.testing.compute import COMPUTE_CHECKS, PROCESS_CHECKS
from tropism.testing.log import LOG_CHECKS
from tropism.testing.queue import QUEUE_CHECKS
from tropism.testing.state import STATE_CHECKS


def every(adapters, checks):
    cases = [(name, check) for name in adapters for check in checks]
    ids = [f"{name}-{check.__name__.removeprefix('check_')}" for name, check in cases]
    return pytest.mark.parametrize(("name", "check"), cases, ids=ids)


@every(LOGS, LOG_CHECKS)
def test_log(name, check, request):
    """Every log keeps every law of ``Log``."""
    reason = KNOWN_DEVIATIONS.get(name, {}).get(check.__name__)
    if reason is not None:
        request.applymarker(pytest.mark.xfail(reason=reason, raises=TropismError))
    asyncio.run(run_check(LOGS[name], check))


@every(STORES, STATE_CHECKS)
def test_state(name, check):
    """Every state keeps every law of ``State``."""
    asyncio.run(run_check(STORES[name], check))


@every(QUEUES, QUEUE_CHECKS)
def test_queue(name, check):
    """Every queue keeps every law of ``Queue``."""
    asyncio.run(run_check(QUEUES[name], check))


@every(BLOBS, BLOB_CHECKS)
def test_blobs(name, check):
    """Every store of blobs keeps every law of ``Blobs``."""
    asyncio.run(run_check(BLOBS[name], check))


@every(COMPUTES, COMPUTE_CHECKS)
def test_compute(name, check):
    """Every compute keeps every law of ``Compute``."""
    asyncio.run(run_check(COMPUTES[name], check))


@every(PROCESSES, PROCESS_CHECKS)
def test_process(name, check):
    """What runs jobs in processes isolates them."""
    asyncio.run(run_check(PROCESSES[name], check))


@pytest.mark.parametrize("port", PORTS)
def test_no_adapter_is_left_out(port):
    """Every folder that has a file for a port stands in the matrix of that port."""
    folders = Path(tropism.adapters.__file__).parent
    built = {file.parent.name for file in folders.glob(f"*/{port}.py")}
    assert built
    assert built == {name.partition(",")[0] for name in PORTS[port]}
