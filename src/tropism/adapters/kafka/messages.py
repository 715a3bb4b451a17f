"""Records as Kafka messages: CloudEvents 1.0, Kafka binding, binary content mode.

Times are exact to the microsecond. Instead of ``ce_time`` stands ``tropism_time_us`` where the year is none
that text could say. Each header costs a reader more than half a microsecond, so there are no more.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Message

from tropism.core.envelope import Record, Stored
from tropism.core.errors import InvalidInputError
from tropism.core.time import MICROSECONDS, moment, parse_iso

SOURCE_DEFAULT = "/tropism"
JSON = b"application/json"
_STRUCTURED = b"application/cloudevents"
_RESERVED = frozenset({"id", "source", "type", "subject", "time", "specversion"})
_READ = frozenset({"ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "ce_specversion"})
_HEADERS = 6
"""How many there are of a record without subject and extensions."""

_FIXED_BYTES = 512
"""More than the names of the headers, and the values that are always alike, take."""

_FIRST_US, _LAST_US = parse_iso("0001-01-01T00:00:00"), parse_iso("9999-12-31T23:59:59.999999")

_TIME_BYTES, _POINT, _Z = 27, ord("."), ord("Z")

Header = tuple[str, bytes]


class Encoded(NamedTuple):
    """What of a record goes into a message."""

    key: bytes | None
    value: bytes | None
    headers: list[Header]


def encoded(record: Record) -> Encoded:
    """Return a record as the parts of a message.

    Raises: InvalidInputError if an attribute is no valid Unicode, or an extension has the name of one.
    """
    try:
        return _encoded(record)
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"Cannot append event {record.id!r}: an attribute of it is no valid Unicode. Publish valid text."
        ) from error


def _encoded(record: Record) -> Encoded:
    extensions = record.extensions
    time_us = record.time_us
    headers: list[Header] = [
        *_headers_of(record.type, record.source),
        ("content-type", JSON if extensions is None else _content_type(extensions)),
        ("ce_id", record.id.encode()),
        _time_header(time_us),
    ]
    subject = record.subject.encode()
    if subject:
        headers.append(("ce_subject", subject))
    if extensions:
        headers += _extension_headers(record.id, extensions)
    return Encoded(subject or None, record.data, headers)


@lru_cache(4096)
def _headers_of(type: str, source: str) -> tuple[Header, ...]:
    """Return what is the same of many records."""
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_source", (source or SOURCE_DEFAULT).encode()),
        ("ce_type", type.encode()),
    )
    # What no source stands for, where it is meant.
    return (*headers, ("tropism_source", b"1")) if source == SOURCE_DEFAULT else headers


def _time_header(time_us: int) -> Header:
    if not _FIRST_US <= time_us <= _LAST_US:
        return "tropism_time_us", b"%d" % time_us
    second, us = divmod(time_us, MICROSECONDS)
    return "ce_time", b"%b.%06dZ" % (_second(second), us)


@lru_cache(4096)
def _second(second: int) -> bytes:
    return moment(second * MICROSECONDS).isoformat()[:19].encode()


@lru_cache(4096)
def _second_us(text: bytes) -> int:
    return parse_iso(text.decode())


def _time_us(headers: dict[str, Any]) -> int:
    """Return a time, mostly as this module writes it: a second, a point and six digits."""
    text: bytes | None = headers.get("ce_time")
    if text is None:
        return int(headers["tropism_time_us"])
    if len(text) == _TIME_BYTES and text[19] == _POINT and text[26] == _Z:
        return _second_us(text[:19]) + int(text[20:26])
    return parse_iso(text.decode())


def _content_type(extensions: dict[str, str]) -> bytes:
    return extensions.get("datacontenttype", "").encode() or JSON


def _extension_headers(id: str, extensions: dict[str, str]) -> Iterable[Header]:
    for name, value in extensions.items():
        if name in _RESERVED:
            raise InvalidInputError(
                f"Cannot append event {id!r}: its extension {name!r} has the name of an attribute. "
                f"Give it another name."
            )
        # The type of the data stands in Kafka's own header, but where that would say nothing new.
        if name != "datacontenttype" or value.encode() in {JSON, b""}:
            yield f"ce_{name}", value.encode()


def may_exceed(record: Record, bytes_max: int) -> bool:
    """Say whether a record may be larger than that as a message: cheaper than its size, and never too low."""
    if record.extensions:
        return True
    characters = len(record.id) + len(record.type) + len(record.source) + 2 * len(record.subject)
    return len(record.data) + 4 * characters + _FIXED_BYTES > bytes_max


def size_of(message: Encoded) -> int:
    """Return about how many bytes a message takes on the wire, with its own frame."""
    headers = sum(len(name) + len(value) + 4 for name, value in message.headers)
    return len(message.value or b"") + len(message.key or b"") + headers + 64


def stored_of(message: Message, topic: str, floor_us: int) -> Stored:
    """Return a message as a stored record; ``floor_us`` is when the one in front of it was known.

    What is no event of ours is taken as well as it can be told.
    """
    headers: dict[str, Any] = dict(message.headers() or ())
    partition, offset = message.partition() or 0, message.offset() or 0
    try:
        time_us = _time_us(headers)
        subject = headers.get("ce_subject")
        record = Record(
            headers["ce_id"].decode(),
            headers["ce_type"].decode(),
            topic,
            subject.decode() if subject is not None else "",
            time_us,
            message.value() or b"",
            _source(headers),
            # Mostly there are none, which the mere number of headers says.
            None
            if len(headers) == _HEADERS + (subject is not None) and headers.get("content-type") == JSON
            else _extensions(headers),
        )
    except (KeyError, ValueError, AttributeError):
        record = _foreign(message, headers, topic, f"{topic}/{partition}/{offset}")
        time_us = record.time_us
    # When the broker took it, at the latest then it was known.
    known_us = message.timestamp()[1] * 1000
    return Stored(partition, offset, max(time_us, known_us, floor_us), record)


def _source(headers: dict[str, Any]) -> str:
    source: str = headers["ce_source"].decode()
    return "" if source == SOURCE_DEFAULT and "tropism_source" not in headers else source


def _extensions(headers: dict[str, Any]) -> dict[str, str] | None:
    found = {
        name[3:]: value.decode()
        for name, value in headers.items()
        if name.startswith("ce_") and name not in _READ and value is not None
    }
    kind = headers.get("content-type")
    if kind is not None and kind != JSON:
        found["datacontenttype"] = kind.decode()
    return found or None


def _foreign(message: Message, headers: dict[str, Any], topic: str, place: str) -> Record:
    """Return the record of a message that another product wrote."""
    data: bytes = message.value() or b""
    key: bytes | None = message.key()
    sent_us = max(message.timestamp()[1], 0) * 1000
    subject = (key or b"").decode(errors="replace")
    try:
        if (headers.get("content-type") or b"").startswith(_STRUCTURED):
            return _structured(data, topic, subject, sent_us)
        timed = "ce_time" in headers or "tropism_time_us" in headers
        return Record(
            headers["ce_id"].decode(),
            headers["ce_type"].decode(),
            topic,
            headers["ce_subject"].decode() if "ce_subject" in headers else subject,
            _time_us(headers) if timed else sent_us,
            data,
            headers["ce_source"].decode(),
            _extensions(headers),
        )
    except (KeyError, ValueError, AttributeError, TypeError, msgspec.MsgspecError):
        # No event at all: it is told by its place, and whoever wants it finds no type for it.
        return Record(place, f"{topic}.unknown.v1", topic, subject, sent_us, data, "/kafka")


_STANDARD = {*_RESERVED, "datacontenttype", "data", "data_base64"}


def _structured(data: bytes, topic: str, subject: str, sent_us: int) -> Record:
    """Return the record of an event whose attributes stand in the value, beside its data, as JSON."""
    found = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    texts = {k: msgspec.json.decode(v) for k, v in found.items() if k not in {"data", "data_base64"}}
    extensions = {k: str(v) for k, v in texts.items() if k not in _STANDARD}
    inner = bytes(found.get("data", b""))
    if "data_base64" in found:
        inner = msgspec.json.decode(found["data_base64"], type=bytes)
    return Record(
        str(texts["id"]),
        str(texts["type"]),
        topic,
        str(texts.get("subject", subject)),
        parse_iso(texts["time"]) if "time" in texts else sent_us,
        inner,
        str(texts["source"]),
        extensions or None,
    )
