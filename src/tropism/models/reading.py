"""Training rows, read from exact ranges of the log."""

import gc
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tropism.core.envelope import Stored
from tropism.models.decided import TOPIC, Decided, chunks_of, decided_in, pack, taken, together, unpack
from tropism.models.rows import TrainingRows
from tropism.ports.log import Log, Partition
from tropism.ports.opening import open_url
from tropism.runtime.cursor import name_of

TOPICS = ("decisions", "outcomes")
READ_COUNT = 20_000

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


class _Outcome(msgspec.Struct, gc=False):
    model: str
    decision_id: str
    value: float
    decided_us: int
    version: int
    output: float | None
    others: dict[str, float | None] = {}
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
    decided: Sequence[Decided] = (),
    rows_max: int | None = None,
    champion: int = 0,
) -> Known:
    """Return the rows of a model that have an outcome, sorted by (known at, decision id).

    ``decided`` are decisions that were read before, beside those among the records.
    """
    with _no_collection():
        labels = _labels(records, model, str(champion))
        pages = (page for where, page in records.items() if where.startswith(f"{TOPIC}/"))
        parts = [*decided, *(decided_in(page, model, names) for page in pages)]
        mine = together(parts, len(names))
        places = _order(mine.ids, labels)
        if rows_max is not None:
            places = places[-rows_max:]
        found = [labels[mine.ids[place]] for place in places.tolist()]
        rows = TrainingRows(
            names=names,
            columns=[taken(column, places) for column in mine.columns],
            outcomes=np.array([label.value for label in found], dtype=np.float64),
            decided_us=np.array([label.decided_us for label in found], dtype=np.int64),
            known_us=np.array([label.known_us for label in found], dtype=np.int64),
        )
    return Known(rows, np.array([label.champion for label in found], dtype=np.float64))


def _order(ids: list[str], labels: Mapping[str, _Label]) -> NDArray[np.int64]:
    """Return the places of decisions that have an outcome, in the order of (known at, decision id)."""
    by_id = sorted((place for place, id in enumerate(ids) if id in labels), key=ids.__getitem__)
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


async def read_known(
    url: str,
    model: str,
    names: tuple[str, ...],
    ranges: Ranges,
    *,
    log_id: str = "",
    chunks: Mapping[str, bytes] | None = None,
    rows_max: int | None = None,
    champion: int = 0,
) -> tuple[Known, dict[str, bytes]]:
    """Return the rows in ranges of the log that a URL opens, and what was decoded for the first time.

    ``chunks`` holds, by name, what was decoded before; without it, everything is read from the log.
    """
    decided: list[Decided] = []
    fresh: dict[str, bytes] = {}
    rest = dict(ranges)
    store = await open_url(url)
    try:
        for chunk in () if chunks is None else chunks_of(log_id, model, names, ranges):
            part = None if chunks is None else _decoded(chunks.get(chunk.name))
            if part is None:
                page = await _read(store.log, chunk.where, chunk.start, chunk.stop)
                with _no_collection():
                    part = decided_in(page, model, names)
                with suppress(msgspec.MsgspecError, OverflowError, TypeError):
                    fresh[chunk.name] = pack(part)
            decided.append(part)
            rest[chunk.where] = chunk.stop, ranges[chunk.where][1]
        records = {where: await _read(store.log, where, *found) for where, found in rest.items()}
    finally:
        await store.close()
    known = known_rows(model, names, records, decided=decided, rows_max=rows_max, champion=champion)
    return known, fresh


def _decoded(data: bytes | None) -> Decided | None:
    """Return what was decoded before, None where it is not there or not whole."""
    if data is None:
        return None
    try:
        return unpack(data)
    except (msgspec.MsgspecError, ValueError):
        return None


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
