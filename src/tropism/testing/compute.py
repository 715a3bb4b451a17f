"""The laws of ``Compute``; those that a process of its own is needed for stand apart."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence

from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.ports.compute import Compute, Job
from tropism.testing.checks import Check, require, require_equal, require_raises


def double(payload: bytes) -> bytes:
    """Return a payload twice."""
    return payload * 2


def fail(payload: bytes) -> bytes:
    """Raise with the payload as the message."""
    raise LookupError(payload.decode())


def return_none(_: bytes) -> None:
    """Return what is not bytes."""


def leave(_: bytes) -> bytes:
    """Raise what is no ordinary exception."""
    raise SystemExit(3)


def linger(payload: bytes) -> bytes:
    """Work for as many seconds as the payload says."""
    time.sleep(float(payload))
    return payload


def die(payload: bytes) -> bytes:
    """Be killed by a signal, or end with a status."""
    if payload == b"kill":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(3)


def grow(payload: bytes) -> bytes:
    """Use as much memory as the payload says."""
    return b"%d" % len(bytes(int(payload)))


def tell_process(_: bytes) -> bytes:
    """Return this process's number."""
    return b"%d" % os.getpid()


def note_and_linger(payload: bytes) -> bytes:
    """Write this process's number into the file that the payload names, then work for long."""
    with open(payload, "x") as file:  # noqa: PTH123 (a path in bytes)
        file.write(f"{os.getpid()}\n")
    time.sleep(600)
    return b""


async def check_results_return(compute: Compute) -> None:
    """``run`` returns what the job makes of its payload, empty or large, several at a time."""
    payloads = [b"", b"\0\xff", bytes(2_000_000)]
    results = await asyncio.gather(*(compute.run(Job(double, payload)) for payload in payloads))
    require_equal([len(result) for result in results], [0, 4, 4_000_000], "lengths")
    require_equal(results[1], b"\0\xff\0\xff", "a result")


async def check_errors_travel_as_text(compute: Compute) -> None:
    """A job that raises raises InvalidInputError with its error's type and message; others go on."""
    try:
        await compute.run(Job(fail, "no r\u00fcnway".encode()))
    except InvalidInputError as error:
        require("LookupError: no r\u00fcnway" in str(error), f"the text is {error}")
    else:
        require(False, "nothing was raised")
    require_equal(await compute.run(Job(double, b"a")), b"aa", "the next job")


async def check_only_bytes_are_results(compute: Compute) -> None:
    """A job that returns something else than bytes raises InvalidInputError."""
    await require_raises(InvalidInputError, compute.run(Job(return_none, b"")), "a result of None")  # type: ignore[arg-type]


async def check_only_importable_functions_run(compute: Compute) -> None:
    """A lambda or a nested function is refused, whoever would run it."""

    def nested(payload: bytes) -> bytes:
        return payload

    for function in (lambda payload: payload, nested, b"a".join, 3):
        await require_raises(InvalidInputError, compute.run(Job(function, b"")), f"{function}")  # type: ignore[arg-type]


async def check_late_jobs_raise(compute: Compute) -> None:
    """A job that takes longer than its limit raises UnavailableError; others go on."""
    late = compute.run(Job(linger, b"0.3", timeout_seconds=0.05))
    await require_raises(UnavailableError, late, "a late job")
    require_equal(await compute.run(Job(double, b"a")), b"aa", "the next job")


async def check_dead_jobs_raise(compute: Compute) -> None:
    """A job whose process is killed or ends raises UnavailableError; others go on."""
    outcomes = await asyncio.gather(
        compute.run(Job(die, b"kill")),
        compute.run(Job(double, b"a")),
        compute.run(Job(die, b"exit")),
        return_exceptions=True,
    )
    kinds = [type(outcome) for outcome in outcomes]
    require_equal(kinds, [UnavailableError, bytes, UnavailableError], "outcomes")


async def check_leaving_jobs_raise(compute: Compute) -> None:
    """A job that raises SystemExit raises here; this process goes on."""
    await require_raises(InvalidInputError, compute.run(Job(leave, b"")), "a job that leaves")


async def check_jobs_have_their_own_process(compute: Compute) -> None:
    """Every job runs in a process of its own, which is not this one."""
    found = [await compute.run(Job(tell_process, b"")) for _ in range(3)]
    require(len({*found, b"%d" % os.getpid()}) == 4, f"processes {found}")


async def check_memory_is_limited(compute: Compute) -> None:
    """A job that needs more than ``memory_bytes_max`` raises UnavailableError; less is no error."""
    limit = 256 * 1024 * 1024
    large = compute.run(Job(grow, b"%d" % (4 * limit), memory_bytes_max=limit))
    await require_raises(UnavailableError, large, "a job beyond its memory")
    require_equal(await compute.run(Job(grow, b"1000", memory_bytes_max=limit)), b"1000", "a small job")


COMPUTE_CHECKS: Sequence[Check[Compute]] = (
    check_results_return,
    check_errors_travel_as_text,
    check_only_bytes_are_results,
    check_only_importable_functions_run,
    check_late_jobs_raise,
)
"""Every law of ``Compute`` that holds in this process too."""

PROCESS_CHECKS: Sequence[Check[Compute]] = (
    check_dead_jobs_raise,
    check_leaving_jobs_raise,
    check_jobs_have_their_own_process,
    check_memory_is_limited,
)
"""What holds besides where jobs run in processes of their own."""
