"""How far event time has come: per service, and per topic."""

import asyncio
from collections.abc import Iterable, Mapping

FOREVER_US = 2**62
"""Later than any instant."""


class Watermarks:
    """The progress of all services of one run.

    A topic is complete up to the least of its producers' watermarks; one that no service produces is
    complete up to ``sources_us``. In live time every topic counts as complete: nobody waits.
    """

    def __init__(self, producers: Mapping[str, Iterable[str]], *, live: bool) -> None:
        self.live = live
        self.sources_us = FOREVER_US if live else -FOREVER_US
        self.services: dict[str, int] = {}
        self._producers = {topic: tuple(services) for topic, services in producers.items()}
        self._changed = asyncio.Event()

    def topic(self, name: str) -> int:
        """Return the instant up to which a topic is complete."""
        if self.live:
            return FOREVER_US
        producers = self._producers.get(name)
        if not producers:
            return self.sources_us
        return min(self.services.get(service, -FOREVER_US) for service in producers)

    def advance(self, service: str, to_us: int) -> None:
        """Say how far a service has come; it never goes back."""
        if to_us > self.services.get(service, -FOREVER_US):
            self.services[service] = to_us
            self._notify()

    def advance_sources(self, to_us: int) -> None:
        """Say up to when the facts from outside are all in the log; it never goes back."""
        if to_us > self.sources_us:
            self.sources_us = to_us
            self._notify()

    @property
    def change(self) -> asyncio.Event:
        """An event that is set at the next change."""
        return self._changed

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
