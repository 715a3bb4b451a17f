"""The model's loop in a process of its own, beside the one that decides: two cores work at the year."""

import asyncio
import os
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


class Task(msgspec.Struct):
    """What the other process is to run: the loop of the same system, up to the same moment."""

    settings: Settings
    policy: Policy
    seed: int
    end_us: int


class Beside:
    """The other process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def wait(self) -> None:
        """Return when it has done its part. Raises: UnavailableError if it failed; it has said why."""
        code = await self._process.wait()
        if code:
            raise UnavailableError(
                f"Cannot go on: the process that runs the model's loop left with {code}. Run it again."
            )


@asynccontextmanager
async def beside(task: Task) -> AsyncIterator[Beside]:
    """Have the loop run in another process, which ends with this one whatever becomes of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tropism.demo.flights.beside", stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None  # noqa: S101 (it was asked for)
    try:
        with suppress(ConnectionError):
            process.stdin.write(msgspec.json.encode(task) + b"\n")
            await process.stdin.drain()
        yield Beside(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def loop_of(app: App) -> list[Service]:
    """Return the services that run beside: those that the models bring."""
    return [service for model in app.models for service in model.services]


async def _live(task: Task) -> None:
    app = flights_app(task.policy, seed=task.seed)
    async with open_platform(task.settings) as platform:
        runtime = Runtime(
            loop_of(app),
            platform,
            types=app.events,
            producers=app.services,
            options=RuntimeOptions(live=False),
        )
        await runtime.start()
        runtime.watermarks.advance_sources(task.end_us)
        await runtime.wait_until(task.end_us)
        await runtime.stop()


def _leave_with_parent() -> None:
    """Leave at once when the other end of the pipe is closed: nothing is lost, the next run goes on."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    """Run the loop as told on standard input."""
    import signal  # noqa: PLC0415 (wanted only by this program)

    from tropism.demo.flights.run import tune_process  # noqa: PLC0415 (it starts this program)

    # Ctrl-C reaches both processes: the first one decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tune_process()
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    asyncio.run(_live(task))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
