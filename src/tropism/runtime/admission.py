"""What a worker lets in, and in which order: events, ticks, and states that expire."""

from collections.abc import Callable, Sequence
from typing import Any

from tropism.core.codec import Codec
from tropism.core.envelope import Envelope, Stored
from tropism.core.errors import InvalidInputError
from tropism.core.time import to_us
from tropism.ports.log import Partition
from tropism.ports.state import Entry
from tropism.runtime.call import FORGET
from tropism.runtime.cursor import Cursor, Progress
from tropism.runtime.dead import DeadLetter, write_of
from tropism.runtime.handler import Expired, Handler, Tick
from tropism.runtime.intake import Arrival
from tropism.runtime.service import Service
from tropism.runtime.tables import Tables
from tropism.runtime.work import Delivery, Item

Admitted = tuple[Item, tuple[Delivery, ...]]
"""An item and its deliveries, one a handler; none where there is nothing to call."""


class Admission:
    """Turns what arrived into items, in order of time, and feeds the views on the way."""

    def __init__(
        self,
        service: Service,
        *,
        codec: Codec,
        tables: Tables,
        progress: dict[Partition, Progress],
        cursor: Cursor,
        now_us: Callable[[], int] | None,
        ignore_unknown: bool,
    ) -> None:
        self._service = service
        self._codec = codec
        self._tables = tables
        self._progress = progress
        self._cursor = cursor
        self._now_us = now_us
        self._ignore_unknown = ignore_unknown
        self._routes: dict[tuple[str, str], tuple[Handler, ...]] = {}
        for handler in service.handlers:
            if handler.every is None and handler.expires is None:
                for kind in handler.events:
                    where = (source_topic(handler, kind.event_topic), kind.event_type)
                    self._routes[where] = (*self._routes.get(where, ()), handler)
        self._ticking = [handler for handler in service.handlers if handler.every is not None]
        self._expiring = {h.expires: h for h in service.handlers if h.expires is not None}
        self._ticked: dict[str, int] = dict(cursor.ticks)
        self._sequence = 0

    def admit(
        self, arrivals: Sequence[Arrival], expired: Sequence[tuple[str, Entry]], until_us: int
    ) -> list[Admitted]:
        """Return the items of arrivals, expired states and ticks up to a moment, in order of time."""
        due: list[tuple[int, int, str, Admitted]] = []
        for known_us, id, partition, stored in arrivals:
            admitted = self._event(known_us, partition, stored)
            if admitted is not None:
                due.append((known_us, 1, id, admitted))
        if arrivals and self._cursor.first_us is None:
            self._cursor.first_us = arrivals[0][0]
        for state, entry in expired:
            due.append((entry.expires_us or until_us, 0, entry.key, self._expire(state, entry, until_us)))
        if self._ticking:
            due.extend(self._ticks(until_us))
        if expired or self._ticking:
            due.sort(key=lambda entry: entry[:3])
        admitted_all = [entry[3] for entry in due]
        for item, deliveries in admitted_all:
            item.sequence = self._sequence
            item.open_calls = len(deliveries)
            self._sequence += 1
        return admitted_all

    def _event(self, known_us: int, partition: Partition, stored: Stored) -> Admitted | None:
        record = stored.record
        progress = self._progress[partition]
        handlers = self._routes.get((partition[0], record.type))
        fed = self._tables.wants(record.type) and not partition[0].startswith("redrive-")
        if handlers is None and partition[0].startswith("redrive-"):
            handlers = self._redriven(stored)
        new = stored.offset >= progress.taken
        progress.taken = max(progress.taken, stored.offset + 1)
        if not fed and not handlers and (self._ignore_unknown or record.type in self._codec.types):
            return None
        try:
            event = self._codec.decode(record)
        except InvalidInputError as error:
            return self._undecodable(known_us, partition, stored, error) if new else None
        if fed:
            self._tables.feed(partition, stored, event)
        if not handlers or not new or progress.skip(stored.offset):
            return None
        progress.pending.append(stored.offset)
        envelope = Envelope(
            record.id, record.source, record.type, record.subject, record.time_us, event, record.extensions
        )
        as_of_us = known_us if self._now_us is None else self._now_us()
        item = Item(envelope, known_us, as_of_us, (partition, stored.offset))
        item.record = record
        lane = record.subject or f"\0{record.id}"
        return item, tuple(self._delivery(item, handler, lane) for handler in handlers)

    def _delivery(self, item: Item, handler: Handler, lane: str) -> Delivery:
        delivery = Delivery(item, handler, lane, 0)
        if self._cursor.attempts and delivery.name is not None:
            delivery.attempts = self._cursor.attempts.get(delivery.name, 0)
        return delivery

    def _redriven(self, stored: Stored) -> tuple[Handler, ...]:
        """Return the handler that gave up on a redriven event, or all that take its type."""
        record = stored.record
        name = (record.extensions or {}).get("redrivehandler", "")
        known = [h for h in self._service.handlers if any(k.event_type == record.type for k in h.events)]
        return tuple(h for h in known if h.name == name) or tuple(known)

    def _undecodable(
        self, known_us: int, partition: Partition, stored: Stored, error: InvalidInputError
    ) -> Admitted:
        record = stored.record
        self._progress[partition].pending.append(stored.offset)
        envelope: Envelope[Any] = Envelope(
            record.id, record.source, record.type, record.subject, record.time_us, None, record.extensions
        )
        item = Item(envelope, known_us, known_us, (partition, stored.offset))
        letter = DeadLetter(
            id=record.id,
            service=self._service.name,
            handler="",
            cause=str(error),
            history=[],
            attempts=0,
            failed_us=known_us,
            record=record,
        )
        item.writes.append(write_of(letter))
        return item, ()

    def _expire(self, state: str, entry: Entry, until_us: int) -> Admitted:
        when_us = entry.expires_us or until_us
        event = Expired(state=state, key=entry.key, value=entry.value, time_us=when_us)
        id = f"expired/{self._service.name}/{state}/{entry.key}/{when_us}"
        envelope = Envelope(id, self._service.name, Expired.event_type, entry.key, when_us, event)
        item = Item(envelope, when_us, when_us if self._now_us is None else self._now_us(), None)
        return item, (Delivery(item, self._expiring.get(state, FORGET), entry.key, 0),)

    def _ticks(self, until_us: int) -> list[tuple[int, int, str, Admitted]]:
        ticks: list[tuple[int, int, str, Admitted]] = []
        for handler in self._ticking:
            first_us = self._ticked.get(handler.name, self._cursor.first_us)
            if first_us is None or handler.every is None:
                continue
            period_us = to_us(handler.every)
            numbers = range(first_us // period_us + 1, until_us // period_us + 1)
            # Live, a worker that was away for a year owes one tick, not thousands.
            owed = numbers if self._now_us is None else numbers[-1:]
            ticks.extend(self._tick(handler, number * period_us) for number in owed)
            if numbers:
                self._ticked[handler.name] = numbers[-1] * period_us
        return ticks

    def _tick(self, handler: Handler, time_us: int) -> tuple[int, int, str, Admitted]:
        event = Tick(key=handler.tick_key, time_us=time_us)
        id = f"tick/{handler.name}/{time_us}"
        envelope = Envelope(id, self._service.name, Tick.event_type, handler.tick_key, time_us, event)
        item = Item(envelope, time_us, time_us if self._now_us is None else self._now_us(), None)
        item.tick = (handler.name, time_us)
        lane = handler.tick_key or f"\0tick/{handler.name}"
        return time_us, 0, handler.name, (item, (Delivery(item, handler, lane, 0),))

    def next_tick_us(self) -> int | None:
        """Return when the next tick is due, None if nothing ticks."""
        due = [
            (self._ticked.get(h.name, self._cursor.first_us or 0) // to_us(h.every) + 1) * to_us(h.every)
            for h in self._ticking
            if h.every is not None
        ]
        return min(due, default=None)


def source_topic(handler: Handler, topic: str) -> str:
    """Return where a handler's events come from: their own topic, or the re-keyed copy of it."""
    return topic if handler.by is None else f"by-{handler.name}"
