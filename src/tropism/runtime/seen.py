"""Events that a log holds twice, under one id: handled once, within a window.

A log that does not remember ids for ever may take an event again: whoever published it got no answer, or
died before noting that it was published, and did so again when the log had forgotten. A service that
handles effectively once then remembers, for longer than the log does, at which place it took each id in.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from tropism.core.time import MICROSECONDS
from tropism.ports.clock import Clock
from tropism.ports.platform import Platform
from tropism.ports.state import State, Write
from tropism.runtime.cursor import Progress
from tropism.runtime.intake import Arrival
from tropism.runtime.service import Service
from tropism.runtime.streams import Stream

SWEEPS = 16
"""How often in a window what is past is forgotten."""

SWEEP_COUNT_MAX = 10_000


class Seen:
    """Where a service took in the ids of a window; without a window, it remembers nothing.

    What it notes is written with the next commit, and so no later than what came of the event. Noting the
    place tells an event that is read again after a crash from one that lies in the log again.
    """

    def __init__(self, service: str, state: State, window_seconds: float, clock: Clock | None) -> None:
        self._namespace = f"{service}/seen"
        self._state = state
        self._window_us = int(window_seconds * MICROSECONDS)
        self._clock = clock
        self._noted: dict[str, Write] = {}
        self._fresh: list[str] = []
        self._written: list[str] = []
        self._past: list[Write] = []
        self._sweep_us: int | None = None
        self.repeated = 0
        """How many events were left out, because they had been taken in at another place."""

    async def fresh(
        self, arrivals: Sequence[Arrival], progress: Mapping[Stream, Progress] | None = None
    ) -> Sequence[Arrival]:
        """Return the arrivals that were not taken in at another place; ``progress`` is past the others."""
        if not self._window_us or not arrivals:
            return arrivals
        live_us = None if self._clock is None else self._clock.now_us()
        await self._sweep(arrivals[-1][0] if live_us is None else live_us)
        known = await self._known(arrivals)
        fresh: list[Arrival] = []
        for arrival in arrivals:
            now_us = arrival[0] if live_us is None else live_us
            key, place = _key(arrival), b"%d/%d" % (arrival[1].number, arrival[2].offset)
            before, until_us = known.get(key, (b"", now_us))
            if until_us <= now_us:
                until_us = now_us + self._window_us
                known[key] = place, until_us
                self._noted[key] = Write(self._namespace, key, b"%b %d" % (place, until_us), until_us)
                self._fresh.append(key)
            elif before != place:
                self.repeated += 1
                if progress is not None:
                    progress[arrival[1]].drop([arrival[2].offset])
                continue
            fresh.append(arrival)
        return fresh

    def writes(self) -> list[Write]:
        """Return what the next commit writes; that of the last one is in the store now."""
        for key in self._written:
            self._noted.pop(key, None)
        writes = [*self._past, *(self._noted[key] for key in self._fresh)]
        self._written, self._fresh, self._past = self._fresh, [], []
        return writes

    async def _known(self, arrivals: Iterable[Arrival]) -> dict[str, tuple[bytes, int]]:
        """Return where the ids of arrivals were taken in, of those that were, and until when that counts."""
        found: dict[str, bytes] = {}
        asked: dict[str, None] = {}
        for arrival in arrivals:
            key = _key(arrival)
            noted = self._noted.get(key)
            if noted is not None and noted.value is not None:
                found[key] = noted.value
            else:
                asked[key] = None
        keys = list(asked)
        places = await self._state.get(self._namespace, keys) if keys else ()
        found.update({key: place for key, place in zip(keys, places, strict=True) if place is not None})
        return {key: _read(value) for key, value in found.items()}

    async def _sweep(self, now_us: int) -> None:
        if self._sweep_us is None:
            self._sweep_us = now_us
        if now_us < self._sweep_us:
            return
        past = await self._state.scan(self._namespace, expires_before_us=now_us, count_max=SWEEP_COUNT_MAX)
        # What was noted anew is not in the store yet, and must not be forgotten when it is.
        self._past = [Write(self._namespace, e.key, None) for e in past if e.key not in self._noted]
        if len(past) < SWEEP_COUNT_MAX:
            self._sweep_us = now_us + self._window_us // SWEEPS


def seen_by(service: Service, platform: Platform, remember_seconds: float, *, live: bool) -> Seen:
    """Return what a service has seen: nothing where its log knows ids for ever, or nobody needs to know.

    Live, the window is one of the machine's time, otherwise of event time.
    """
    known_seconds = platform.log.capabilities.dedup_seconds
    needed = known_seconds < inf and any(h.guarantee == "effectively_once" for h in service.handlers)
    window_seconds = max(remember_seconds, known_seconds) if needed else 0.0
    return Seen(service.name, platform.state, window_seconds, platform.clock if live else None)


def _key(arrival: Arrival) -> str:
    # Others' ids are their own: an event is one by its id and its source.
    record = arrival[2].record
    return f"{arrival[1].topic}/{record.id}\n{record.source}"


def _read(value: bytes) -> tuple[bytes, int]:
    place, _, until_us = value.partition(b" ")
    return place, int(until_us)
