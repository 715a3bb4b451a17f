"""Records as NATS messages: CloudEvents 1.0 in binary mode, attributes in headers.

Source: CloudEvents 1.0.2, NATS protocol binding: names begin with ``ce-``, values are percent-encoded.
``Tropism-Times`` holds what RFC 3339 cannot: the time in microseconds of any year, and when the log knew it.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote, unquote

from tropism.core.envelope import Record, Stored
from tropism.core.time import MICROSECONDS, iso, parse_iso

ID = "Nats-Msg-Id"
TIMES = "Tropism-Times"
SOURCE_DEFAULT = "/tropism"
"""CloudEvents must have a source; this one says that there is none."""

_PLAIN = re.compile(r"[!#$&-~]*\Z")
"""Printable ASCII without space, quote and percent: what goes as it is."""

_SAFE = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
_NAME = re.compile(r"[a-z0-9]+\Z")
_OWN = {"specversion", "id", "source", "type", "subject", "time"}
_ISO_US = range(-62_135_596_800_000_000, 253_402_300_800_000_000)


def headers_of(record: Record) -> dict[str, str]:
    """Return a record's attributes as headers, but for its times."""
    source = record.source
    id = _encoded(record.id)
    headers = {
        ID: id,
        "ce-specversion": "1.0",
        "ce-id": id,
        "ce-type": _encoded(record.type),
        "ce-source": "%2Ftropism" if source == SOURCE_DEFAULT else _encoded(source) or SOURCE_DEFAULT,
    }
    if record.subject:
        headers["ce-subject"] = _encoded(record.subject)
    if record.time_us in _ISO_US:
        headers["ce-time"] = f"{_second(record.time_us // MICROSECONDS)}.{record.time_us % MICROSECONDS:06}Z"
    for name, value in (record.extensions or {}).items():
        headers[f"ce-{_name(name)}"] = _encoded(value)
    return headers


def times(record: Record, known_us: int) -> str:
    """Return the header of a record's times."""
    return f"{record.time_us} {known_us}"


def stored(topic: str, number: int, headers: Mapping[str, str], data: bytes, *, known_us: int) -> Stored:
    """Return the record of a message that was read from a stream.

    ``known_us`` is that of the record in front, for messages that somebody else put there.
    """
    extensions: dict[str, str] = {}
    own: dict[str, str] = {}
    for name, value in headers.items():
        if name.startswith("ce-"):
            attribute = name[3:]
            if attribute in _OWN:
                own[attribute] = unquote(value) if "%" in value else value
            else:
                extensions[unquote(attribute)] = unquote(value)
    told = headers.get(TIMES)
    time_us, known_us = map(int, told.split(" ")) if told else _foreign(headers, own, known_us)
    source = "" if headers.get("ce-source") == SOURCE_DEFAULT else own.get("source", "")
    sequence = int(headers["Nats-Sequence"])
    id = own.get("id") or headers.get(ID) or f"{headers['Nats-Stream']}/{sequence}"
    type, subject = own.get("type", ""), own.get("subject", "")
    record = Record(id, type, topic, subject, time_us, data, source, extensions or None)
    return Stored(number, sequence - 1, known_us, record)


def known_of(headers: Mapping[str, str]) -> int | None:
    """Return when the log knew a message; None where somebody else put it there."""
    told = headers.get(TIMES)
    return int(told.rpartition(" ")[2]) if told else None


def size(headers: Mapping[str, str]) -> int:
    """Return how many bytes headers take in a message, at most."""
    return sum(map(len, headers)) + sum(map(len, headers.values())) + 4 * len(headers)


@lru_cache(1024)
def _second(second: int) -> str:
    return iso(second * MICROSECONDS)[:-1]


def _foreign(headers: Mapping[str, str], own: Mapping[str, str], known_us: int) -> tuple[int, int]:
    try:
        time_us = parse_iso(own.get("time") or headers["Nats-Time-Stamp"].rstrip("Z")[:26])
    except ValueError:
        time_us = 0
    return time_us, max(time_us, known_us)


def _encoded(text: str) -> str:
    return text if _PLAIN.match(text) else quote(text, safe=_SAFE)


def _name(name: str) -> str:
    if _NAME.match(name) and name not in _OWN:
        return name
    # What is no CloudEvents name, or one of its own, is told apart by being encoded whole.
    return "".join(f"%{byte:02X}" for byte in name.encode())
