"""How far event time has come: per service, and for the facts from outside."""

import asyncio
from collections.abc import Iterable, Mapping

FOREVER_US = 2**62
"""Later than any instant."""

Kind = tuple[str, str]
"""A topic and the name of an event type in it."""


class Watermarks:
    """The progress of all services of one run, and who produces what.

    ``producers`` names the services that may add events of a type to a topic. What no service adds
    comes from outside, and is complete up to ``sources_us``. In live time everything counts as
    complete: nobody waits.
    """

    def __init__(self, producers: Mapping[Kind, Iterable[str]], *, live: bool) -> None:
        self.live = live
        self.sources_us = FOREVER_US if live else -FOREVER_US
        self.services: dict[str, int] = {}
        self._producers = {kind: tuple(services) for kind, services in producers.items()}
        self._by_topic: dict[str, tuple[str, ...]] = {}
        for (topic, _), services in self._producers.items():
            self._by_topic[topic] = tuple(sorted({*self._by_topic.get(topic, ()), *services}))
        self._changed = asyncio.Event()

    def producers(self, topic: str) -> tuple[str, ...]:
        """Return the services that may add events to a topic, in order of name."""
        return self._by_topic.get(topic, ())

    def producers_of(self, kind: Kind) -> tuple[str, ...]:
        """Return the services that may add events of one type to a topic."""
        return self._producers.get(kind, ())

    def of(self, service: str) -> int:
        """Return the instant up to which a service has handled everything."""
        return FOREVER_US if self.live else self.services.get(service, -FOREVER_US)

    def advance(self, service: str, to_us: int) -> None:
        """Say how far a service has come; it never goes back."""
        if to_us > self.services.get(service, -FOREVER_US):
            self.services[service] = to_us
            self.wake()

    def advance_sources(self, to_us: int) -> None:
        """Say up to when the facts from outside are all in the log; it never goes back."""
        if to_us > self.sources_us:
            self.sources_us = to_us
            self.wake()

    @property
    def change(self) -> asyncio.Event:
        """An event that is set at the next change."""
        return self._changed

    def wake(self) -> None:
        """Let everybody who waits for a change look again."""
        self._changed.set()
        self._changed = asyncio.Event()
