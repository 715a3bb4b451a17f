"""What a handler returns for later: events that become events when they are due, and can be canceled."""

from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Generic, TypeVar, get_args, get_origin

import msgspec

from tropism.core.envelope import Envelope, Record
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.core.time import IMPLAUSIBLE, instant_us, is_plausible, iso, to_us
from tropism.runtime.inject import Output

E = TypeVar("E", bound=Event)


class Later(Output, Generic[E]):
    """An event that a handler returns now and that is published later: after a delay, or at a moment.

    ``name`` makes it one that can be canceled, or put off: under the key of the event at hand there is one
    of each type and name, the last that was returned. What is due already is published at once. ``by`` and
    ``subject`` are those of Output.

    Raises: InvalidInputError unless it has either a delay, or a moment with its time zone.
    """

    delay: timedelta | None
    at: datetime | None
    name: str | None

    def __init__(
        self,
        event: E,
        delay: timedelta | None = None,
        *,
        at: datetime | None = None,
        name: str | None = None,
        by: Envelope[Any] | None = None,
        subject: str | None = None,
    ) -> None:
        Output.__init__(self, event, by, subject)
        what = type(event).__name__
        if (delay is None) == (at is None):
            raise InvalidInputError(
                f"Cannot publish {what!r} later: it needs either a delay or a moment. "
                f"Write Later(event, minutes(5)) or Later(event, at=moment)."
            )
        if not isinstance(delay, timedelta | None) or not isinstance(at, datetime | None):
            raise InvalidInputError(
                f"Cannot publish {what!r} later: {delay if at is None else at!r} is no duration or moment. "
                f"Write Later(event, minutes(5)) or Later(event, at=moment)."
            )
        if at is not None and at.tzinfo is None:
            raise InvalidInputError(
                f"Cannot publish {what!r} later: {at.isoformat()} names no time zone. Give it one, as in "
                f"datetime(2026, 1, 31, tzinfo=UTC)."
            )
        _check_name(what, name, optional=True)
        vars(self).update(delay=delay, at=at, name=name)

    def __eq__(self, other: object) -> bool:
        """Equal are those of equal events, times and names."""
        return isinstance(other, Later) and _parts(self) == _parts(other)

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash(_parts(self))

    def __repr__(self) -> str:
        """Say what and when, without the event's fields."""
        return f"Later({type(self.event).__name__}, {self.delay if self.at is None else self.at.isoformat()})"


class Cancel(Output):
    """Cancels what was to be published later, of a type and name, under the key of the event at hand.

    It has no effect on what is published already. ``by`` names the event of a batch whose key is meant.
    """

    kind: type[Event]
    name: str

    def __init__(self, kind: type[Event], name: str, *, by: Envelope[Any] | None = None) -> None:
        Output.__init__(self, _NOTHING, by, None)
        _check_name(kind.__name__, name, optional=False)
        vars(self).update(kind=kind, name=name)

    def __eq__(self, other: object) -> bool:
        """Equal are those of one type and name."""
        return isinstance(other, Cancel) and (self.kind, self.name) == (other.kind, other.name)

    def __hash__(self) -> int:
        """Agree with equality."""
        return hash((self.kind, self.name))


class Delayed(Record, frozen=True, gc=False, kw_only=True):
    """A record to be published when it is due; ``when_us`` is when that was decided, ``lane`` for which key.

    ``slot`` is what it replaces and is canceled by, empty where it has no ``name``.
    """

    due_us: int
    when_us: int
    lane: str
    slot: str = ""
    ordinal: int = 0
    name: str = ""


class Canceled(Record, frozen=True, gc=False, kw_only=True):
    """In place of a record: what is in a slot is not to be published any more."""

    when_us: int
    slot: str


class _Nothing(Event, type="tropism.nothing.v1"):
    """In place of an event, where something is canceled."""


_NOTHING = _Nothing()


def is_delaying(hint: Any) -> bool:
    """Say whether a return annotation names Later or Cancel anywhere."""
    if hint is Later or hint is Cancel or get_origin(hint) is Later:
        return True
    return any(is_delaying(argument) for argument in get_args(hint))


def delayed(
    output: Later[Any], record: Record, cause: Envelope[Any], now_us: int, ordinal: int, *, logged: bool
) -> Delayed:
    """Return a record with when it is due; ``logged`` says whether its cause came from the log.

    Raises: InvalidInputError for a time that no calendar tells, or a name without a key.
    """
    what = type(output.event).__name__
    due_us = now_us + to_us(output.delay or timedelta(0)) if output.at is None else instant_us(output.at)
    if not is_plausible(due_us):
        raise InvalidInputError(
            f"Cannot publish {what!r} later: {iso(due_us)} {IMPLAUSIBLE}. Choose a nearer moment."
        )
    return Delayed(
        record.id,
        record.type,
        record.topic,
        record.subject,
        record.time_us,
        record.data,
        record.source,
        record.extensions,
        due_us=due_us,
        when_us=now_us,
        # As the worker was chosen that has this cause at hand: it will have to publish.
        lane=cause.subject or (cause.id if logged else ""),
        slot="" if output.name is None else slot_of(cause, record.type, output.name, logged=logged),
        ordinal=ordinal,
        name=output.name or "",
    )


def canceled(output: Cancel, cause: Envelope[Any], now_us: int, *, logged: bool) -> Canceled:
    """Return what cancels. Raises: InvalidInputError if the event at hand has no key."""
    slot = slot_of(cause, output.kind.event_type, output.name, logged=logged)
    return Canceled("", "", "", "", now_us, b"", when_us=now_us, slot=slot)


def slot_of(cause: Envelope[Any], event_type: str, name: str, *, logged: bool) -> str:
    """Return what stands for a key, type and name. Raises: InvalidInputError if there is no key."""
    if logged and not cause.subject:
        raise InvalidInputError(
            f"Cannot name {name!r} what is published later: the event {cause.type!r} at hand has no key to "
            f'keep the name under. Define it with key="...", or leave out the name.'
        )
    told = f"{cause.subject}\0{event_type}\0{name}".encode("utf-8", "surrogatepass")
    return blake2b(told, digest_size=16).hexdigest()


def published(record: Delayed, time_us: int) -> Record:
    """Return the record as it is published, at a moment."""
    extensions = {**(record.extensions or {}), "dueat": iso(record.due_us)}
    return Record(
        record.id, record.type, record.topic, record.subject, time_us, record.data, record.source, extensions
    )


def _parts(later: Later[Any]) -> tuple[Any, ...]:
    return later.event, later.delay, later.at, later.name, later.subject


def _check_name(what: str, name: str | None, *, optional: bool) -> None:
    if (name is None and optional) or (isinstance(name, str) and name):
        return
    raise InvalidInputError(
        f"Cannot name {what!r} for later: {name!r} is no text of some length. Write one, such as 'reminder'."
    )


encode = msgspec.msgpack.encode
decode = msgspec.msgpack.Decoder(Delayed).decode
