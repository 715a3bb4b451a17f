"""An app at work in this process, until it is told to stop."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Sequence

from tropism.app.app import App
from tropism.app.platform import open_platform, read_settings
from tropism.app.schemas import register_schemas
from tropism.cli.console import say, visible
from tropism.cli.discovery import place_of, types_of
from tropism.cli.relaying import relay_all
from tropism.core.codec import Codec
from tropism.core.errors import InvalidInputError
from tropism.ports.platform import Platform
from tropism.runtime.cycles import notes_of
from tropism.runtime.dead import DeadLetter
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.service import Service
from tropism.runtime.waiting import first_of, give_up

STANDBY_NOTICE_SECONDS = 2.0
"""After which a service that waits for its lease is mentioned."""

Beside = Callable[[Platform], Awaitable[None]]
"""What runs beside the services, on their platform, until it is cancelled."""


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
    beside: Beside | None = None,
) -> int:
    """Run services until a signal, and what is to run beside them; return the exit code.

    Raises: what stopped a service.
    """
    if not services:
        raise InvalidInputError(f"Cannot run app {app.name!r}: it has no services. Add one to it.")
    stop = Stop()
    codec, settings = types_of(app), read_settings()
    async with open_platform(settings) as platform:
        await _register(app, codec, platform)
        runtime = _runtime(app, services, platform, codec, share=share, drain_seconds=drain_seconds)
        for note in notes_of(app.services, app.hops_max, services) if share[0] == 0 else ():
            say(f"Note: {note}")
        await runtime.start()
        # Whoever watches this process hears its beat until the last event is finished.
        beating = asyncio.ensure_future(beat())
        try:
            more = [] if beside is None else [beside(platform)]
            urls = settings.outbox if share[0] == 0 else ()
            await first_of(
                stop.asked.wait(),
                runtime.wait(),
                _announce(app, runtime),
                asyncio.shield(beating),
                relay_all(urls, platform),
                *more,
            )
            if stop.asked.is_set():
                say(f"Finishing what is in flight, for at most {drain_seconds:g} s.")
        finally:
            await runtime.stop()
            await give_up([beating])
    return stop.code


def _runtime(
    app: App,
    services: Sequence[Service],
    platform: Platform,
    codec: Codec,
    *,
    share: tuple[int, int],
    drain_seconds: float,
) -> Runtime:
    return Runtime(
        services,
        platform,
        types=codec.types.values(),
        producers=app.services,
        options=RuntimeOptions(
            live=True,
            drain_seconds=drain_seconds,
            ignore_unknown=app.ignore_unknown,
            gave_up=_tell_given_up,
            share=share,
            hops_max=app.hops_max,
            record_bytes=app.record_bytes_max or 0,
        ),
    )


async def _register(app: App, codec: Codec, platform: Platform) -> None:
    """Add what is new of the app's schemas to the log. Raises: InvalidInputError if it may not be."""
    for added in await register_schemas(platform, app.name, codec, app.compatibility):
        if added.version > 1:
            say(f"Event type {added.name} has a new schema, version {added.version}.")


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
