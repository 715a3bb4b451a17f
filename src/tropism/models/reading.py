"""Training rows, read from exact ranges of the log."""

import gc
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from tropism.core.envelope import Stored
from tropism.models.chunks import Chunk, chunks_of
from tropism.models.decided import all_decided, decided_in, pack_decided, unpack_decided
from tropism.models.known import Known, known_of
from tropism.models.learned import all_learned, known_by, learned_in, pack_learned, unpack_learned
from tropism.ports.log import Log, Partition
from tropism.ports.opening import open_url
from tropism.runtime.cursor import name_of
from tropism.runtime.watermarks import FOREVER_US

TOPICS = ("decisions", "outcomes")
READ_COUNT = 20_000
STAMP_BYTES = 8

Ranges = dict[str, tuple[int, int]]
"""Per partition, ``topic/number``, the offsets from the first up to the second."""


class Source(msgspec.Struct, frozen=True):
    """Where the rows are: a log that the job opens, or, of a log it cannot open, the records themselves."""

    url: str | None = None
    records: dict[str, list[Stored]] = {}


class _Codec(NamedTuple):
    """How records of a topic become columns, and columns bytes."""

    decode: Callable[[Sequence[Stored]], Any]
    pack: Callable[[Any], bytes]
    unpack: Callable[[bytes], Any]


async def ranges_until(log: Log, known_until_us: int) -> Ranges:
    """Return, per partition of decisions and outcomes, the offsets up to all that was known by an instant.

    In event time a service that is behind adds to a partition what is older than what another one added:
    the range ends behind the last of it, and holds newer ones too.
    """
    ends = await log.ends(TOPICS)
    ranges: Ranges = {}
    for partition, end in ends.items():
        stop = await _first_after(log, partition, end, known_until_us)
        async for page in _pages(log, name_of(partition), stop, end):
            stop = max([stop, *(s.offset + 1 for s in page if s.record.time_us <= known_until_us)])
        ranges[name_of(partition)] = 0, stop
    return ranges


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
    return [each async for page in _pages(log, where, start, stop) for each in page]


async def _pages(log: Log, where: str, start: int, stop: int) -> AsyncIterator[Sequence[Stored]]:
    topic, _, number = where.rpartition("/")
    partition = (topic, int(number))
    while start < stop:
        count_max = min(READ_COUNT, stop - start)
        page = (await log.read({partition: start}, count_max=count_max)).get(partition, ())
        if not page:
            break
        yield page if page[-1].offset < stop else [each for each in page if each.offset < stop]
        start = page[-1].offset + 1


def known_rows(
    model: str,
    names: tuple[str, ...],
    records: Mapping[str, Sequence[Stored]],
    *,
    known_until_us: int = FOREVER_US,
    rows_max: int | None = None,
    champion: int = 0,
) -> Known:
    """Return the rows of a model whose outcome was known by an instant, sorted by (known at, decision id)."""
    parts = {
        topic: [_decoded(codec, page) for where, page in records.items() if where.startswith(f"{topic}/")]
        for topic, codec in _codecs(model, names).items()
    }
    return _known(names, parts, known_until_us, rows_max, champion)


def _codecs(model: str, names: tuple[str, ...]) -> dict[str, _Codec]:
    return {
        "decisions": _Codec(lambda records: decided_in(records, model, names), pack_decided, unpack_decided),
        "outcomes": _Codec(lambda records: learned_in(records, model), pack_learned, unpack_learned),
    }


def _known(
    names: tuple[str, ...],
    parts: Mapping[str, Sequence[Any]],
    known_until_us: int,
    rows_max: int | None,
    champion: int,
) -> Known:
    decided = all_decided(parts["decisions"], len(names))
    learned = known_by(all_learned(parts["outcomes"]), known_until_us)
    return known_of(names, decided, learned, rows_max=rows_max, champion=champion)


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
    known_until_us: int = FOREVER_US,
    rows_max: int | None = None,
    champion: int = 0,
) -> tuple[Known, dict[str, bytes]]:
    """Return the rows known by an instant in ranges of the log that a URL opens, and what was newly decoded.

    ``chunks`` holds, by name, what was decoded before; without it, everything is read from the log.
    """
    codecs = _codecs(model, names)
    parts: dict[str, list[Any]] = {topic: [] for topic in codecs}
    fresh: dict[str, bytes] = {}
    whole = [] if chunks is None else chunks_of(log_id, model, names, ranges)
    store = await open_url(url)
    try:
        for where, (start, stop) in ranges.items():
            topic = where.partition("/")[0]
            mine = [chunk for chunk in whole if chunk.where == where]
            parts[topic] += await _chunks(store.log, codecs[topic], mine, chunks or {}, fresh)
            rest = mine[-1].stop if mine else start
            async for page in _pages(store.log, where, rest, stop):
                parts[topic].append(_decoded(codecs[topic], page))
    finally:
        await store.close()
    return _known(names, parts, known_until_us, rows_max, champion), fresh


async def _chunks(
    log: Log, codec: _Codec, chunks: Sequence[Chunk], kept: Mapping[str, bytes], fresh: dict[str, bytes]
) -> list[Any]:
    """Return the columns of chunks, and put what was not kept, not whole or not theirs to the fresh ones."""
    found = []
    for chunk in chunks:
        stamp = await _stamp(log, chunk)
        part = _unpacked(codec, kept.get(chunk.name), stamp)
        if part is None:
            part = _decoded(codec, await _read(log, chunk.where, chunk.start, chunk.stop))
            with suppress(msgspec.MsgspecError, OverflowError, TypeError, ValueError):
                fresh[chunk.name] = stamp + codec.pack(part)
        found.append(part)
    return found


async def _stamp(log: Log, chunk: Chunk) -> bytes:
    """Return what tells a chunk from one that lay there before the database was restored from a backup.

    That is the record at its end: the log only grows, so what is the same there was so before.
    """
    topic, _, number = chunk.where.rpartition("/")
    partition = (topic, int(number))
    page = (await log.read({partition: chunk.stop - 1}, count_max=1)).get(partition, ())
    last = [(each.record.id, each.record.time_us, each.record.data) for each in page]
    return blake2b(msgspec.msgpack.encode(last), digest_size=STAMP_BYTES).digest()


def _decoded(codec: _Codec, records: Sequence[Stored]) -> Any:
    with _no_collection():
        return codec.decode(records)


def _unpacked(codec: _Codec, data: bytes | None, stamp: bytes) -> Any:
    """Return what was decoded before, None where it is not there, not whole, or of another log's records."""
    if data is None or data[:STAMP_BYTES] != stamp:
        return None
    try:
        return codec.unpack(data[STAMP_BYTES:])
    except (msgspec.MsgspecError, ValueError, TypeError):
        return None
