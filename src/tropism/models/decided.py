"""Decisions of the log as columns, by chunks: what was decoded for one training serves all later ones.

A log never changes, so a chunk of it gives the same columns for ever, and its name says which it is.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tropism.core.envelope import Stored
from tropism.models.rows import schema_of

TYPE = "decisions.made.v1"
TOPIC = "decisions"

CHUNK_OFFSETS = 16_384
"""How many offsets of a partition make a chunk."""

CHUNKS_MAX = 256
"""How many chunks a training is given at most: four million decisions, a gigabyte."""

PART_ROWS = 4096
"""How many rows are turned into columns at a time: as many as stay in the processor's cache."""

_FLOATS = frozenset({float, type(None)})


class Chunk(NamedTuple):
    """A range of offsets of one partition, ``topic/number``, and the name of its columns among the blobs."""

    name: str
    where: str
    start: int
    stop: int


class Decided(NamedTuple):
    """Decisions as columns: n ids, f columns of n values."""

    ids: list[str]
    columns: list[Any]


class _Decision(msgspec.Struct, gc=False):
    model: str
    schema: str
    features: list[Any]


class _Packed(msgspec.Struct):
    ids: list[str]
    columns: list[tuple[str, Any]]
    """Per column the kind of its numbers and their bytes, or nothing and a list of values."""


def chunks_of(
    log_id: str, model: str, names: Sequence[str], ranges: Mapping[str, tuple[int, int]]
) -> list[Chunk]:
    """Return the whole chunks in ranges of the log of that id."""
    prefix = prefix_of(log_id, model, names)
    return [
        Chunk(f"{prefix}{where.replace('/', '-')}/{start:012d}", where, start, start + CHUNK_OFFSETS)
        for where, (first, stop) in sorted(ranges.items())
        if where.startswith(f"{TOPIC}/") and first == 0
        for start in range(0, stop - CHUNK_OFFSETS + 1, CHUNK_OFFSETS)
    ][:CHUNKS_MAX]


def prefix_of(log_id: str, model: str, names: Sequence[str]) -> str:
    """Return how the names of all chunks of a model's features begin."""
    return f"rows/{log_id}/{model}/{schema_of(names)}/{CHUNK_OFFSETS}/"


def decided_in(records: Sequence[Stored], model: str, names: Sequence[str]) -> Decided:
    """Return the decisions among records that a model made on features of these names."""
    decode = msgspec.json.Decoder(_Decision).decode
    schema = schema_of(names)
    ids: list[str] = []
    rows: list[list[Any]] = []
    parts: list[list[Any]] = []
    for stored in records:
        if stored.record.type != TYPE:
            continue
        made = decode(stored.record.data)
        if made.model == model and made.schema == schema:
            ids.append(stored.record.id)
            rows.append(made.features)
            if len(rows) == PART_ROWS:
                parts.append(_columns(rows, len(names)))
                rows = []
    parts.append(_columns(rows, len(names)))
    return Decided(ids, [_joined(pieces) for pieces in zip(*parts, strict=True)])


def together(parts: Sequence[Decided], count: int) -> Decided:
    """Return decisions of several parts as one, of so many columns."""
    columns = [_joined([part.columns[n] for part in parts]) for n in range(count)]
    return Decided([id for part in parts for id in part.ids], columns)


def pack(decided: Decided) -> bytes:
    """Return decisions as bytes that `unpack` reads back exactly."""
    return msgspec.msgpack.encode(_Packed(decided.ids, [_packed(column) for column in decided.columns]))


def unpack(data: bytes) -> Decided:
    """Return packed decisions. Raises: msgspec.MsgspecError, ValueError."""
    packed = msgspec.msgpack.decode(data, type=_Packed)
    return Decided(packed.ids, [_unpacked(*column) for column in packed.columns])


def taken(column: Any, places: NDArray[np.int64]) -> Any:
    """Return the values of a column at places, as an array where it is one."""
    if isinstance(column, np.ndarray):
        return column[places]
    return [column[place] for place in places.tolist()]


def values_of(column: Any) -> list[Any]:
    """Return the values of a column, None for NaN: that was None, and unlike NaN it equals itself."""
    values = column.tolist() if isinstance(column, np.ndarray) else column
    return [None if value != value else value for value in values]  # noqa: PLR0124 (only NaN is not itself)


def _packed(column: Any) -> tuple[str, Any]:
    if isinstance(column, np.ndarray):
        return column.dtype.kind, column.astype(f"<{column.dtype.kind}8").tobytes()
    return "", column


def _unpacked(kind: str, values: Any) -> Any:
    if kind not in {"", "f", "i"}:
        raise ValueError(kind)
    return np.frombuffer(values, dtype=f"<{kind}8") if kind else values


def _columns(features: Sequence[Sequence[Any]], count: int) -> list[Any]:
    table = np.array(features, dtype=object).reshape(len(features), count)
    return [_column(values) for values in table.T]


def _column(values: NDArray[np.object_]) -> Any:
    """Return a column of one kind of number as numbers, None among floats as NaN; any other as a list."""
    listed = values.tolist()
    kinds = set(map(type, listed))
    if kinds == {int}:
        with suppress(OverflowError):
            return values.astype(np.int64)
    return values.astype(np.float64) if float in kinds and kinds <= _FLOATS else listed


def _joined(pieces: Sequence[Any]) -> Any:
    """Return the pieces of a column as one: what `_column` would have made of them together."""
    pieces = [piece for piece in pieces if len(piece)]
    kinds = {piece.dtype.kind if isinstance(piece, np.ndarray) else _kind(piece) for piece in pieces}
    if kinds == {"i"} or ("f" in kinds and kinds <= {"f", "none"}):
        return np.concatenate(
            [np.asarray(p, dtype=np.int64 if kinds == {"i"} else np.float64) for p in pieces]
        )
    return [value for piece in pieces for value in values_of(piece)]


def _kind(values: list[Any]) -> str:
    return "none" if all(value is None for value in values) else "other"
