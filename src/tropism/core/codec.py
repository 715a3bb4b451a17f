"""Events to bytes and back, with the checks that construction does not make."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from tropism.core.envelope import Envelope, Record
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event, key_of

_ENCODER = msgspec.json.Encoder()


class Codec:
    """Encodes and decodes the event types of one app: JSON payloads, decoders made once.

    Raises: InvalidInputError if two classes claim one type name.
    """

    def __init__(self, types: Iterable[type[Event]]) -> None:
        self.types: dict[str, type[Event]] = {}
        for event in types:
            known = self.types.setdefault(event.event_type, event)
            if known is not event:
                raise InvalidInputError(
                    f"Cannot use event type {event.event_type!r}: both {known.__qualname__} and "
                    f"{event.__qualname__} claim it. Give one of them another type name."
                )
        self._decoders = {name: msgspec.json.Decoder(cls) for name, cls in self.types.items()}

    def decode(self, record: Record) -> Any:
        """Return the typed payload of a record.

        Raises: InvalidInputError if the type is unknown here, or the bytes do not fit it. The message
        names the field that is wrong and never the payload.
        """
        decoder = self._decoders.get(record.type)
        if decoder is None:
            raise InvalidInputError(
                f"Cannot decode event {record.id!r}: type {record.type!r} is unknown here. "
                f"Add its class to the app, or publish one of {sorted(self.types)}."
            )
        try:
            return decoder.decode(record.data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidInputError(
                f"Cannot decode event {record.id!r} of type {record.type!r}: {describe(error)}. "
                f"Publish what the type declares, or redrive it after a fix."
            ) from error

    def decoder(self, event_type: str) -> Callable[[bytes], Any]:
        """Return what decodes payloads of a known type; it raises what msgspec does."""
        return self._decoders[event_type].decode

    def envelope(self, record: Record) -> Envelope[Any]:
        """Return a record with its payload typed."""
        return Envelope(
            record.id,
            record.source,
            record.type,
            record.subject,
            record.time_us,
            self.decode(record),
            record.extensions,
        )

    def encode(self, event: Event, *, checked: bool = True) -> bytes:
        """Return an event's payload, checked against its own declaration.

        msgspec checks types and constraints when it decodes, not when it constructs, so the bytes
        are decoded once: what is published can be read. Only what Tropism made itself needs no check.

        Raises: InvalidInputError if the event does not fit its own type.
        """
        decoder = self._decoders.get(event.event_type)
        if decoder is None:
            raise InvalidInputError(
                f"Cannot publish event type {event.event_type!r}: it is unknown here. "
                f"Add its class to the app."
            )
        try:
            data = _ENCODER.encode(event)
            if checked:
                decoder.decode(data)
        except (msgspec.MsgspecError, TypeError, ValueError) as error:
            raise InvalidInputError(
                f"Cannot publish event type {event.event_type!r}: {describe(error)}. "
                f"Construct it with values that fit its fields."
            ) from error
        return data


def record_of(
    event: Event,
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
    return f"{type(error).__name__}: {error}".rstrip(".")
