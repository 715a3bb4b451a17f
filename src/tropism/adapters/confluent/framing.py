"""Confluent's wire format: a zero, the schema's id in four bytes, for Protobuf which message, the payload."""

import struct
from collections.abc import Sequence

_HEAD = struct.Struct(">bI")
_MAGIC = 0


class NotFramed(ValueError):  # noqa: N818 (a fact about bytes, which its catcher makes an error of)
    """The bytes are not in Confluent's framing."""


def framed(schema_id: int, payload: bytes) -> bytes:
    """Return a payload behind its frame."""
    return _HEAD.pack(_MAGIC, schema_id) + payload


def unframed(data: bytes) -> tuple[int, bytes]:
    """Return the id of a schema, and what lies behind it. Raises: NotFramed."""
    if len(data) < _HEAD.size or data[0] != _MAGIC:
        raise NotFramed("it does not begin with a zero and the id of a schema")
    return _HEAD.unpack_from(data)[1], data[_HEAD.size :]


def with_message(path: Sequence[int], payload: bytes) -> bytes:
    """Return a Protobuf payload behind the place of its message in the file: mostly the first one."""
    if list(path) == [0]:
        return b"\0" + payload
    return b"".join(_zigzag(number) for number in (len(path), *path)) + payload


def message_of(data: bytes) -> tuple[list[int], bytes]:
    """Return the place of a message in its file, and the payload. Raises: NotFramed."""
    count, at = _read(data, 0)
    path = []
    # More levels than bytes there cannot be.
    for _ in range(min(count, len(data))):
        number, at = _read(data, at)
        path.append(number)
    return path or [0], data[at:]


def _zigzag(number: int) -> bytes:
    left, found = number << 1, bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)


def _read(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise NotFramed("it does not say which message it holds")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    number = (value >> 1) ^ -(value & 1)
    if number < 0:
        raise NotFramed("it names a message before the first")
    return number, at
