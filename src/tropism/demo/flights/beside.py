"""The model's loop in a process of its own, beside the one that decides: two cores work at the year."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec

from tropism.app.app import App
from tropism.app.platform import Settings, open_platform
from tropism.core.errors import UnavailableError
from tropism.demo.flights.app import flights_app
from tropism.models.policy import Policy
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.service import Service

READY = b"ready\n"

CHUNK = 512
"""How many events a service takes in at a time: few enough that the other process begins while it goes on."""


class System(msgspec.Struct):
    """Which system it is, and where its log lies."""

    settings: Settings
    policy: Policy
    seed: int


class Beside:
    """The other process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, end_us: int) -> None:
        """Let it live up to a moment of event time, and return when it has.

        Raises: UnavailableError if it failed; it has said why.
        """
        assert self._process.stdin is not None  # noqa: S101 (it was asked for)
        with suppress(ConnectionError):
            self._process.stdin.write(f"{end_us}\n".encode())
            await self._process.stdin.drain()
        if code := await self._process.wait():
            raise _failed(code)


@asynccontextmanager
async def beside(system: System) -> AsyncIterator[Beside]:
    """Start another process for the loop, which ends with this one whatever becomes of it.

    It has opened the platform when this returns. Raises: UnavailableError if it could not.
    """
    command = sys.executable, "-m", "tropism.demo.flights.beside"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 (they were asked for)
    try:
        with suppress(ConnectionError):
            process.stdin.write(msgspec.json.encode(system) + b"\n")
            await process.stdin.drain()
        if await process.stdout.readline() != READY:
            raise _failed(await process.wait())
        yield Beside(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _failed(code: int) -> UnavailableError:
    return UnavailableError(
        f"Cannot go on: the process that runs the model's loop left with {code}. See what it said, and run "
        f"the same command again: it goes on where this one stopped."
    )


def loop_of(app: App) -> list[Service]:
    """Return the services that run beside: those that the models bring."""
    return [service for model in app.models for service in model.services]


async def _live(system: System) -> None:
    app = flights_app(system.policy, seed=system.seed)
    async with open_platform(system.settings) as platform:
        sys.stdout.buffer.write(READY)
        sys.stdout.flush()
        os.dup2(2, 1)  # nobody reads on: what is printed from now on is for people
        until = await asyncio.to_thread(sys.stdin.buffer.readline)
        if not until:
            return  # the first process is gone, and never said until when
        threading.Thread(target=_leave_with_parent, daemon=True).start()
        runtime = Runtime(
            loop_of(app),
            platform,
            types=app.events,
            producers=app.services,
            options=RuntimeOptions(live=False, chunk=CHUNK),
        )
        await runtime.start()
        runtime.watermarks.advance_sources(int(until))
        await runtime.wait_until(int(until))
        await runtime.stop()


def _leave_with_parent() -> None:
    """Leave at once when the other end of the pipe is closed: nothing is lost, the next run goes on."""
    # Not through sys.stdin: a thread that waits in there keeps the interpreter from ending.
    while os.read(0, 1024):
        pass
    os._exit(0)


def main() -> None:
    """Run the loop as told on standard input."""
    from tropism.demo.flights.run import tune_process  # noqa: PLC0415 (it starts this program)

    # Ctrl-C reaches both processes: the first one decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tune_process()
    if line := sys.stdin.buffer.readline():
        asyncio.run(_live(msgspec.json.decode(line, type=System)))


if __name__ == "__main__":
    main()
