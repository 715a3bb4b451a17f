"""CloudEvents 1.0 as other systems speak it: attributes, headers, and the JSON event format.

Source: CloudEvents 1.0.2, with its HTTP binding (the encoding of headers) and JSON event format.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_to_bytes

import msgspec

from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError
from tropism.core.event import topic_of
from tropism.core.time import IMPLAUSIBLE, is_plausible, iso, parse_iso

JSON = "application/json"
STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
ANY_FORMAT = "application/cloudevents"
"""What every content type begins with that is no type of data, but a format of whole events."""

SOURCE_DEFAULT = "/tropism"
"""CloudEvents must have a source; this one says that there is none."""

REQUIRED = ("id", "source", "type")
OWN = frozenset({"specversion", "id", "source", "type", "subject", "time"})
"""The attributes that records have fields for, and the version; all others are extensions to them."""

_SAFE = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
_PLAIN = re.compile(r"[!#$&-~]*\Z")
_NAME = re.compile(r"[a-z0-9]+\Z")
_ESCAPED = re.compile(r"\\(.)")
_STRAY = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z")
_JSON_TYPE = re.compile(r"[\w.!#$&^-]+/(?:[\w.!#$&^-]+\+)?json\Z", re.IGNORECASE)


class Parts(NamedTuple):
    """An event taken apart: its attributes as text, its data as it is."""

    attributes: dict[str, str]
    data: bytes


def is_name(text: str) -> bool:
    """Say whether a text may name an attribute: lower-case letters and digits."""
    return _NAME.match(text) is not None


def media_type(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """Say whether data of a content type is JSON; where none is named, it is."""
    return not content_type or _JSON_TYPE.match(media_type(content_type)) is not None


# -- headers --------------------------------------------------------------------------------------


def to_header(text: str) -> str:
    """Return an attribute's value as a header's: what is not plain ASCII is percent-encoded.

    Raises: UnicodeEncodeError if it is no valid Unicode.
    """
    return text if _PLAIN.match(text) else quote(text, safe=_SAFE)


def from_header(text: str) -> str:
    """Return a header's value as an attribute's: unquoted, then percent-decoded once.

    Raises: ValueError if what is encoded is no UTF-8.
    """
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = _ESCAPED.sub(r"\1", text[1:-1])
    if "%" not in text:
        return text
    if _STRAY.search(text):
        raise ValueError("a '%' in it begins no code")
    return unquote_to_bytes(text).decode()


# -- a record's attributes ------------------------------------------------------------------------


def attributes_of(record: Record) -> dict[str, str]:
    """Return a record's attributes as text, but for the type of its data where nothing names one."""
    found = {
        "specversion": "1.0",
        "id": record.id,
        "source": record.source or SOURCE_DEFAULT,
        "type": record.type,
    }
    if record.subject:
        found["subject"] = record.subject
    found["time"] = iso(record.time_us)
    return {**found, **{k: v for k, v in (record.extensions or {}).items() if k not in OWN}}


def cloud_event(record: Record) -> dict[str, Any]:
    """Return a record as a CloudEvents 1.0 JSON object (structured mode), its JSON data as it is.

    Data that is no JSON stands in ``data_base64``.
    """
    attributes = attributes_of(record)
    kind = attributes.pop("datacontenttype", "")
    if is_json(kind) and _is_document(record.data):
        return {**attributes, "datacontenttype": kind or JSON, "data": msgspec.Raw(record.data)}
    more = {"datacontenttype": kind} if kind else {}
    return {**attributes, **more, "data_base64": msgspec.to_builtins(record.data)}


def structured(record: Record) -> bytes:
    """Return a record as the text of its JSON object."""
    return msgspec.json.encode(cloud_event(record))


def _is_document(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


# -- what others wrote ----------------------------------------------------------------------------


def parse(document: bytes) -> Parts:
    """Return an event of the JSON event format taken apart. Raises: InvalidInputError."""
    try:
        found = msgspec.json.decode(document, type=dict[str, msgspec.Raw])
        return _parts(found)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(
            "Cannot read a CloudEvent: it is no JSON object with attributes of text, numbers and truths. "
            "Send what the JSON event format of CloudEvents 1.0 says."
        ) from error


def parse_batch(document: bytes, count_max: int) -> list[Parts]:
    """Return the events of a JSON batch, taken apart. Raises: InvalidInputError."""
    try:
        found = msgspec.json.decode(document, type=list[msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(
            "Cannot read a batch of CloudEvents: it is no JSON array. Send an array of events."
        ) from error
    if len(found) > count_max:
        raise InvalidInputError(
            f"Cannot read a batch of CloudEvents: it holds {len(found)}, more than {count_max}. "
            f"Send it in parts."
        )
    return [parse(bytes(each)) for each in found]


def _parts(found: Mapping[str, msgspec.Raw]) -> Parts:
    attributes: dict[str, str] = {}
    for name, raw in found.items():
        if name not in {"data", "data_base64"}:
            value = msgspec.json.decode(raw, type=str | bool | int | None)
            if value is not None:
                attributes[name] = value if isinstance(value, str) else str(value).lower()
    return Parts(attributes, _data(found, attributes.get("datacontenttype", "")))


def _data(found: Mapping[str, msgspec.Raw], kind: str) -> bytes:
    if "data" in found and "data_base64" in found:
        raise InvalidInputError(
            "Cannot read a CloudEvent: it has both data and data_base64. Send one of them."
        )
    if "data_base64" in found:
        return msgspec.json.decode(found["data_base64"], type=bytes)
    data = bytes(found.get("data", b""))
    if data.startswith(b'"') and not is_json(kind):
        # Data of another type stands there as text.
        return msgspec.json.decode(data, type=str).encode()
    return data


def record_of(parts: Parts, *, now_us: int, ahead_us_max: int | None = None) -> Record:
    """Return an event from outside as a record: checked, in the topic of its type, at its time or now.

    Raises: InvalidInputError, naming what is wrong.
    """
    attributes = parts.attributes
    for name in REQUIRED:
        if not attributes.get(name):
            raise InvalidInputError(
                f"Cannot take event {attributes.get('id', '')!r}: it has no {name!r}. Send one."
            )
    id = attributes["id"]
    if attributes.get("specversion") != "1.0":
        raise InvalidInputError(
            f"Cannot take event {id!r}: its specversion is {attributes.get('specversion')!r}. Send '1.0'."
        )
    wrong = next((name for name in attributes if not is_name(name) or name == "data"), None)
    if wrong is not None:
        raise InvalidInputError(
            f"Cannot take event {id!r}: {wrong!r} is no name of an attribute. "
            f"Write lower-case letters and digits only."
        )
    time_us = _time_us(id, attributes.get("time"), now_us, ahead_us_max)
    extensions = {name: value for name, value in attributes.items() if name not in OWN}
    return Record(
        id,
        attributes["type"],
        topic_of(attributes["type"]),
        attributes.get("subject", ""),
        time_us,
        parts.data,
        attributes["source"],
        extensions or None,
    )


def _time_us(id: str, text: str | None, now_us: int, ahead_us_max: int | None) -> int:
    if text is None:
        return now_us
    time_us = _instant(text)
    if time_us is None:
        raise InvalidInputError(
            f"Cannot take event {id!r}: its time is not RFC 3339. Write it like 2026-01-31T12:00:00Z."
        )
    if not is_plausible(time_us):
        raise InvalidInputError(f"Cannot take event {id!r}: its time {IMPLAUSIBLE}. Send when it happened.")
    if ahead_us_max is not None and time_us > now_us + ahead_us_max:
        raise InvalidInputError(
            f"Cannot take event {id!r}: its time {iso(time_us)} lies ahead of {iso(now_us)}. "
            f"Set the clock of who sends it."
        )
    return time_us


def _instant(text: str) -> int | None:
    try:
        return parse_iso(text.upper()) if _TIME.match(text) else None
    except ValueError:
        return None


# -- identity -------------------------------------------------------------------------------------


def taken_id(id: str, source: str) -> str:
    """Return the id under which a log keeps an event from outside: logs know ids, events are one by both."""
    return f"{id}~{_mark(source)}"


def given_id(record: Record) -> str:
    """Return the id that whoever said it gave an event."""
    return record.id.removesuffix(f"~{_mark(record.source)}") if "~" in record.id else record.id


@lru_cache(1024)
def _mark(source: str) -> str:
    return blake2b(source.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()
