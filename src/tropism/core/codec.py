"""Events to bytes and back, with the checks that construction does not make."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from tropism.core.envelope import Envelope, Record
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event, is_event_type, key_of
from tropism.core.forms import Form, form_of
from tropism.core.upcast import Upcast, chains, upcast

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a decoder raises of bytes that it cannot take: of a thousand brackets in a row, the last of these."""


class Codec:
    """Encodes and decodes the event types of one app: JSON payloads, decoders made once.

    ``older`` names the types that are read as newer ones, each with the class that reads it and the steps.

    Raises: InvalidInputError if two classes claim one type name, or a class is no event.
    """

    def __init__(self, types: Iterable[type[Event]]) -> None:
        self.types: dict[str, type[Event]] = {}
        for event in types:
            if not is_event_type(event):
                raise InvalidInputError(
                    f"Cannot use {event!r} as an event: it has no type name. "
                    f'Subclass Event, or write @event(type="domain.fact.v1", key="...") over the class.'
                )
            known = self.types.setdefault(event.event_type, event)
            if known is not event:
                raise InvalidInputError(
                    f"Cannot use event type {event.event_type!r}: both {known.__qualname__} and "
                    f"{event.__qualname__} claim it. Give one of them another type name."
                )
        self._forms: dict[str, Form] = {name: form_of(cls) for name, cls in self.types.items()}
        self.older: dict[str, tuple[type[Event], tuple[Upcast, ...]]] = {}
        for cls in self.types.values():
            for old, steps in chains(cls.event_type, cls.event_upcasts).items():
                self._add_older(old, cls, steps)

    def _add_older(self, old: str, cls: type[Event], steps: tuple[Upcast, ...]) -> None:
        known = self.types.get(old) or self.older.setdefault(old, (cls, steps))[0]
        if known is not cls:
            raise InvalidInputError(
                f"Cannot read event type {old!r} as {cls.event_type!r}: {known.__qualname__} reads it. "
                f"Leave one of the two away."
            )

    def newest(self, event_type: str) -> str:
        """Return the type as which events of a type are read: mostly itself."""
        known = self.older.get(event_type)
        return event_type if known is None else known[0].event_type

    def upcast(self, record: Record) -> Record:
        """Return a record of an older type as one of the type that reads it; all else stays as it is.

        Raises: InvalidInputError if a step fails.
        """
        cls, steps = self.older[record.type]
        try:
            data = upcast(record.data, steps)
        except UNREADABLE as error:
            raise InvalidInputError(
                f"Cannot read event {record.id!r} of type {record.type!r} as {cls.event_type!r}: "
                f"{describe(error)}. Mend the upcast, then redrive the event."
            ) from error
        return msgspec.structs.replace(record, type=cls.event_type, data=data)

    def decode(self, record: Record) -> Any:
        """Return the typed payload of a record.

        Raises: InvalidInputError if the type is unknown here, or the bytes do not fit it. The message
        names the field that is wrong and never the payload.
        """
        if record.type in self.older:
            record = self.upcast(record)
        form = self._forms.get(record.type)
        if form is None:
            raise InvalidInputError(
                f"Cannot decode event {record.id!r}: type {record.type!r} is unknown here. "
                f"Add its class to the app, or publish one of {sorted(self.types)}."
            )
        try:
            return form.decode(record.data)
        except UNREADABLE as error:
            raise InvalidInputError(
                f"Cannot decode event {record.id!r} of type {record.type!r}: {describe(error)}. "
                f"Publish what the type declares, or redrive it after a fix."
            ) from error

    def decoder(self, event_type: str) -> Callable[[bytes], Any]:
        """Return what decodes payloads of a known type; it raises what msgspec does."""
        return self._forms[event_type].decode

    def encoder(self, event_type: str) -> Callable[[Any], bytes]:
        """Return what encodes payloads of a known type, unchecked; it raises what msgspec does."""
        return self._forms[event_type].encode

    def envelope(self, record: Record) -> Envelope[Any]:
        """Return a record with its payload typed."""
        return Envelope(
            record.id,
            record.source,
            self.newest(record.type),
            record.subject,
            record.time_us,
            self.decode(record),
            record.extensions,
        )

    def encode(self, event: Any, *, checked: bool = True) -> bytes:
        """Return an event's payload, checked against its own declaration.

        msgspec checks types and constraints when it decodes, not when it constructs, so the bytes
        are decoded once: what is published can be read. Only what Tropism made itself needs no check.

        Raises: InvalidInputError if the event does not fit its own type.
        """
        form = self._forms.get(getattr(type(event), "event_type", ""))
        if form is None:
            name = getattr(type(event), "event_type", type(event).__name__)
            raise InvalidInputError(
                f"Cannot publish event type {name!r}: it is unknown here. Add its class to the app."
            )
        try:
            data = form.encode(event)
            if checked:
                form.decode(data)
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(
                f"Cannot publish event type {type(event).event_type!r}: {describe(error)}. "
                f"Construct it with values that fit its fields."
            ) from error
        return data


def record_of(
    event: Any,
    data: bytes,
    *,
    id: str,
    time_us: int,
    source: str = "",
    extensions: dict[str, str] | None = None,
) -> Record:
    """Return an encoded event as the record that a log carries."""
    kind = type(event)
    return Record(id, kind.event_type, kind.event_topic, key_of(event), time_us, data, source, extensions)


def describe(error: Exception) -> str:
    """Return what is wrong with a payload, without the payload's own values."""
    if isinstance(error, msgspec.ValidationError):
        return str(error).rstrip(".")
    if isinstance(error, msgspec.DecodeError):
        return "the bytes are not JSON"
    if isinstance(error, UnicodeDecodeError):
        return "the bytes are not UTF-8"
    if isinstance(error, RecursionError):
        return "the payload is nested too deeply"
    return f"{type(error).__name__}: {error}".rstrip(".")
