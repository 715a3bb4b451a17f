"""Running a command's work; what only that needs is imported only then."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TypeVar

GRACE_SECONDS = 3.0
"""How long work that was cancelled may hold on to its thread."""

T = TypeVar("T")


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run work to its end, and return what came of it; SIGTERM and Ctrl-C cancel it, and end this process."""
    import asyncio

    with asyncio.Runner() as runner:
        loop = runner.get_loop()

        async def cancellable() -> T:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 (this is one)
            with _signals(lambda: (task.cancel(), loop.call_soon_threadsafe(lambda: None))) as asked:
                try:
                    return await work
                except asyncio.CancelledError:
                    if not asked:
                        raise
                    # The work has let go of all that it held. What a thread still computes nobody wants, and
                    # leaving in the usual way would wait for it.
                    _leave(128 + asked[0])

        return runner.run(cancellable())


def give_way() -> None:
    """Let a signal end work that awaits nothing for long. Raises: CancelledError once there was one."""
    import asyncio

    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


@contextmanager
def _signals(cancel: Callable[[], object]) -> Iterator[list[int]]:
    """Have SIGTERM and SIGINT cancel the work, and give those that came; a second one ends it at once."""
    asked: list[int] = []

    def end(number: int, _: object) -> None:
        asked.append(number)
        if len(asked) > 1:
            _leave(128 + number)
        # As safe as kill -9, which all that is durable is built for.
        timer = threading.Timer(GRACE_SECONDS, _leave, (128 + number,))
        timer.daemon = True
        timer.start()
        cancel()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, RuntimeError):
            stream.flush()
    os._exit(code)
