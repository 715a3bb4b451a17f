"""Decisions of the log as columns."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from numpy.typing import NDArray

from tropism.core.envelope import Stored
from tropism.models.columns import Column, columns_of, ids_of, joined, joined_ids, pack, unpack
from tropism.models.rows import schema_of

TYPE = "decisions.made.v1"

PART_ROWS = 4096
"""How many rows are turned into columns at a time: as many as stay in the processor's cache."""


class Decided(NamedTuple):
    """Decisions as columns: n ids, f columns of n values."""

    ids: NDArray[Any]
    columns: list[Column]


class _Decision(msgspec.Struct, gc=False):
    model: str
    schema: str
    features: list[Any]


def decided_in(records: Sequence[Stored], model: str, names: Sequence[str]) -> Decided:
    """Return the decisions among records that a model made on features of these names."""
    decode = msgspec.json.Decoder(_Decision).decode
    schema = schema_of(names)
    ids: list[str] = []
    rows: list[list[Any]] = []
    parts: list[list[Column]] = []
    for stored in records:
        if stored.record.type != TYPE:
            continue
        made = decode(stored.record.data)
        if made.model == model and made.schema == schema:
            ids.append(stored.record.id)
            rows.append(made.features)
            if len(rows) == PART_ROWS:
                parts.append(columns_of(rows, len(names)))
                rows = []
    parts.append(columns_of(rows, len(names)))
    return Decided(ids_of(ids), [joined(pieces) for pieces in zip(*parts, strict=True)])


def all_decided(parts: Sequence[Decided], count: int) -> Decided:
    """Return decisions of several parts as one, of so many columns."""
    columns = [joined([part.columns[n] for part in parts]) for n in range(count)]
    return Decided(joined_ids([part.ids for part in parts]), columns)


def pack_decided(decided: Decided) -> bytes:
    """Return decisions as bytes that `unpack_decided` reads back exactly."""
    return pack([decided.ids, *decided.columns])


def unpack_decided(data: bytes) -> Decided:
    """Return packed decisions. Raises: as `unpack` does."""
    ids, *columns = unpack(data)
    return Decided(ids, columns)
