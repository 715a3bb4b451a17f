"""Columns of values as arrays: cut, joined and packed, they stay the values that they were."""

import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

IDS_BYTES_MAX = 64
"""Up to how many bytes the longest id may have for all to be given as much room."""

CHECK_BYTES = 4

_FLOATS = frozenset({float, type(None)})
_WORDS = frozenset({str, bool, type(None)})

Column = Any
"""An array of int64, of float64 in which NaN is None, or of ids; words; or a list of values."""


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """A column of strings, truth values and None: each different value once, and per row which it is."""

    values: list[Any]
    codes: NDArray[np.int32]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.codes)


def columns_of(features: Sequence[Sequence[Any]], count: int) -> list[Column]:
    """Return rows of so many values as columns."""
    table = np.array(features, dtype=object).reshape(len(features), count)
    return [column_of(values.tolist()) for values in table.T]


def column_of(values: list[Any]) -> Column:
    """Return values of one kind of number as numbers, None among floats as NaN; words; or the list itself."""
    kinds = set(map(type, values))
    if kinds == {int}:
        with suppress(OverflowError):
            return np.array(values, dtype=np.int64)
    if float in kinds and kinds <= _FLOATS:
        return np.array(values, dtype=np.float64)
    return _words_of(values) if kinds <= _WORDS else values


def ids_of(ids: Sequence[str]) -> NDArray[Any]:
    """Return ids in an array that sorts and compares as they do: as UTF-8, or as they are if that would not.

    An array of bytes takes a zero byte at an end for no byte, and gives all ids the room of the longest.
    """
    with suppress(UnicodeEncodeError):
        encoded = [id.encode() for id in ids]
        if max(map(len, encoded), default=0) <= IDS_BYTES_MAX and not any(b"\0" in each for each in encoded):
            return np.array(encoded, dtype="S")
    return np.array(ids, dtype=object)


def alike(ids: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return arrays of ids that can be compared with each other."""
    if all(each.dtype.kind == "S" for each in ids):
        return list(ids)
    return [_plain(each) if each.dtype.kind == "S" else each for each in ids]


def joined_ids(pieces: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the pieces of an array of ids as one."""
    return np.concatenate(alike(pieces)) if pieces else ids_of(())


def joined(pieces: Sequence[Column]) -> Column:
    """Return the pieces of a column as one: what `column_of` would have made of them together."""
    pieces = [piece for piece in pieces if len(piece)]
    kinds = set(map(_kind, pieces))
    if kinds == {"i"}:
        return np.concatenate(pieces)
    if "f" in kinds and kinds <= {"f", "none"}:
        return np.concatenate(
            [piece if _kind(piece) == "f" else np.full(len(piece), np.nan) for piece in pieces]
        )
    if kinds <= {"words", "none"}:
        return _words_joined(pieces)
    return [value for piece in pieces for value in values_of(piece)]


def values_of(column: Column) -> list[Any]:
    """Return the values of a column, None for NaN: that was None, and unlike NaN it equals itself."""
    values = taken(column, np.arange(len(column)))
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    return [None if value != value else value for value in listed]  # noqa: PLR0124 (only NaN is not itself)


def taken(column: Column, places: NDArray[np.int64]) -> Any:
    """Return the values of a column at places: an array of what is one, a list of all else."""
    if isinstance(column, np.ndarray):
        return column[places]
    if isinstance(column, Words):
        return np.array(column.values, dtype=object)[column.codes[places]].tolist()
    return [column[place] for place in places.tolist()]


def pack(columns: Sequence[Column]) -> bytes:
    """Return columns as bytes that `unpack` reads back exactly."""
    data = msgspec.msgpack.encode([_packed(column) for column in columns])
    return zlib.crc32(data).to_bytes(CHECK_BYTES, "big") + data


def unpack(data: bytes) -> list[Column]:
    """Return packed columns. Raises: msgspec.MsgspecError, ValueError if the bytes are not as they were."""
    body = memoryview(data)[CHECK_BYTES:]
    if zlib.crc32(body) != int.from_bytes(data[:CHECK_BYTES], "big"):
        raise ValueError(len(data))
    packed = msgspec.msgpack.decode(body, type=list[tuple[str, Any]])
    return [_unpacked(kind, values) for kind, values in packed]


def _packed(column: Column) -> tuple[str, Any]:
    if isinstance(column, Words):
        return "words", (column.values, column.codes.astype("<i4").tobytes())
    if not isinstance(column, np.ndarray):
        return "values", column
    if column.dtype.kind == "O":
        return "ids", column.tolist()
    return column.dtype.str, column.tobytes()


def _unpacked(kind: str, values: Any) -> Column:
    if kind == "words":
        return Words(values[0], np.frombuffer(values[1], dtype="<i4"))
    if kind == "values":
        return values
    if kind == "ids":
        return np.array(values, dtype=object)
    return np.frombuffer(values, dtype=kind)


def _words_of(values: list[Any]) -> Words:
    codes = {value: code for code, value in enumerate(dict.fromkeys(values))}
    return Words(list(codes), np.fromiter(map(codes.__getitem__, values), np.int32, len(values)))


def _words_joined(pieces: Sequence[Words]) -> Words:
    codes: dict[Any, int] = {}
    found = [np.empty(0, np.int32)]
    for piece in pieces:
        renumbered = np.array([codes.setdefault(value, len(codes)) for value in piece.values], np.int32)
        found.append(renumbered[piece.codes])
    return Words(list(codes), np.concatenate(found))


def _kind(piece: Column) -> str:
    if isinstance(piece, Words):
        return "none" if piece.values == [None] else "words"
    return piece.dtype.kind if isinstance(piece, np.ndarray) else "other"


def _plain(ids: NDArray[Any]) -> NDArray[np.object_]:
    """Return ids in UTF-8 as strings."""
    return np.array([id.decode() for id in ids.tolist()], dtype=object)
