"""Events that are kept until they are due: in the state by due time, the next ones in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush

from tropism.core.envelope import Record
from tropism.ports.state import Entry, State, Write
from tropism.runtime.later import Canceled, Delayed, decode, encode, published
from tropism.runtime.service import Service
from tropism.runtime.shares import ALL_KEYS, Share
from tropism.runtime.watermarks import FOREVER_US

PAGE = 1000

HELD_MAX = 10 * PAGE
"""So many are kept in memory; what is due later than they are is left in the store until its turn comes."""

_OFFSET_US = 2**62
"""Added to instants before they are written in digits: their order as text is then that of time."""


@dataclass
class _News:
    """What changed since the store was asked, or will change with the commit under way."""

    added: dict[str, Delayed] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    slots: dict[str, str | None] = field(default_factory=dict)


class Delays:
    """What of one worker's keys is to be published later.

    Each is an entry of the state, under a place that begins with when it is due; for one with a name, its
    slot tells which place counts. Both are written and deleted with the commit that decides it or publishes.
    ``now_us`` is the clock where it decides what is due, None in event time. ``wake`` is told when that may
    be sooner than it was said to be. Where nothing is ``used`` of it, it asks for nothing.
    """

    def __init__(
        self,
        service: str,
        state: State,
        *,
        now_us: Callable[[], int] | None,
        share: Share = ALL_KEYS,
        held_max: int = HELD_MAX,
        used: bool = True,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._namespace, self._slots_namespace = namespaces_of(service)
        self._state = state
        self._now_us = now_us
        self._share = share
        self._held_max = self._crowd = held_max
        self._held: dict[str, Delayed] = {}
        self._next: list[str] = []
        self._slots: dict[str, str] = {}
        self._after = ""
        self._whole = not used
        self._stale: set[str] = set()
        self._news = _News()
        self._asking: _News | None = None
        self._writes: dict[tuple[str, str], Write] = {}
        self._admitted_us = self._promised_us = -FOREVER_US
        self._wake = wake
        self.used = used

    # -- reading ----------------------------------------------------------------------------------

    @property
    def horizon_us(self) -> int:
        """Up to when all that is due is in memory."""
        return FOREVER_US if self._whole else _due_us(self._after) - 1 if self._after else -FOREVER_US

    @property
    def next_us(self) -> int | None:
        """When the next one is due, None if none is known."""
        while self._next and self._next[0] not in self._held:
            heappop(self._next)
        return _due_us(self._next[0]) if self._next else None

    @property
    def wake_us(self) -> int | None:
        """When to look again, None where the commit that publishes what is due will say so."""
        next_us = self.next_us
        return None if next_us is None or next_us <= self._admitted_us else next_us

    async def refill(self) -> None:
        """Have the next ones in memory: as many pages as it takes to know the very next."""
        while not self._whole:
            next_us = self.next_us
            if next_us is not None and next_us <= self.horizon_us:
                break
            await self._read()

    async def _read(self) -> None:
        news = self._asking = _News(dict(self._news.added), set(self._news.gone), dict(self._news.slots))
        page = await self._state.scan(self._namespace, after=self._after or None, count_max=PAGE)
        found = {entry.key: decode(entry.value) for entry in page}
        slots = sorted({each.slot for each in found.values() if each.slot})
        stored = await self._state.get(self._slots_namespace, slots) if slots else ()
        current = {slot: place.decode() for slot, place in zip(slots, stored, strict=True) if place}
        self._asking = None
        if page:
            self._after = page[-1].key
        # A page may be short for other reasons: only an empty one says that there is no more.
        self._whole = not page
        self._take(found, {**current, **news.slots}, news)

    def _take(self, found: dict[str, Delayed], current: dict[str, str | None], news: _News) -> None:
        for place, each in {**found, **news.added}.items():
            if place in news.gone or place in self._held or not self._share.owns_key(each.lane):
                continue
            if each.slot and current.get(each.slot) != place:
                # It was canceled or put off while only the store knew its place.
                self._stale.add(place)
            elif self._whole or place <= self._after:
                self._hold(place, each)

    def _hold(self, place: str, each: Delayed) -> None:
        self._held[place] = each
        heappush(self._next, place)
        if self._next[0] == place:
            self._wake()
        if each.slot:
            self._slots[each.slot] = place

    # -- deciding ---------------------------------------------------------------------------------

    def admit(self, until_us: int) -> bool:
        """Learn up to when steps may come, and say whether the clock alone makes something due by then.

        All that is due by then stays in memory.
        """
        self._admitted_us = until_us
        next_us = self.next_us
        return self._now_us is not None and next_us is not None and next_us <= until_us

    def promise(self, until_us: int) -> None:
        """Take note that, in event time, a step is being prepared that may come up to a moment."""
        self._promised_us = until_us

    def step(self, outputs: list[Record], writes: list[Write], frontier_us: int) -> None:
        """Turn what is for later into writes, and what is due into outputs, of one commit.

        In event time everything up to the frontier is in this commit or an earlier one.
        """
        self._news = _News()
        self._writes = {
            (self._namespace, place): Write(self._namespace, place, None) for place in self._stale
        }
        self._stale = set()
        until_us = frontier_us if self._now_us is None else self._now_us()
        given, outputs[:] = list(outputs), []
        for record in given:
            if isinstance(record, Delayed):
                self._delay(record, outputs, until_us)
            elif isinstance(record, Canceled):
                self._publish(self._decided_us(record.when_us, until_us), outputs)
                self._empty(record.slot)
            else:
                outputs.append(record)
        self._publish(until_us, outputs)
        writes.extend(self._writes.values())

    def _delay(self, record: Delayed, outputs: list[Record], until_us: int) -> None:
        self._publish(self._decided_us(record.when_us, until_us), outputs)
        if record.slot:
            self._empty(record.slot)
        if record.due_us <= record.when_us:
            outputs.append(published(record, record.when_us))
            return
        place = place_of(record)
        self._write(self._namespace, place, encode(record))
        self._note("added", place, record)
        if record.slot:
            self._write(self._slots_namespace, record.slot, place.encode())
            self._note("slots", record.slot, place)
            self._slots[record.slot] = place
        if self._whole or place <= self._after:
            self._hold(place, record)
            self._bound()

    def _decided_us(self, when_us: int, until_us: int) -> int:
        """Return up to when what is due comes before what a handler decided at a moment.

        In event time that is the moment itself, also where a step ends in the middle of its events.
        """
        return when_us if self._now_us is None else min(when_us, until_us)

    def _publish(self, until_us: int, outputs: list[Record]) -> None:
        known_us = min(until_us, self.horizon_us)
        while (next_us := self.next_us) is not None and next_us <= known_us:
            place = self._next[0]
            record = self._held[place]
            outputs.append(published(record, next_us if self._now_us is None else until_us))
            self._drop(place)
            if record.slot:
                self._empty(record.slot)
            self._wake()

    def _empty(self, slot: str) -> None:
        """Forget what is in a slot; a place that only the store knows is found stale when its turn comes."""
        place = self._slots.pop(slot, None)
        if place is not None:
            self._drop(place)
        self._write(self._slots_namespace, slot, None)
        self._note("slots", slot, None)

    def _drop(self, place: str) -> None:
        self._held.pop(place, None)
        self._write(self._namespace, place, None)
        for news in (self._news, self._asking):
            if news is not None:
                news.added.pop(place, None)
                news.gone.add(place)

    def _note(self, what: str, key: str, value: Delayed | str | None) -> None:
        for news in (self._news, self._asking):
            if news is not None:
                getattr(news, what)[key] = value
                news.gone.discard(key)

    def _write(self, namespace: str, key: str, value: bytes | None) -> None:
        self._writes[namespace, key] = Write(namespace, key, value)

    def _bound(self) -> None:
        """Leave to the store what is due later than enough others."""
        # What a scan under way finds is taken in up to its end: nothing before that may be let go of.
        if self._asking is None and len(self._held) > self._crowd:
            self._let_go()
        if len(self._slots) > 4 * self._held_max:
            self._slots = {each.slot: place for place, each in self._held.items() if each.slot}

    def _let_go(self) -> None:
        places = sorted(self._held)
        needed_us = max(self._admitted_us, self._promised_us)
        last = next((place for place in places[self._held_max - 1 :] if _due_us(place) > needed_us), None)
        if last is not None:
            self._held = {place: self._held[place] for place in places if place <= last}
            self._next = list(self._held)  # in order, and so a heap
            self._whole, self._after = False, last
        # To look costs sorting them: only when there are many more.
        self._crowd = 2 * max(self._held_max, len(self._held))


def namespaces_of(service: str) -> tuple[str, str]:
    """Return where a service keeps what it publishes later, and which place counts of those with a name."""
    return f"{service}/later", f"{service}/later-slots"


def place_of(record: Delayed) -> str:
    """Return under what a record is kept: when it is due, when that was decided, and what tells it apart."""
    due, when = record.due_us + _OFFSET_US, record.when_us + _OFFSET_US
    return f"{due:020}/{when:020}/{record.ordinal:06}/{record.slot or record.id}"


def _due_us(place: str) -> int:
    return int(place.partition("/")[0]) - _OFFSET_US


async def open_delays(
    service: Service,
    state: State,
    now_us: Callable[[], int] | None,
    share: Share,
    wake: Callable[[], None],
) -> Delays:
    """Return what a service has for later: unused where none of its handlers delays, and nothing is left."""
    used = any(handler.delays for handler in service.handlers) or bool(await _left(service, state))
    return Delays(service.name, state, now_us=now_us, share=share, held_max=HELD_MAX, used=used, wake=wake)


async def _left(service: Service, state: State) -> list[Entry]:
    """Return what handlers of an earlier version have left."""
    return list(await state.scan(namespaces_of(service.name)[0], count_max=1))


def sooner(one_us: int | None, other_us: int | None) -> int | None:
    """Return the earlier of two moments, of which either may be none."""
    return min((each for each in (one_us, other_us) if each is not None), default=None)
