"""Records as NATS messages: CloudEvents 1.0 in binary mode, attributes in headers; or whole, as documents.

Source: CloudEvents 1.0.3, NATS protocol binding: names begin with ``ce-``, values are percent-encoded.
``Tropism-Times`` holds what RFC 3339 cannot: the time in microseconds of any year, and when the log knew it.
"""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import unquote

import msgspec

from tropism.adapters.structured import UNREADABLE, is_structured, record_of, unsaid_type
from tropism.core.cloudevents import JSON, STRUCTURED, from_header, is_name, to_header
from tropism.core.envelope import Record, Stored
from tropism.core.time import MICROSECONDS, iso, parse_iso
from tropism.core.trace import TRACEPARENT, trace_of

ID = "Nats-Msg-Id"
TIMES = "Tropism-Times"
SOURCE_DEFAULT = "/tropism"
"""CloudEvents must have a source; this one says that there is none."""

KIND = "ce-datacontenttype"
_JSON_SAID = "application%2Fjson"
"""The same, where an extension names what goes without saying."""

MEANT_SOURCE, MEANT_KIND = "Tropism-Source", "Tropism-Datacontenttype"
_OWN = {"specversion", "id", "source", "type", "subject", "time"}
_FAR_US = 2**63 - 1
_ISO_US = range(-62_135_596_800_000_000, 253_402_300_800_000_000)


def headers_of(record: Record) -> dict[str, str]:
    """Return a record's attributes as headers, but for its times."""
    source = record.source
    id = to_header(record.id)
    extensions = record.extensions or {}
    headers = {
        ID: id,
        "ce-specversion": "1.0",
        "ce-id": id,
        "ce-type": to_header(record.type),
        "ce-source": "%2Ftropism" if source == SOURCE_DEFAULT else to_header(source) or SOURCE_DEFAULT,
    }
    if "datacontenttype" not in extensions:
        headers[KIND] = JSON
    if record.subject:
        headers["ce-subject"] = to_header(record.subject)
    if record.time_us in _ISO_US:
        headers["ce-time"] = f"{_second(record.time_us // MICROSECONDS)}.{record.time_us % MICROSECONDS:06}Z"
    for name, value in extensions.items():
        headers[f"ce-{_name(name)}"] = to_header(value)
    if extensions.get("datacontenttype") == JSON:
        headers[KIND] = _JSON_SAID
    if TRACEPARENT in extensions:
        # Also under the names by which tools that know nothing of CloudEvents look for it.
        headers |= trace_of(extensions)
    return headers


def document_headers_of(record: Record) -> dict[str, str]:
    """Return the headers of a record whose attributes stand in the data, but for its times."""
    headers = {ID: to_header(record.id), "Content-Type": f"{STRUCTURED}; charset=UTF-8"}
    if record.source == SOURCE_DEFAULT:
        headers[MEANT_SOURCE] = "1"
    kind = unsaid_type(record)
    if kind is not None:
        headers[MEANT_KIND] = kind
    return headers | trace_of(record.extensions or {})


def times(record: Record, known_us: int) -> str:
    """Return the header of a record's times."""
    return f"{record.time_us} {known_us}"


def stored(topic: str, number: int, headers: Mapping[str, str], data: bytes, *, known_us: int) -> Stored:
    """Return the record of a message that was read from a stream.

    ``known_us`` is that of the record in front: none is known before it.
    """
    extensions: dict[str, str] = {}
    own: dict[str, str] = {}
    content_type = ""
    for name, value in headers.items():
        if name.startswith("ce-") or name[:3].lower() == "ce-":
            # Names count in any case, and some clients write them as titles.
            attribute = name[3:].lower()
            if attribute in _OWN:
                own[attribute] = _text(value)
            elif attribute != "datacontenttype" or value != JSON:
                extensions[unquote(attribute)] = _text(value)
        elif name.lower() == "content-type":
            content_type = value
    if TRACEPARENT in headers and TRACEPARENT not in extensions:
        extensions |= trace_of(headers)
    if is_structured(content_type) or not own:
        found = _document(topic, number, headers, data, known_us)
        if found is not None:
            return found
    time_us, known = _told(headers) or _foreign(headers, own.get("time"))
    source = "" if headers.get("ce-source") == SOURCE_DEFAULT else own.get("source", "")
    sequence = int(headers["Nats-Sequence"])
    id = own.get("id") or headers.get(ID) or f"{headers['Nats-Stream']}/{sequence}"
    type, subject = own.get("type", ""), own.get("subject", "")
    record = Record(id, type, topic, subject, time_us, data, source, extensions or None)
    return Stored(number, sequence - 1, max(known, known_us), record)


def _document(
    topic: str, number: int, headers: Mapping[str, str], data: bytes, known_us: int
) -> Stored | None:
    """Return the record of a message whose data is the whole event, None where it is not."""
    taken_us = _taken_us(headers)
    try:
        record = record_of(data, topic=topic, subject="", time_us=taken_us)
    except UNREADABLE:
        return None
    time_us, known = _told(headers) or (record.time_us, max(record.time_us, taken_us))
    source = "" if record.source == SOURCE_DEFAULT and MEANT_SOURCE not in headers else record.source
    extensions = record.extensions
    if MEANT_KIND in headers:
        extensions = {**(extensions or {}), "datacontenttype": headers[MEANT_KIND]}
    if TRACEPARENT in headers and TRACEPARENT not in (extensions or {}):
        extensions = {**(extensions or {}), **trace_of(headers)} or None
    record = msgspec.structs.replace(record, time_us=time_us, source=source, extensions=extensions)
    return Stored(number, int(headers["Nats-Sequence"]) - 1, max(known, known_us), record)


def _text(value: str) -> str:
    """Return a header's value as an attribute's; what is wrongly encoded, as it stands there."""
    if "%" not in value and not value.startswith('"'):
        return value
    try:
        return from_header(value)
    except ValueError:
        return value


def size(headers: Mapping[str, str]) -> int:
    """Return how many bytes headers take in a message, at most."""
    return sum(map(len, headers)) + sum(map(len, headers.values())) + 4 * len(headers)


@lru_cache(1024)
def _second(second: int) -> str:
    return iso(second * MICROSECONDS)[:-1]


def _told(headers: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the time of a message and when the log knew it; None where somebody else put it there."""
    told = headers.get(TIMES)
    if told is None:
        return None
    try:
        time_us, known_us = map(int, told.split(" "))
    except ValueError:
        return None
    return (time_us, known_us) if -_FAR_US <= time_us <= known_us <= _FAR_US else None


def _foreign(headers: Mapping[str, str], said: str | None) -> tuple[int, int]:
    """Return the same of a message that somebody else put there: known when the server took it."""
    taken_us = _taken_us(headers)
    try:
        time_us = parse_iso(said) if said else taken_us
    except ValueError:
        time_us = taken_us
    return time_us, max(time_us, taken_us)


def _taken_us(headers: Mapping[str, str]) -> int:
    # To the nanosecond, which no datetime tells.
    return parse_iso(headers["Nats-Time-Stamp"].rstrip("Z")[:26])


def _name(name: str) -> str:
    if is_name(name) and name not in _OWN:
        return name
    # What is no CloudEvents name, or one of its own, is told apart by being encoded whole.
    return "".join(f"%{byte:02X}" for byte in name.encode())
