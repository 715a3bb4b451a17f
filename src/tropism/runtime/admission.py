"""What a worker lets in, and in which order: events, ticks, and states that expire."""

from collections.abc import Callable, Sequence
from typing import Any

from tropism.core.codec import Codec
from tropism.core.envelope import Envelope, Record, Stored
from tropism.core.errors import InvalidInputError
from tropism.core.time import to_us
from tropism.ports.state import Entry
from tropism.runtime.call import FORGET
from tropism.runtime.cursor import Cursor, Progress
from tropism.runtime.dead import DeadLetter, redrive_topic, write_of
from tropism.runtime.handler import Expired, Handler, Tick
from tropism.runtime.intake import Arrival
from tropism.runtime.service import Service
from tropism.runtime.streams import Stream
from tropism.runtime.tables import Tables
from tropism.runtime.work import Delivery, Item

Admitted = tuple[Item, tuple[Delivery, ...]]
"""An item and its deliveries, one a handler; none where there is nothing to call."""

Due = tuple[int, int, str, int, Admitted]
"""When it is due; 0 if before the events of that moment; what orders the others; and the item."""


class Admission:
    """Turns what arrived into items, in order of time, and feeds the views on the way."""

    def __init__(
        self,
        service: Service,
        *,
        codec: Codec,
        tables: Tables,
        progress: dict[Stream, Progress],
        cursor: Cursor,
        now_us: Callable[[], int] | None,
        ignore_unknown: bool,
        begin_us: int | None,
        refuse: Callable[[DeadLetter, Exception], None],
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
        self._ticked = dict(cursor.ticks)
        for handler in self._ticking:
            # A periodic handler that is new here owes nothing for the time before it came.
            if begin_us is not None:
                self._ticked.setdefault(handler.name, max(begin_us, cursor.first_us or begin_us))
        self._redrive_topic = redrive_topic(service.name)
        self._refuse = refuse
        self._sequence = 0

    def admit(
        self,
        arrivals: Sequence[Arrival],
        expired: Sequence[tuple[str, Entry]],
        until_us: int,
        *,
        after_us: int,
    ) -> list[Admitted]:
        """Return the items of arrivals, expired states and ticks up to a moment, in order of time.

        What arrives late, at or before the moment that time had come to already, counts as just after it.
        """
        due: list[Due] = []
        for place, arrival in enumerate(arrivals):
            known_us, *_, stream, stored = arrival
            time_us = known_us if self._now_us is not None else max(known_us, after_us + 1)
            admitted = self._event(time_us, stream, stored)
            if admitted is not None:
                due.append((time_us, 1, "", place, admitted))
            if self._cursor.first_us is None:
                self._cursor.first_us = time_us
        for state, entry in expired:
            when_us = until_us if entry.expires_us is None else entry.expires_us
            due.append((when_us, 0, f"{state}/{entry.key}", 0, self._expire(state, entry, when_us)))
        if self._ticking:
            due.extend(self._ticks(until_us))
        if expired or self._ticking:
            due.sort(key=lambda entry: entry[:4])
        admitted_all = [entry[4] for entry in due]
        for item, deliveries in admitted_all:
            item.sequence = self._sequence
            item.open_calls = len(deliveries)
            self._sequence += 1
        return admitted_all

    def _event(self, known_us: int, stream: Stream, stored: Stored) -> Admitted | None:
        record = stored.record
        progress = self._progress[stream]
        new = progress.is_open(stored.offset)
        again = stream.topic == self._redrive_topic
        fed = (not again or not _gave_up(record)) and self._tables.wants(record.type)
        handlers = self._routes.get((stream.topic, record.type), ())
        if not (fed or handlers or again) and self._is_ignored(record.type):
            self._pass(stream, stored)
            return None
        try:
            event = self._codec.decode(record)
        except InvalidInputError as error:
            self._tables.skip(stream, stored.offset)
            return self._refused(known_us, stream, stored, str(error)) if new else None
        if fed:
            self._tables.feed(stream, known_us, stored, event)
        if again:
            handlers = self._redriven(record)
            if not handlers and not self._fed_again(known_us, stream, stored, event):
                return self._refused(known_us, stream, stored, _gone(record)) if new else None
        if not handlers or not new:
            self._pass(stream, stored)
            return None
        self._tables.skip(stream, stored.offset)
        envelope = Envelope(
            record.id, record.source, record.type, record.subject, record.time_us, event, record.extensions
        )
        as_of_us = known_us if self._now_us is None else self._now_us()
        item = Item(envelope, known_us, as_of_us, (stream, stored.offset))
        item.record = record
        # Without a key there is no order to keep: a lane each.
        lane = record.subject if record.subject or type(event).event_key is not None else f"\0{record.id}"
        return item, tuple(self._delivery(item, handler, lane) for handler in handlers)

    def _pass(self, stream: Stream, stored: Stored) -> None:
        """Note that there is nothing more to do for an event here."""
        self._tables.skip(stream, stored.offset)
        self._progress[stream].drop(stored.offset)

    def _is_ignored(self, event_type: str) -> bool:
        return self._ignore_unknown or event_type in self._codec.types

    def _delivery(self, item: Item, handler: Handler, lane: str) -> Delivery:
        delivery = Delivery(item, handler, lane, [])
        if self._cursor.failures and delivery.name is not None:
            delivery.errors.extend(self._cursor.failures.get(delivery.name, ()))
        return delivery

    def _redriven(self, record: Record) -> tuple[Handler, ...]:
        """Return the handler that gave up on a redriven event; all of its type where none was reached."""
        name = _gave_up(record)
        known = [h for h in self._service.handlers if any(k.event_type == record.type for k in h.events)]
        return tuple(h for h in known if name in {"", h.name})

    def _fed_again(self, known_us: int, stream: Stream, stored: Stored, event: Any) -> bool:
        return self._tables.feed_again(_gave_up(stored.record), stream, known_us, stored, event)

    def _refused(self, known_us: int, stream: Stream, stored: Stored, cause: str) -> Admitted:
        """Return an item that reaches no handler, only the dead letters."""
        record = stored.record
        envelope: Envelope[Any] = Envelope(
            record.id, record.source, record.type, record.subject, record.time_us, None, record.extensions
        )
        item = Item(envelope, known_us, known_us, (stream, stored.offset))
        letter = DeadLetter(
            id=record.id,
            service=self._service.name,
            handler="",
            cause=cause,
            history=[],
            attempts=0,
            failed_us=known_us,
            record=record,
        )
        item.writes.append(write_of(letter))
        self._refuse(letter, InvalidInputError(cause))
        return item, ()

    def _expire(self, state: str, entry: Entry, when_us: int) -> Admitted:
        event = Expired(state=state, key=entry.key, value=entry.value, time_us=when_us)
        id = f"expired/{self._service.name}/{state}/{entry.key}/{when_us}"
        envelope = Envelope(id, self._service.name, Expired.event_type, entry.key, when_us, event)
        item = Item(envelope, when_us, when_us if self._now_us is None else self._now_us(), None)
        return item, (Delivery(item, self._expiring.get(state, FORGET), entry.key, []),)

    def _ticks(self, until_us: int) -> list[Due]:
        ticks: list[Due] = []
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

    def _tick(self, handler: Handler, time_us: int) -> Due:
        event = Tick(key=handler.tick_key, time_us=time_us)
        id = f"tick/{handler.name}/{time_us}"
        envelope = Envelope(id, self._service.name, Tick.event_type, handler.tick_key, time_us, event)
        item = Item(envelope, time_us, time_us if self._now_us is None else self._now_us(), None)
        item.tick = (handler.name, time_us)
        return time_us, 0, handler.name, 0, (item, (Delivery(item, handler, handler.tick_key, []),))

    def next_tick_us(self) -> int | None:
        """Return when the next tick is due, None if nothing ticks."""
        due = [
            (self._ticked.get(h.name, self._cursor.first_us or 0) // to_us(h.every) + 1) * to_us(h.every)
            for h in self._ticking
            if h.every is not None
        ]
        return min(due, default=None)


def _gave_up(record: Record) -> str:
    """Return who gave up on a redriven event; empty where no handler was reached."""
    return (record.extensions or {}).get("redrivehandler", "")


def _gone(record: Record) -> str:
    return (
        f"Cannot redrive event {record.id!r}: there is no {_gave_up(record)!r} for {record.type!r} here. "
        f"Discard it, or bring the handler back."
    )


def source_topic(handler: Handler, topic: str) -> str:
    """Return where a handler's events come from: their own topic, or the re-keyed copy of it."""
    return topic if handler.by is None else f"by-{handler.name}"
