"""Sorting more records than fit in memory, by time."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from heapq import merge
from itertools import islice
from operator import attrgetter
from typing import IO

import msgspec

from tropism.core.envelope import Record

RUN_COUNT = 100_000
"""How many records are sorted in memory at a time; more go through temporary files."""

_HEAD_BYTES = 4
_by_time = attrgetter("time_us")


def sorted_by_time(records: Iterable[Record], *, run_count: int = RUN_COUNT) -> Iterator[Record]:
    """Yield records in order of time, those of one moment as they came."""
    source = iter(records)
    run = sorted(islice(source, run_count), key=_by_time)
    if len(run) < run_count:
        yield from run
        return
    with ExitStack() as stack:
        runs: list[Iterable[Record]] = []
        while run:
            file = stack.enter_context(tempfile.TemporaryFile())
            _write(file, run)
            runs.append(_read(file))
            run = sorted(islice(source, run_count), key=_by_time)
        # merge is stable: of one moment, earlier runs come first.
        yield from merge(*runs, key=_by_time)


def _write(file: IO[bytes], records: Iterable[Record]) -> None:
    encoder = msgspec.msgpack.Encoder()
    for record in records:
        data = encoder.encode(record)
        file.write(len(data).to_bytes(_HEAD_BYTES, "big") + data)


def _read(file: IO[bytes]) -> Iterator[Record]:
    decoder = msgspec.msgpack.Decoder(Record)
    file.seek(0)
    while head := file.read(_HEAD_BYTES):
        yield decoder.decode(file.read(int.from_bytes(head, "big")))
