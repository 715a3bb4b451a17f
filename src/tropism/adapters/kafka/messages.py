"""Records as Kafka messages: CloudEvents 1.0, Kafka binding, in binary mode or, if asked, structured mode.

Times are exact to the microsecond. Instead of ``ce_time`` stands ``tropism_time_us`` where the year is none
that text could say. Each header costs a reader more than half a microsecond, so there are no more.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Message

from tropism.adapters.structured import UNREADABLE, document_of, is_structured, record_of, unsaid_type
from tropism.core.cloudevents import STRUCTURED
from tropism.core.envelope import Record, Stored
from tropism.core.errors import InvalidInputError
from tropism.core.time import MICROSECONDS, moment, parse_iso
from tropism.core.trace import TRACEPARENT, TRACESTATE, trace_of

SOURCE_DEFAULT = "/tropism"
JSON = b"application/json"
_STRUCTURED = f"{STRUCTURED}; charset=UTF-8".encode()
_RESERVED = frozenset({"id", "source", "type", "subject", "time", "specversion"})
_READ = frozenset({"ce_id", "ce_source", "ce_type", "ce_subject", "ce_time", "ce_specversion"})
_USUAL = ("ce_specversion", "ce_source", "ce_type", "content-type", "ce_id", "ce_time", "ce_subject")
"""The headers of a record with a key and without extensions, as they are written here."""

_NO_SOURCE = SOURCE_DEFAULT.encode()

_FIXED_BYTES = 512
"""More than the names of the headers, and the values that are always alike, take."""

_FIRST_US, _LAST_US = parse_iso("0001-01-01T00:00:00"), parse_iso("9999-12-31T23:59:59.999999")

_TIME_BYTES, _POINT, _Z = 27, ord("."), ord("Z")

Header = tuple[str, bytes]

_SOURCE_MEANT: Header = ("tropism_source", b"1")
_KIND = "tropism_datacontenttype"


class Encoded(NamedTuple):
    """What of a record goes into a message."""

    key: bytes | None
    value: bytes | None
    headers: list[Header]


def encoded(record: Record, *, structured: bool = False) -> Encoded:
    """Return a record as the parts of a message.

    Raises: InvalidInputError if an attribute is no valid Unicode, or an extension has the name of one.
    """
    try:
        return _document(record) if structured or _holds_events(record) else _encoded(record)
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
        return Encoded(_key(record), record.data, headers)
    return Encoded(subject or None, record.data, headers)


def _holds_events(record: Record) -> bool:
    """Say whether the data is itself an event: in binary mode, its type would say that of the message."""
    extensions = record.extensions
    return extensions is not None and is_structured(extensions.get("datacontenttype", ""))


def _document(record: Record) -> Encoded:
    """Return a record whose attributes stand in the value, with what they cannot tell in headers."""
    headers: list[Header] = [("content-type", _STRUCTURED)]
    if not _FIRST_US <= record.time_us <= _LAST_US:
        headers.append(_time_header(record.time_us))
    if record.source == SOURCE_DEFAULT:
        headers.append(_SOURCE_MEANT)
    kind = unsaid_type(record)
    if kind is not None:
        headers.append((_KIND, kind.encode()))
    headers += _trace_headers(record.extensions or {})
    return Encoded(_key(record), document_of(record), headers)


def _key(record: Record) -> bytes | None:
    """Return what Kafka compacts by: the partition key that an event names, or what orders it here."""
    named = (record.extensions or {}).get("partitionkey")
    return (named or record.subject).encode() or None


@lru_cache(4096)
def _headers_of(type: str, source: str) -> tuple[Header, ...]:
    """Return what is the same of many records."""
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_source", (source or SOURCE_DEFAULT).encode()),
        ("ce_type", type.encode()),
    )
    # What no source stands for, where it is meant.
    return (*headers, _SOURCE_MEANT) if source == SOURCE_DEFAULT else headers


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
        return _far_us(headers["tropism_time_us"])
    if len(text) == _TIME_BYTES and text[19] == _POINT and text[26] == _Z:
        return _second_us(text[:19]) + int(text[20:26])
    return parse_iso(text.decode())


def _far_us(text: bytes | None) -> int:
    """Return a time that no calendar tells. Raises: ValueError beyond 64 bits, as none of ours is."""
    found = int((text or b"")[:21])
    if not -(2**63) < found < 2**63:
        raise ValueError("beyond 64 bits")
    return found


def _content_type(extensions: dict[str, str]) -> bytes:
    return extensions.get("datacontenttype", "").encode() or JSON


def _extension_headers(id: str, extensions: dict[str, str]) -> Iterable[Header]:
    for name, value in extensions.items():
        if name in _RESERVED:
            raise InvalidInputError(
                f"Cannot append event {id!r}: its extension {name!r} has the name of an attribute. "
                f"Give it another name."
            )
        # The type of the data stands in Kafka's own header; where that goes without saying, beside it too.
        if name != "datacontenttype":
            yield f"ce_{name}", value.encode()
        elif value.encode() in {JSON, b""}:
            yield _KIND, value.encode()
    yield from _trace_headers(extensions)


def _trace_headers(extensions: Mapping[str, str]) -> Iterable[Header]:
    """Yield a trace under the names by which tools that know nothing of CloudEvents look for it."""
    if TRACEPARENT in extensions:
        for name, value in trace_of(extensions).items():
            yield name, value.encode()


def _with_trace(extensions: dict[str, str], headers: Mapping[str, Any]) -> dict[str, str]:
    """Return extensions with the trace that such tools left, where the event names none itself."""
    if TRACEPARENT not in headers or TRACEPARENT in extensions:
        return extensions
    found = {n: (headers.get(n) or b"").decode("latin-1") for n in (TRACEPARENT, TRACESTATE)}
    return {**extensions, **trace_of(found)}


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
    pairs: Any = message.headers() or []
    partition, offset = message.partition() or 0, message.offset() or 0
    try:
        record = _usual(message, pairs, topic) or _binary(message, dict(pairs), topic)
    except (KeyError, ValueError, AttributeError):
        record = _foreign(message, dict(pairs), topic, f"{topic}/{partition}/{offset}")
    time_us = record.time_us
    # When the broker took it, at the latest then it was known.
    sent_us = message.timestamp()[1] * 1000
    known_us = max(time_us, sent_us)
    return Stored(partition, offset, max(floor_us, known_us), record)


def _usual(message: Message, pairs: list[tuple[str, Any]], topic: str) -> Record | None:
    """Return the record of a message that has just the headers that most of ours have, in our order."""
    if len(pairs) != len(_USUAL):
        return None
    # Taken apart at once, and no dictionary made: that is half of what reading it costs here.
    (n0, _), (n1, source), (n2, kind), (n3, content), (n4, id), (n5, time), (n6, subject) = pairs
    if (n0, n1, n2, n3, n4, n5, n6) != _USUAL or content != JSON or subject is None or time is None:
        return None
    if len(time) != _TIME_BYTES or time[19] != _POINT or time[26] != _Z:
        return None
    return Record(
        id.decode(),
        kind.decode(),
        topic,
        subject.decode(),
        _second_us(time[:19]) + int(time[20:26]),
        message.value() or b"",
        # No other header says that the source that stands for none is meant.
        "" if source == _NO_SOURCE else source.decode(),
    )


def _binary(message: Message, headers: dict[str, Any], topic: str) -> Record:
    """Return the record of an event in binary mode. Raises: KeyError, ValueError, AttributeError."""
    subject = headers.get("ce_subject")
    return Record(
        headers["ce_id"].decode(),
        headers["ce_type"].decode(),
        topic,
        subject.decode() if subject is not None else "",
        _time_us(headers),
        message.value() or b"",
        _source(headers),
        _extensions(_in_binary_mode(headers)),
    )


def _in_binary_mode(headers: dict[str, Any]) -> dict[str, Any]:
    """Return headers unless they say that the value is the whole event. Raises: KeyError."""
    if _is_whole(headers):
        # Its headers may repeat attributes: the value is what counts.
        raise KeyError("content-type")
    return headers


def _is_whole(headers: dict[str, Any]) -> bool:
    kind: bytes | None = headers.get("content-type")
    return kind is not None and kind != JSON and is_structured(kind.decode("latin-1"))


def _source(headers: dict[str, Any]) -> str:
    return _named_source(headers["ce_source"].decode(), headers)


def _named_source(source: str, headers: dict[str, Any]) -> str:
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
    if _KIND in headers:
        found["datacontenttype"] = headers[_KIND].decode()
    return _with_trace(found, headers) or None


def _foreign(message: Message, headers: dict[str, Any], topic: str, place: str) -> Record:
    """Return the record of a message that another product wrote."""
    data: bytes = message.value() or b""
    key: bytes | None = message.key()
    sent_us = max(message.timestamp()[1], 0) * 1000
    subject = (key or b"").decode(errors="replace")
    try:
        if _is_whole(headers):
            return _structured(data, topic, headers, subject, sent_us)
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
    except UNREADABLE:
        # No event at all: it is told by its place, and whoever wants it finds no type for it.
        return Record(place, f"{topic}.unknown.v1", topic, subject, sent_us, data, "/kafka")


def _structured(data: bytes, topic: str, headers: dict[str, Any], subject: str, sent_us: int) -> Record:
    """Return the record of an event whose attributes stand in the value, beside its data, as JSON."""
    record = record_of(data, topic=topic, subject=subject, time_us=sent_us)
    extensions = _with_trace(record.extensions or {}, headers)
    if _KIND in headers:
        extensions = {**extensions, "datacontenttype": headers[_KIND].decode()}
    return msgspec.structs.replace(
        record,
        source=_named_source(record.source, headers),
        time_us=_time_us(headers) if "tropism_time_us" in headers else record.time_us,
        extensions=extensions or None,
    )
