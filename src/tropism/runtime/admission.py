"""What a worker lets in, and in which order: events, ticks, and states that expire."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tropism.core.codec import UNREADABLE, Codec
from tropism.core.envelope import Envelope, Record, Stored
from tropism.core.errors import InvalidInputError, plain
from tropism.ports.state import Entry
from tropism.runtime.call import FORGET
from tropism.runtime.closings import Closings
from tropism.runtime.cursor import Cursor, Progress
from tropism.runtime.dead import DeadLetter, letter_id, redrive_topic, write_of
from tropism.runtime.handler import Expired, Handler, Tick
from tropism.runtime.intake import Arrival
from tropism.runtime.leaving import Leaving
from tropism.runtime.plain import Plan, only_plain, plain_deliveries
from tropism.runtime.service import Service
from tropism.runtime.shares import Share
from tropism.runtime.streams import Stream
from tropism.runtime.tables import Tables
from tropism.runtime.ticking import moments, next_us, stride_us
from tropism.runtime.work import Delivery, Item, envelope_of

Admitted = tuple[Item, tuple[Delivery, ...]]
"""An item and its deliveries, one a handler; none where there is nothing to call."""

Due = tuple[int, int, str, int, Admitted]
"""When it is due; 0 if before the events of that moment; what orders the others; and the item."""


_IGNORED = Plan()


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
        share: Share,
        owned: Mapping[Stream, bool | None],
        refuse: Callable[[DeadLetter, Exception], None],
        leaving: Leaving,
    ) -> None:
        self._service = service
        self._codec = codec
        self._tables = tables
        self._progress = progress
        self._cursor = cursor
        self._now_us = now_us
        self._ignore_unknown = ignore_unknown
        self._share = share
        self._owned = owned
        self._routes: dict[tuple[str, str], tuple[Handler, ...]] = {}
        for handler in service.handlers:
            if not handler.is_timed:
                for kind in handler.events:
                    where = (source_topic(handler, kind.event_topic), kind.event_type)
                    self._routes[where] = (*self._routes.get(where, ()), handler)
        self._ticking = [h for h in service.handlers if h.every is not None and share.owns_key(h.tick_key)]
        self._expiring = {h.expires: h for h in service.handlers if h.expires is not None}
        self._ticked = dict(cursor.ticks)
        for handler in self._ticking:
            # A periodic handler that is new here owes nothing for the time before it came.
            if begin_us is not None:
                self._ticked.setdefault(handler.name, max(begin_us, cursor.first_us or begin_us))
        self._redrive_topic = redrive_topic(service.name)
        self._closings = Closings(
            service.name, service.handlers, tables.tables, cursor, share, begin_us, now_us
        )
        self._refuse = refuse
        self._leaving = leaving
        self._sequence = 0
        self._as_of_us: int | None = None
        """The present, live, for the arrivals at hand."""
        self._fed = tables.fed
        self._plans: dict[Stream, dict[str, Plan]] = {stream: {} for stream in progress}
        self._facts: list[tuple[int, Stored, Any]] = []

    def admit(
        self,
        arrivals: Sequence[Arrival],
        expired: Sequence[tuple[str, Entry]],
        until_us: int,
        *,
        after_us: int,
        read_us: int,
    ) -> list[Admitted]:
        """Return the items of arrivals, expired states and ticks up to a moment, in order of time.

        Windows close up to ``read_us``, up to when all there is has been read. What arrives late, at or
        before the moment that time had come to already, counts as just after it.
        """
        admitted = self._events(arrivals, after_us)
        if expired or self._ticking or self._closings:
            due: list[Due] = [(each[0].order_us, 1, "", n, each) for n, each in enumerate(admitted)]
            for state, entry in expired:
                when_us = until_us if entry.expires_us is None else entry.expires_us
                due.append((when_us, 0, f"{state}/{entry.key}", 0, self._expire(state, entry, when_us)))
            due.extend(self._closings.due(read_us))
            due.extend(self._ticks(until_us))
            due.sort(key=lambda entry: entry[:4])
            admitted = [entry[4] for entry in due]
        for item, deliveries in admitted:
            item.sequence = self._sequence
            item.open_calls = len(deliveries)
            self._sequence += 1
        return admitted

    def plain(self, arrivals: Sequence[Arrival], after_us: int) -> list[Delivery] | None:
        """Return the deliveries of arrivals that are for one handler each and no view; None where any is not.

        So they come to the same as if admitted one by one, only sooner.
        """
        more = self._ticking or self._closings or self._cursor.failures or self._leaving.is_needed
        if more or not arrivals or self._cursor.first_us is None:
            return None
        now_us = None if self._now_us is None else self._now_us()
        if now_us is None and arrivals[0][0] <= after_us:
            return None
        found = plain_deliveries(arrivals, self._plans, self._progress, now_us, self._sequence)
        self._sequence += 0 if found is None else len(found)
        return found

    def _events(self, arrivals: Sequence[Arrival], after_us: int) -> list[Admitted]:
        """Feed the views, and return the items of what is to be handled, in order of time."""
        admitted: list[Admitted] = []
        dropped: dict[Stream, list[int]] = {stream: [] for stream in self._progress}
        opened = {stream: progress.open for stream, progress in self._progress.items()}
        plans, event_time = self._plans, self._now_us is None
        self._as_of_us = None if self._now_us is None else self._now_us()
        if arrivals and self._cursor.first_us is None:
            late = self._now_us is None and arrivals[0][0] <= after_us
            self._cursor.first_us = after_us + 1 if late else arrivals[0][0]
        for time_us, stream, stored in arrivals:
            offset = stored.offset
            is_new = offset in opened[stream]
            if event_time and is_new and time_us <= after_us:
                time_us = self._time(time_us, after_us)  # noqa: PLW2901 (from here on, that is its time)
            event_type = stored.record.type
            plan = plans[stream].get(event_type) or self._plan(stream, event_type)
            found = self._event(plan, time_us, stream, stored, is_new) if plan.decode is not None else None
            if found is None:
                dropped[stream].append(offset)
            else:
                admitted.append(found)
        self._feed()
        for stream, offsets in dropped.items():
            self._progress[stream].drop(offsets)
        return admitted

    def _event(
        self, plan: Plan, time_us: int, stream: Stream, stored: Stored, is_new: bool
    ) -> Admitted | None:
        """Return the item of an event, None where there is nothing more to do for it."""
        if plan.shared and not self._share.owns(stored.record):
            if not plan.fed:
                return None
            is_new = False
        if plan.odd or plan.decode is None:
            return self._odd(plan, time_us, stream, stored, is_new=is_new)
        try:
            event = plan.decode(stored.record.data)
        except UNREADABLE:
            return self._unreadable(time_us, stream, stored) if is_new else None
        if plan.fed and self._fed[stream].lacks(stored.offset):
            self._facts.append((time_us, stored, event))
        if is_new and plan.handlers:
            return self._item(event, time_us, stream, stored, plan)
        return None

    def _time(self, time_us: int, after_us: int) -> int:
        """Return when an event counts as known: late ones, just after what was handled."""
        if self._now_us is not None or time_us > after_us:
            return time_us
        self._tables.is_due = True  # fed again from the log, it would not be late
        return after_us + 1

    def _plan(self, stream: Stream, event_type: str) -> Plan:
        """Decide, once, what is done with the events of a type in a stream."""
        owned = self._owned[stream]
        handlers = () if owned is False else self._routes.get((stream.topic, event_type), ())
        again = stream.topic == self._redrive_topic
        fed = self._tables.wants(event_type)
        plan = _IGNORED
        if fed or handlers or again or not self._is_ignored(stream, event_type):
            kind = self._codec.types.get(event_type)
            decode = self._codec.decoder(event_type) if kind is not None else _unknown
            keyed = kind is not None and kind.event_key is not None
            plan = only_plain(Plan(decode, fed, handlers, keyed, odd=again, shared=owned is None))
        self._plans[stream][event_type] = plan
        return plan

    def _odd(
        self, plan: Plan, time_us: int, stream: Stream, stored: Stored, *, is_new: bool
    ) -> Admitted | None:
        """Return the item of a redriven event, for who gave up on it; None where a view did."""
        record = stored.record
        try:
            event = self._codec.decode(record)
        except InvalidInputError as error:
            return self._refused(time_us, stream, stored, str(error)) if is_new else None
        name = _gave_up(record)
        if plan.fed and not name and self._fed[stream].lacks(stored.offset):
            self._facts.append((time_us, stored, event))
        plan = plan._replace(handlers=self._redriven(record, name))
        if not plan.handlers:
            self._feed()
            if not self._tables.feed_again(name, stream, time_us, stored, event):
                return self._refused(time_us, stream, stored, _gone(record)) if is_new else None
            return None
        return self._item(event, time_us, stream, stored, plan) if is_new else None

    def _item(self, event: Any, time_us: int, stream: Stream, stored: Stored, plan: Plan) -> Admitted:
        record = stored.record
        as_of_us = time_us if self._as_of_us is None else self._as_of_us
        item = Item(None, time_us, as_of_us, stream, stored.offset, record, event)
        # Without a key there is no order to keep: a lane each.
        lane = record.subject if plan.keyed or record.subject else f"\0{record.id}"
        if self._cursor.failures:
            return item, tuple(self._delivery(item, handler, lane) for handler in plan.handlers)
        if len(plan.handlers) == 1:
            return item, (Delivery(item, plan.handlers[0], lane),)
        return item, tuple([Delivery(item, handler, lane) for handler in plan.handlers])

    def _feed(self) -> None:
        """Feed the views what was gathered for them, in order."""
        facts, self._facts = self._facts, []
        self._tables.take(facts)

    def _unreadable(self, time_us: int, stream: Stream, stored: Stored) -> Admitted:
        """Return the item of an event whose bytes do not fit its type, or whose type is unknown."""
        try:
            self._codec.decode(stored.record)
        except InvalidInputError as error:
            return self._refused(time_us, stream, stored, str(error))
        # Its class was asked twice, and answered in two ways: what it says does not go by the event alone.
        return self._refused(time_us, stream, stored, _wavering(stored.record))

    def _is_ignored(self, stream: Stream, event_type: str) -> bool:
        newest = self._codec.newest(event_type)
        if newest != event_type:
            # It could not be read as what it is to be read as: whoever wants that is told.
            return not (self._tables.wants(newest) or (stream.topic, newest) in self._routes)
        return self._ignore_unknown or event_type in self._codec.types

    def _delivery(self, item: Item, handler: Handler, lane: str) -> Delivery:
        delivery = Delivery(item, handler, lane)
        if delivery.name is not None:
            delivery.errors.extend(self._cursor.failures.get(delivery.name, ()))
        return delivery

    def _redriven(self, record: Record, name: str) -> tuple[Handler, ...]:
        """Return the handler that gave up on a redriven event; all of its type where none was reached."""
        known = [h for h in self._service.handlers if any(k.event_type == record.type for k in h.events)]
        return tuple(h for h in known if name in {"", h.name})

    def _refused(self, known_us: int, stream: Stream, stored: Stored, cause: str) -> Admitted:
        """Return an item that reaches no handler, only the dead letters."""
        record = stored.record
        item = Item(envelope_of(record, None), known_us, known_us, stream, stored.offset)
        unknown = record.type not in self._codec.types and stream.topic != self._redrive_topic
        # Redriven in vain, an event stays that of the handler that gave up on it: others have handled it.
        handler = _gave_up(record) if stream.topic == self._redrive_topic else ""
        letter = DeadLetter(
            id=letter_id(record, handler, {kind.event_topic for kind in self._service.events}),
            service=self._service.name,
            handler=handler,
            cause=plain(cause),
            history=[],
            attempts=0,
            failed_us=known_us,
            record=record,
        )
        if unknown and self._now_us is not None:
            self._leaving.add(item, letter)
            return item, ()
        item.writes.append(write_of(letter))
        self._refuse(letter, InvalidInputError(cause))
        return item, ()

    def _expire(self, state: str, entry: Entry, when_us: int) -> Admitted:
        event = Expired(state=state, key=entry.key, value=entry.value, time_us=when_us)
        id = f"expired/{self._service.name}/{state}/{entry.key}/{when_us}"
        envelope = Envelope(id, self._service.name, Expired.event_type, entry.key, when_us, event)
        item = Item(envelope, when_us, when_us if self._now_us is None else self._now_us())
        return item, (Delivery(item, self._expiring.get(state, FORGET), entry.key),)

    def _ticks(self, until_us: int) -> list[Due]:
        ticks: list[Due] = []
        for handler in self._ticking:
            first_us = self._ticked.get(handler.name, self._cursor.first_us)
            if first_us is None or handler.every is None:
                continue
            # Live, a worker that was away for a year owes one tick, not thousands.
            times_us = moments(handler.every, first_us, until_us, last=self._now_us is not None)
            ticks.extend(self._tick(handler, time_us) for time_us in times_us)
            if times_us:
                self._ticked[handler.name] = times_us[-1]
        return ticks

    def _tick(self, handler: Handler, time_us: int) -> Due:
        event = Tick(key=handler.tick_key, time_us=time_us)
        id = f"tick/{handler.name}/{time_us}"
        envelope = Envelope(id, self._service.name, Tick.event_type, handler.tick_key, time_us, event)
        item = Item(envelope, time_us, time_us if self._now_us is None else self._now_us())
        item.tick = (handler.name, time_us)
        return time_us, 0, handler.name, 0, (item, (Delivery(item, handler, handler.tick_key),))

    def stride_us(self, count_max: int) -> int:
        """Return for how long no handler is due more often than so: a silence may hold millions of ticks."""
        return stride_us([h.every for h in self._ticking if h.every is not None], count_max)

    def next_tick_us(self) -> int | None:
        """Return when the next tick is due, or a window closes; None if nothing does."""
        due = [
            next_us(h.every, self._ticked.get(h.name, self._cursor.first_us or 0))
            for h in self._ticking
            if h.every is not None
        ]
        due.append(self._closings.next_us())
        return min((each for each in due if each is not None), default=None)


def _unknown(_: bytes) -> Any:
    raise msgspec.ValidationError("type")


def _wavering(record: Record) -> str:
    return (
        f"Cannot decode event {record.id!r} of type {record.type!r}: its class refused it, and took it when "
        f"asked again. Let validators and upcasts go by the event alone, then redrive it."
    )


def _gave_up(record: Record) -> str:
    """Return who gave up on a redriven event; empty where no handler was reached."""
    return (record.extensions or {}).get("redrivehandler", "")


def _gone(record: Record) -> str:
    return (
        f"Cannot redrive event {record.id!r}: there is no {_gave_up(record)!r} for {record.type!r} here. "
        f"Discard it, or bring the handler back."
    )


def wanted_states(
    stateful: Mapping[Handler, Sequence[str]], deliveries: Sequence[Delivery]
) -> dict[str, list[str]]:
    """Return, per namespace, the keys that handlers of items are given."""
    wanted: dict[str, list[str]] = {}
    for delivery in deliveries if any(stateful.values()) else ():
        for namespace in stateful.get(delivery.handler, ()):
            wanted.setdefault(namespace, []).append(delivery.item.subject)
    return wanted


def source_topic(handler: Handler, topic: str) -> str:
    """Return where a handler's events come from: their own topic, or the re-keyed copy of it."""
    return topic if handler.by is None else f"by-{handler.name}"
