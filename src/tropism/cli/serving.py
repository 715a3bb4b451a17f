"""An app at work in this process, until it is told to stop."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence

from tropism.app.app import App
from tropism.app.platform import open_platform, read_settings
from tropism.cli.console import say, visible
from tropism.cli.discovery import place_of, types_of
from tropism.core.errors import InvalidInputError
from tropism.runtime.dead import DeadLetter
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.service import Service
from tropism.runtime.waiting import first_of, give_up

STANDBY_NOTICE_SECONDS = 2.0
"""After which a service that waits for its lease is mentioned."""


class Stop:
    """What SIGTERM and SIGINT ask for: the first to stop in order, the second to stop now."""

    def __init__(self, now: Callable[[], None] = lambda: None) -> None:
        self.asked = asyncio.Event()
        self.signal = 0
        self._now = now
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask, number)

    @property
    def code(self) -> int:
        """The exit code: Ctrl-C is 130, and being told to stop is success."""
        return 130 if self.signal == signal.SIGINT else 0

    def _ask(self, number: int) -> None:
        if self.asked.is_set():
            # What is committed is durable and the rest is redelivered: leaving here loses nothing.
            self._now()
            os._exit(128 + number)
        self.signal = number
        self.asked.set()


async def serve(
    app: App,
    services: Sequence[Service],
    *,
    share: tuple[int, int] = (0, 1),
    drain_seconds: float,
    beat: Callable[[], Awaitable[None]],
) -> int:
    """Run services until a signal; return the exit code. Raises: what stopped a service."""
    if not services:
        raise InvalidInputError(f"Cannot run app {app.name!r}: it has no services. Add one to it.")
    stop = Stop()
    async with open_platform(read_settings()) as platform:
        runtime = Runtime(
            services,
            platform,
            types=types_of(app).types.values(),
            producers=app.services,
            options=RuntimeOptions(
                live=True,
                drain_seconds=drain_seconds,
                ignore_unknown=app.ignore_unknown,
                gave_up=_tell_given_up,
                share=share,
            ),
        )
        await runtime.start()
        # Whoever watches this process hears its beat until the last event is finished.
        beating = asyncio.ensure_future(beat())
        try:
            await first_of(
                stop.asked.wait(), runtime.wait(), _announce(app, runtime), asyncio.shield(beating)
            )
            if stop.asked.is_set():
                say(f"Finishing what is in flight, for at most {drain_seconds:g} s.")
        finally:
            await runtime.stop()
            await give_up([beating])
    return stop.code


def _tell_given_up(letter: DeadLetter, error: Exception) -> None:
    if letter.evidence is not None:
        what = f"{letter.record.type} {letter.record.id!r}: {letter.cause}"
        say(visible(f"{letter.handler} refused {what}. See 'tropism quarantine'."))
        return
    told = (
        f"{letter.handler or letter.service} gave up on {letter.record.type} {letter.record.id!r} after "
        f"{letter.attempts} attempts: {letter.cause}{place_of(error)}. See 'tropism dead-letters'."
    )
    say(visible(told))


async def _announce(app: App, runtime: Runtime) -> None:
    """Say when the services are at work, and which wait for another process; then wait for ever."""
    names = [service.name for service in runtime.services if not service.name.startswith("by-")]
    deadline = asyncio.get_running_loop().time() + STANDBY_NOTICE_SECONDS
    waiting = names
    noticed = False
    while waiting:
        await asyncio.sleep(0.02)
        waiting = [name for name in names if name not in runtime.workers or not runtime.workers[name].is_open]
        if waiting and not noticed and asyncio.get_running_loop().time() > deadline:
            noticed = True
            say(f"Waiting for {', '.join(waiting)}: another process has it at work. Stop that one.")
    say(f"Ready: {app.name} with {', '.join(names)}.")
    await asyncio.Event().wait()
