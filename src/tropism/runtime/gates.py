"""Waiting for one's turn with a provider."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from math import inf

from tropism.core.errors import BusyError, InvalidInputError
from tropism.ports.clock import Clock
from tropism.runtime.busy import busy_of
from tropism.runtime.pace import Pace, Provider, answered, failed, refused, started, wait_seconds
from tropism.runtime.rests import Rest

LOGGER = logging.getLogger("tropism")


class Gate:
    """Lets calls of one provider through, first come, first served, as its pace allows."""

    def __init__(self, provider: Provider, clock: Clock) -> None:
        self.provider = provider
        self.pace = Pace(at=clock.monotonic())
        self._clock = clock
        self._turn = asyncio.Lock()
        self._left = asyncio.Event()
        self._closed = asyncio.Event()

    @property
    def paused_seconds(self) -> float:
        """How long the pause that the provider asked for lasts from now."""
        return max(0.0, self.pace.paused_until - self._clock.monotonic())

    @asynccontextmanager
    async def turn(self, rest: Rest) -> AsyncIterator[None]:
        """Wait for one's turn, make a call within, and learn from how it ends.

        Raises: BusyError if the provider is busy, or the gate closes; else what the call raised.
        """
        with rest:
            await self._enter()
        try:
            yield
        except Exception as error:
            noted = isinstance(error, BusyError) and error.provider is not None
            busy = None if noted else busy_of(error, self._clock.now_us())
            if busy is None:
                self.pace = failed(self.pace)
                raise
            self._pause(busy.retry_after_seconds)
            raise BusyError(
                f"Cannot call provider {self.provider.name!r}: it is busy for {self.paused_seconds:.3g} s. "
                f"Its handlers go on by themselves then.",
                self.paused_seconds,
                provider=self.provider.name,
            ) from error
        except BaseException:
            self.pace = failed(self.pace)
            raise
        else:
            self.pace = answered(self.provider, self.pace)
        finally:
            self._left.set()

    def close(self) -> None:
        """Send away who waits: no more calls begin."""
        self._closed.set()
        self._left.set()

    async def _enter(self) -> None:
        async with self._turn:
            while not self._closed.is_set():
                now = self._clock.monotonic()
                wait = wait_seconds(self.provider, self.pace, now)
                if not wait:
                    self.pace = started(self.provider, self.pace, now)
                    return
                await self._change(wait)
        raise BusyError(
            f"Cannot call provider {self.provider.name!r}: the service is stopping. Start it again.",
            1.0,
            provider=self.provider.name,
        )

    async def _change(self, seconds: float) -> None:
        self._left.clear()
        if seconds == inf:
            await self._left.wait()
            return
        closed = asyncio.ensure_future(self._closed.wait())
        slept = asyncio.ensure_future(self._clock.sleep(max(seconds, 1e-6)))
        try:
            await asyncio.wait((closed, slept), return_when=asyncio.FIRST_COMPLETED)
        finally:
            closed.cancel()
            slept.cancel()

    def _pause(self, seconds: float | None) -> None:
        was_paused = self.paused_seconds > 0
        self.pace = refused(self.provider, self.pace, self._clock.monotonic(), seconds)
        if not was_paused and self.paused_seconds:
            LOGGER.warning(
                "Provider %r is busy: who calls it waits for %.3g s; all others go on.",
                self.provider.name,
                self.paused_seconds,
            )


class Gates:
    """The gates of one process, by names of providers; each of so many processes has its share."""

    def __init__(self, clock: Clock, share_count: int = 1) -> None:
        self._clock = clock
        self._share_count = share_count
        self._declared: dict[str, Provider] = {}
        self._gates: dict[str, Gate] = {}

    def of(self, provider: Provider) -> Gate:
        """Return the gate of a provider. Raises: InvalidInputError if another one has its name."""
        check_same(self._declared.setdefault(provider.name, provider), provider)
        gate = self._gates.get(provider.name)
        if gate is None:
            gate = self._gates[provider.name] = Gate(provider.share(self._share_count), self._clock)
        return gate

    @property
    def paused(self) -> dict[str, float]:
        """For how many seconds from now which providers are paused."""
        found = {name: gate.paused_seconds for name, gate in self._gates.items()}
        return {name: seconds for name, seconds in sorted(found.items()) if seconds}

    def close(self) -> None:
        """Let nobody wait any longer."""
        for gate in self._gates.values():
            gate.close()


def check_same(known: Provider, other: Provider) -> None:
    """Refuse two providers of one name. Raises: InvalidInputError."""
    if known != other:
        raise InvalidInputError(
            f"Cannot limit provider {other.name!r}: it is declared with other limits too. "
            f"Declare it once, and use that value everywhere."
        )


def check_providers(providers: Sequence[Provider]) -> None:
    """Refuse providers that share a name and differ. Raises: InvalidInputError."""
    known: dict[str, Provider] = {}
    for provider in providers:
        check_same(known.setdefault(provider.name, provider), provider)
