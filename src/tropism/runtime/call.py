"""Calling a handler: what goes in, and what came out."""

from collections.abc import Callable, Mapping, Sequence
from types import CoroutineType
from typing import Any

import msgspec

from tropism.core.codec import Codec
from tropism.core.envelope import Envelope, Record, derived_id
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event, key_of, topic_of
from tropism.core.time import to_us
from tropism.ports.state import Write
from tropism.runtime.batch import Batch
from tropism.runtime.carrying import Carry
from tropism.runtime.handler import Expired, Handler, Injection, Shape, check_delays, check_outputs, collect
from tropism.runtime.inject import Opened, Output, State, Subject
from tropism.runtime.later import Cancel, Later, canceled, delayed
from tropism.runtime.tables import Kept
from tropism.runtime.values import Values
from tropism.runtime.view import Reader, View
from tropism.runtime.work import Delivery, Item, tie_batch


def _forget(_: Expired) -> None:
    """Do nothing: the value is deleted with the commit."""


FORGET = Handler("forget", _forget, (Expired,), Shape.ONE, (), ())
"""What meets a state that expires, where the service has no handler for it."""


Enlisted = tuple[Sequence[int], Sequence[Event], str]
"""Events that a resource added to the commits of some deliveries, by their places, and its name."""


class Caller:
    """Calls handlers of one service, and keeps what they gave until it can be committed.

    A call that raises leaves nothing behind.
    """

    def __init__(
        self,
        service: str,
        *,
        codec: Codec,
        values: Values,
        tables: Mapping[View, Kept],
        opened: Mapping[str, Opened],
        now_us: Callable[[], int] | None,
        record_bytes_max: int,
        carry: Carry,
        check: Callable[[Record], None] | None = None,
    ) -> None:
        self._carry = carry
        self._service = service
        self._record_bytes_max = record_bytes_max
        self._check = check
        self._codec = codec
        self._values = values
        self._tables = tables
        self._opened = opened
        self._now_us = now_us
        self._states: dict[Handler, tuple[tuple[str, str, Any, int | None], ...]] = {}

    async def call(self, handler: Handler, deliveries: Sequence[Delivery]) -> None:
        """Call a handler with its deliveries, and add what it gave to their items."""
        item = deliveries[0].item
        if item.record is None and handler.events == (Expired,) and not await self._expire(item):
            return
        if handler.injections or len(deliveries) > 1:
            states = self._states.get(handler)
            if states is None:
                states = self._states[handler] = self._states_alone(handler)
            await (self._call(handler, deliveries) if not states else self._call_with(states, handler, item))
            return
        # The usual call, made a hundred thousand times: what it asks nothing for costs it nothing.
        result = handler.function(_subject_of(handler.shape, deliveries))
        if type(result) is CoroutineType:
            result = await result
        if result is not None:
            await self.keep(handler, item, result)

    async def keep(self, handler: Handler, item: Item, result: Any) -> None:
        """Add what a call of one item gave back to it."""
        outputs = await _outputs(handler, result)
        item.outputs.extend([self._record(handler, item, n, output) for n, output in enumerate(outputs)])

    def _states_alone(self, handler: Handler) -> tuple[tuple[str, str, Any, int | None], ...]:
        """Return the parameters, namespaces, types and times of a handler's states; none if it needs more."""
        if handler.many or not all(isinstance(each.source, str) for each in handler.injections):
            return ()
        return tuple(
            (
                i.parameter,
                namespace_of(self._service, i.source),
                i.kind,
                None if i.ttl is None else to_us(i.ttl),
            )
            for i in handler.injections
        )

    async def _call_with(
        self, states: Sequence[tuple[str, str, Any, int | None]], handler: Handler, item: Item
    ) -> None:
        """Make the call of one event that needs nothing but its key's states."""
        key = item.subject
        given: dict[str, State[Any]] = {}
        for parameter, namespace, kind, _ in states:
            given[parameter] = State({key: await self._values.value(namespace, key)}, kind, key)
        result = handler.function(_subject_of(handler.shape, (Delivery(item, handler, key),)), **given)
        if type(result) is CoroutineType:
            result = await result
        if result is not None:
            await self.keep(handler, item, result)
        writes = [
            Write(namespace, key, data, None if data is None or ttl_us is None else item.order_us + ttl_us)
            for parameter, namespace, _, ttl_us in states
            for key, data in given[parameter].pending.items()
        ]
        if writes:
            self._values.apply(writes)
            item.writes.extend(writes)

    async def _call(self, handler: Handler, deliveries: Sequence[Delivery]) -> None:
        enlisted: list[Enlisted] = []
        ends: list[Callable[[], Sequence[Write]]] = []
        states: list[tuple[Injection, State[Any]]] = []
        arguments: dict[str, Any] = {}
        for injection in handler.injections:
            if isinstance(injection.source, str):
                state = await self._state(injection, handler, deliveries)
                states.append((injection, state))
                arguments[injection.parameter] = state
            else:
                arguments[injection.parameter] = self._argument(injection, deliveries, enlisted, ends)
        result = handler.function(_subject_of(handler.shape, deliveries), **arguments)
        if type(result) is CoroutineType:
            result = await result
        outputs = await _outputs(handler, result)
        records = self._records(handler, deliveries, enlisted, outputs)
        writes = [w for injection, state in states for w in self._writes(injection, state, deliveries)]
        if len(deliveries) > 1 and (outputs or states or ends):
            # What resources enlisted stands for itself, event by event.
            tie_batch(deliveries, whole=any(output.by is None for output in outputs))
        for end in ends:
            deliveries[0].item.writes.extend(end())
        self._keep(deliveries, enlisted, records, writes)

    def _keep(
        self,
        deliveries: Sequence[Delivery],
        enlisted: Sequence[Enlisted],
        records: Sequence[tuple[int, Record]],
        writes: Sequence[tuple[int, Write]],
    ) -> None:
        """Add what a call gave to its items."""
        for indices, events, resource in enlisted:
            for index, event in zip(indices, events, strict=True):
                deliveries[index].item.enlisted.append((resource, event))
        for index, record in records:
            deliveries[index].item.outputs.append(record)
        if writes:
            self._values.apply([write for _, write in writes])
            for index, write in writes:
                deliveries[index].item.writes.append(write)

    async def _expire(self, item: Item) -> bool:
        """Delete an expired state, unless an event before this moment renewed or deleted it."""
        event: Expired = item.envelope.data
        namespace = namespace_of(self._service, event.state)
        if item.effects is not None and item.effects.writes:
            return True
        if not await self._values.expires_at(namespace, event.key, event.time_us):
            return False
        item.writes.append(Write(namespace, event.key, None))
        self._values.apply(item.writes)
        return True

    async def _state(
        self, injection: Injection, handler: Handler, deliveries: Sequence[Delivery]
    ) -> State[Any]:
        keys = [d.item.envelope.subject for d in deliveries]
        values = await self._values.read(namespace_of(self._service, injection.source), keys)
        return State(values, injection.kind, None if handler.many else keys[0])

    def _argument(
        self,
        injection: Injection,
        deliveries: Sequence[Delivery],
        enlisted: list[Enlisted],
        ends: list[Callable[[], Sequence[Write]]],
    ) -> Any:
        source = injection.source
        if isinstance(source, View):
            return self._reader(source, deliveries)
        name = source.name
        return self._opened[name].bind(
            Subject(
                [d.item.envelope for d in deliveries],
                [d.item.as_of_us for d in deliveries],
                lambda indices, events: enlisted.append((indices, events, name)),
                deliveries[0].handler.name,
                deliveries[0].handler.provider,
                ends.append,
            )
        )

    def _reader(self, view: View, deliveries: Sequence[Delivery]) -> Reader:
        """Return a view as of the event at hand; of a batch, as of its first event."""
        item = deliveries[0].item
        return self._tables[view].reader(item.as_of_us, item.envelope.subject)

    def _records(
        self,
        handler: Handler,
        deliveries: Sequence[Delivery],
        enlisted: Sequence[Enlisted],
        outputs: Sequence[Output],
    ) -> list[tuple[int, Record]]:
        ordinals = [0] * len(deliveries)
        records: list[tuple[int, Record]] = []
        for indices, events, _ in enlisted:
            records += self._added(handler, deliveries, ordinals, indices, events)
        if not outputs:
            return records
        places = _places(handler, deliveries) if len(deliveries) > 1 else {}
        for output in outputs:
            by = output.by
            index = len(deliveries) - 1 if by is None else places.get(_id_among(handler, by), 0)
            records.append((index, self._record(handler, deliveries[index].item, ordinals[index], output)))
            ordinals[index] += 1
        return records

    def _added(
        self,
        handler: Handler,
        deliveries: Sequence[Delivery],
        ordinals: list[int],
        indices: Sequence[int],
        events: Sequence[Event],
    ) -> list[tuple[int, Record]]:
        """Return the records of what a resource added: Tropism's own, so it fits its type."""
        carry, name, source = self._carry, handler.name, self._service
        bytes_max = self._record_bytes_max
        now_us = None if self._now_us is None else self._now_us()
        records: list[tuple[int, Record]] = []
        for index, event, data in zip(indices, events, self._encoded(events), strict=True):
            item, kind, ordinal = deliveries[index].item, type(event), ordinals[index]
            cause = item.envelope
            record = Record(
                derived_id(cause.id, name, ordinal, cause.time_us),
                kind.event_type,
                kind.event_topic,
                key_of(event),
                item.order_us if now_us is None else now_us,
                data,
                source,
                carry(cause, name),
            )
            if len(data) > bytes_max:
                raise _too_large(handler, event, record, bytes_max)
            ordinals[index] = ordinal + 1
            records.append((index, record))
        return records

    def _encoded(self, events: Sequence[Event]) -> list[bytes]:
        """Return the bytes of events of one type. Raises: InvalidInputError if one cannot be encoded."""
        try:
            encode = self._codec.encoder(type(events[0]).event_type)
            return [encode(event) for event in events]
        except (KeyError, msgspec.MsgspecError, TypeError, ValueError):
            # One by one, for what tells which it is, and why.
            return [self._codec.encode(event, checked=False) for event in events]

    def _record(self, handler: Handler, item: Item, ordinal: int, output: Output) -> Record:
        if type(output) is not Output:
            return self._later(handler, item, ordinal, output)
        if handler.topic is not None and item.record is not None:
            record = self._copy(handler, item, item.record, output)
        else:
            data = self._codec.encode(output.event)
            record = self._new(handler, item, ordinal, output.event, data, output.subject)
        if len(record.data) > self._record_bytes_max:
            raise _too_large(handler, output.event, record, self._record_bytes_max)
        if self._check is not None:
            self._check(record)
        return record

    def _later(self, handler: Handler, item: Item, ordinal: int, output: Output) -> Record:
        """Return, in place of a record, what is to be published later or canceled."""
        check_delays(handler, output)
        now_us = item.order_us if self._now_us is None else self._now_us()
        logged = item.record is not None
        if isinstance(output, Cancel):
            return canceled(output, item.envelope, now_us, logged=logged)
        assert isinstance(output, Later)  # noqa: S101 (there is no third kind)
        plain = Output(output.event, output.by, output.subject)
        record = self._record(handler, item, ordinal, plain)
        return delayed(output, record, item.envelope, now_us, ordinal, logged=logged)

    def _copy(self, handler: Handler, item: Item, record: Record, output: Output) -> Record:
        """Return a copy under another key: the same fact, so it keeps its id, and who said it."""
        cause = item.envelope
        return Record(
            _id_among(handler, cause),
            cause.type,
            handler.topic or "",
            output.subject or "",
            item.order_us if self._now_us is None else self._now_us(),
            record.data,
            cause.source,
            record.extensions,
        )

    def _new(
        self,
        handler: Handler,
        item: Item,
        ordinal: int,
        event: Event,
        data: bytes,
        subject: str | None = None,
    ) -> Record:
        cause, kind = item.envelope, type(event)
        return Record(
            derived_id(_id_among(handler, cause), handler.name, ordinal, cause.time_us),
            kind.event_type,
            kind.event_topic,
            key_of(event) if subject is None else subject,
            item.order_us if self._now_us is None else self._now_us(),
            data,
            self._service,
            self._carry(cause, handler.name),
        )

    def _writes(
        self, injection: Injection, state: State[Any], deliveries: Sequence[Delivery]
    ) -> list[tuple[int, Write]]:
        last = {d.item.envelope.subject: i for i, d in enumerate(deliveries)}
        namespace = namespace_of(self._service, injection.source)
        writes = []
        for key, data in state.pending.items():
            index = last[key]
            expires_us = (
                None
                if data is None or injection.ttl is None
                else deliveries[index].item.order_us + to_us(injection.ttl)
            )
            writes.append((index, Write(namespace, key, data, expires_us)))
        return writes


def _id_among(handler: Handler, cause: Envelope[Any]) -> str:
    """Return an event's id; with its topic where a handler takes several: ids are unique in a topic only."""
    if len(handler.events) == 1 or len({kind.event_topic for kind in handler.events}) == 1:
        return cause.id
    return f"{topic_of(cause.type)}/{cause.id}"


def _too_large(handler: Handler, event: Event, record: Record, bytes_max: int) -> InvalidInputError:
    return InvalidInputError(
        f"Cannot publish {type(event).__name__!r} from {handler.name!r}: it has {len(record.data)} bytes, "
        f"more than the log's {bytes_max}. Put the payload into Blobs and its name into the event."
    )


async def _outputs(handler: Handler, result: Any) -> Sequence[Output]:
    """Return what a call gave back. Raises: InvalidInputError if its signature does not announce it."""
    if result is None:
        return ()
    if type(result) in handler.outputs:
        return (Output(result),)
    outputs = await collect(result)
    check_outputs(handler, outputs)
    return outputs


def namespace_of(service: str, state: str) -> str:
    """Return where a service keeps the state of a name."""
    return f"{service}/state/{state}"


def _places(handler: Handler, deliveries: Sequence[Delivery]) -> dict[str, int]:
    return {_id_among(handler, delivery.item.envelope): n for n, delivery in enumerate(deliveries)}


def _subject_of(shape: Shape, deliveries: Sequence[Delivery]) -> Any:
    if shape is Shape.ONE or shape is Shape.TICK:
        return deliveries[0].item.data
    if shape is Shape.ENVELOPE:
        return deliveries[0].item.envelope
    if shape is Shape.LIST:
        return [d.item.data for d in deliveries]
    envelopes = [d.item.envelope for d in deliveries]
    return Batch(envelopes) if shape is Shape.BATCH else envelopes
