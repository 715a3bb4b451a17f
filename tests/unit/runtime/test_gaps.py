"""Logs whose offsets have gaps, also behind their last record: everything that reads one ends, and misses nothing."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from tests.weak_log import STRIDE, WeakLog

from tropism import Event, Service
from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.cli.tail import _first_at, _last
from tropism.core.codec import Codec, record_of
from tropism.core.envelope import Record
from tropism.models.reading import ranges_until, source_of
from tropism.models.registry import read_registries
from tropism.models.steps import read_topic
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, Position
from tropism.runtime.cursor import Cursor, Place
from tropism.runtime.lag import Lag, lag_of
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.testing.simulation import quiet


class Asked(Event, type="asks.asked.v1", key="who"):
    who: str


class Answered(Event, type="answers.answered.v1", key="who"):
    who: str


def ignore(event: Asked) -> None:
    """Do nothing."""


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await coroutine

    asyncio.run(bounded())


def asked(name: str, time_us: int = 0) -> Record:
    codec = Codec([Asked])
    event = Asked(who=name)
    return record_of(event, codec.encode(event), id=f"{time_us}-{name}", time_us=time_us)


async def filled(count: int, topic: str = "asks") -> WeakLog:
    log = WeakLog()
    await log.append(
        [Record(f"{n:03}", f"{topic}.asked.v1", topic, f"k{n % 9}", n, b'{"who":"x"}') for n in range(count)]
    )
    return log


def test_a_whole_topic_is_read() -> None:
    """``read_topic`` returns what there is, and ends where only empty offsets are left."""

    async def main() -> None:
        log = await filled(30)
        assert sorted(stored.record.id for stored in await read_topic(log, "asks")) == [
            f"{n:03}" for n in range(30)
        ]

    run(main())


def test_the_last_events_and_those_from_a_moment_are_found() -> None:
    """Searching back from the end, and by halves for a moment, land on records."""

    async def main() -> None:
        log = await filled(30)
        ends = await log.ends(["asks"])
        assert len(await _last(log, ends, 30, lambda _: True)) == 30
        for partition, end in ends.items():
            at = await _first_at(log, partition, end, 15)
            page = (await log.read({partition: at}, count_max=99)).get(partition, ())
            whole = (await log.read({partition: 0}, count_max=99)).get(partition, ())
            assert [s.offset for s in page] == [s.offset for s in whole if s.known_us >= 15]

    run(main())


def test_ranges_and_registries_are_read() -> None:
    """What training reads is the same rows whatever offsets they have."""

    async def main() -> None:
        log = await filled(30, "outcomes")
        ranges = await ranges_until(log, 20)
        source = await source_of(log, ranges)
        assert source.records is not None
        found = {stored.record.id for page in source.records.values() for stored in page}
        # Ranges reach behind what ran ahead, so they may hold more: rows are filtered by their own times.
        wanted = {s.record.id for s in await read_topic(log, "outcomes") if s.record.time_us <= 20}
        assert wanted
        assert wanted <= found
        assert await read_registries(await filled(0)) == {}

    run(main())


def test_nobody_waits_behind_a_gap() -> None:
    """How many events wait does not count offsets behind the last record."""

    async def main() -> None:
        log = await filled(30)
        store = MemoryStore()
        platform = Platform(log, store.state, store.blobs, MemoryCompute(), VirtualClock(), store.queue)
        service = Service("s")
        service.on(Asked)(ignore)
        assert (await lag_of(platform, service)).events >= 30
        ends = await log.ends(["asks"])
        reached = {
            f"{topic}/{number}": Place(max(end - STRIDE + 2, 0)) for (topic, number), end in ends.items()
        }
        lease, _ = await store.state.acquire("s", "here", lease_seconds=60)
        position = Position(msgspec.msgpack.encode(Cursor(places=reached)))
        await store.state.commit(Commit(lease, position))
        assert await lag_of(platform, service) == Lag("s", 0, None)

    run(main())


@pytest.mark.parametrize("live", [True, False])
def test_a_service_reads_on_over_gaps_and_rests_at_the_end(live: bool) -> None:
    """It handles every event once, waits where only empty offsets are left, and goes on from there."""
    service = Service("s")

    @service.on(Asked, guarantee="at_least_once")
    async def answer(event: Asked) -> Answered:
        return Answered(who=event.who)

    async def answers(log: WeakLog) -> list[str]:
        return sorted(stored.record.subject for stored in await read_topic(log, "answers"))

    async def main() -> None:
        clock, log = VirtualClock(), WeakLog()
        # What it stands on keeps times exactly; without saying so it would be refused in event time.
        log.capabilities = replace(log.capabilities, event_time=True)
        store = MemoryStore(clock=clock)
        platform = Platform(log, store.state, store.blobs, MemoryCompute(), clock, store.queue)
        names = [f"{n:03}" for n in range(60)]
        await log.append([asked(name) for name in names[:40]])
        runtime = Runtime([service], platform, options=RuntimeOptions(live=live, chunk=8))
        await runtime.start()
        runtime.watermarks.advance_sources(10)
        await quiet(0.0)
        assert await answers(log) == names[:40]
        await log.append([asked(name, 20) for name in names[40:]])
        runtime.watermarks.advance_sources(30)
        await quiet(0.0)
        assert await answers(log) == names
        await runtime.stop()

    run(main())
