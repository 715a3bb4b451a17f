"""Training rows, read from exact ranges of the log."""

import gc
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tropism.core.envelope import Stored
from tropism.models.rows import TrainingRows, schema_of
from tropism.ports.log import Log, Partition
from tropism.ports.opening import open_url
from tropism.runtime.cursor import name_of

TOPICS = ("decisions", "outcomes")
READ_COUNT = 20_000

PART_ROWS = 4096
"""How many rows are turned into columns at a time: as many as stay in the processor's cache."""

_FLOATS = frozenset({float, type(None)})

Ranges = dict[str, tuple[int, int]]
"""Per partition, ``topic/number``, the offsets from the first up to the second."""


class Source(msgspec.Struct, frozen=True):
    """Where the rows are: a log that the job opens, or, of a log it cannot open, the records themselves."""

    url: str | None = None
    records: dict[str, list[Stored]] = {}


class Known(NamedTuple):
    """Training rows, and what the champion of the time said of each, NaN where it was not asked."""

    rows: TrainingRows
    champion: NDArray[np.float64]


class _Decision(msgspec.Struct, gc=False):
    model: str
    schema: str
    features: list[Any]


class _Outcome(msgspec.Struct, gc=False):
    model: str
    decision_id: str
    value: float
    decided_us: int
    version: int
    output: float | None
    others: dict[str, float] = {}
    early: bool = False


class _Label(NamedTuple):
    known_us: int
    value: float
    decided_us: int
    champion: float


async def ranges_until(log: Log, known_until_us: int) -> Ranges:
    """Return, per partition of decisions and outcomes, the offsets of what was known by an instant."""
    ends = await log.ends(TOPICS)
    return {name_of(p): (0, await _first_after(log, p, end, known_until_us)) for p, end in ends.items()}


async def _first_after(log: Log, partition: Partition, end: int, known_until_us: int) -> int:
    """Return the first offset known after an instant, by bisection: ``known_us`` never decreases."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        found = (await log.read({partition: middle}, count_max=1)).get(partition, ())
        if found and found[0].known_us <= known_until_us:
            low = found[0].offset + 1
        else:
            high = middle
    return low


async def source_of(log: Log, ranges: Ranges) -> Source:
    """Return where a job finds the rows: the log's URL, or the rows themselves."""
    url = log.capabilities.url
    if url is not None:
        return Source(url)
    records: dict[str, list[Stored]] = {}
    for where, (start, stop) in ranges.items():
        records[where] = await _read(log, where, start, stop)
    return Source(None, records)


async def _read(log: Log, where: str, start: int, stop: int) -> list[Stored]:
    topic, _, number = where.rpartition("/")
    partition = (topic, int(number))
    found: list[Stored] = []
    while start < stop:
        page = (await log.read({partition: start}, count_max=READ_COUNT)).get(partition, ())
        if not page:
            break
        found.extend(page if page[-1].offset < stop else [each for each in page if each.offset < stop])
        start = page[-1].offset + 1
    return found


def known_rows(
    model: str,
    names: tuple[str, ...],
    records: Mapping[str, Sequence[Stored]],
    *,
    rows_max: int | None = None,
    champion: int = 0,
) -> Known:
    """Return the rows of a model that have an outcome, sorted by (known at, decision id)."""
    with _no_collection():
        labels = _labels(records, model, str(champion))
        ids, columns = _features(records, model, names, labels)
        places = _order(ids, labels)
        if rows_max is not None:
            places = places[-rows_max:]
        found = [labels[ids[place]] for place in places.tolist()]
        rows = TrainingRows(
            names=names,
            columns=[taken(column, places) for column in columns],
            outcomes=np.array([label.value for label in found], dtype=np.float64),
            decided_us=np.array([label.decided_us for label in found], dtype=np.int64),
            known_us=np.array([label.known_us for label in found], dtype=np.int64),
        )
    return Known(rows, np.array([label.champion for label in found], dtype=np.float64))


def taken(column: Any, places: NDArray[np.int64]) -> Any:
    """Return the values of a column at places, as an array where it is one."""
    if isinstance(column, np.ndarray):
        return column[places]
    return [column[place] for place in places.tolist()]


def _order(ids: list[str], labels: Mapping[str, _Label]) -> NDArray[np.int64]:
    """Return the places of rows in the order of (known at, decision id)."""
    by_id = sorted(range(len(ids)), key=ids.__getitem__)
    known_us = np.array([labels[ids[place]].known_us for place in by_id], dtype=np.int64)
    return np.array(by_id, dtype=np.int64)[np.argsort(known_us, kind="stable")]


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector from going through millions of values of which none is garbage."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


async def records_in(url: str, ranges: Ranges) -> dict[str, list[Stored]]:
    """Return the records of ranges of the log that a URL opens."""
    store = await open_url(url)
    try:
        return {where: await _read(store.log, where, start, stop) for where, (start, stop) in ranges.items()}
    finally:
        await store.close()


def _features(
    records: Mapping[str, Sequence[Stored]], model: str, names: tuple[str, ...], wanted: Container[str]
) -> tuple[list[str], list[Any]]:
    """Return the ids of the wanted decisions, and their features as columns."""
    decoder = msgspec.json.Decoder(_Decision)
    schema = schema_of(names)
    ids: list[str] = []
    rows: list[list[Any]] = []
    parts: list[list[Any]] = []
    for stored in _of(records, "decisions.made.v1"):
        made = decoder.decode(stored.record.data)
        id = stored.record.id
        if made.model == model and made.schema == schema and id in wanted:
            ids.append(id)
            rows.append(made.features)
            if len(rows) == PART_ROWS:
                parts.append(_columns(rows, len(names)))
                rows = []
    parts.append(_columns(rows, len(names)))
    return ids, [_joined(pieces) for pieces in zip(*parts, strict=True)]


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
    return [value for piece in pieces for value in _values(piece)]


def _kind(values: list[Any]) -> str:
    return "none" if all(value is None for value in values) else "other"


def _values(piece: Any) -> list[Any]:
    if not isinstance(piece, np.ndarray):
        values: list[Any] = piece
        return values
    return [None if value != value else value for value in piece.tolist()]  # noqa: PLR0124 (NaN was None)


def _labels(records: Mapping[str, Sequence[Stored]], model: str, champion: str) -> dict[str, _Label]:
    """Return, per decision, when its outcome was known first, and its latest value."""
    decoder = msgspec.json.Decoder(_Outcome)
    found: dict[str, _Label] = {}
    for stored in _of(records, "outcomes.learned.v1"):
        outcome = decoder.decode(stored.record.data)
        if outcome.model != model or outcome.early:
            continue
        before = found.get(outcome.decision_id)
        known_us = stored.known_us if before is None else before.known_us
        output = outcome.output if str(outcome.version) == champion else outcome.others.get(champion)
        found[outcome.decision_id] = _Label(
            known_us, outcome.value, outcome.decided_us, math.nan if output is None else output
        )
    return found


def _of(records: Mapping[str, Sequence[Stored]], event_type: str) -> list[Stored]:
    topic = event_type.partition(".")[0]
    return [
        stored
        for where, page in records.items()
        if where.startswith(f"{topic}/")
        for stored in page
        if stored.record.type == event_type
    ]
