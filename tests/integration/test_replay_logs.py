"""A replay on every log: the same report, and nothing written to it."""

import asyncio
import time
from dataclasses import replace

import pytest
from tests.conformance.matrix import KAFKA_LOGS, STORES, nats_log
from tests.simulation.replay_system import Paid, shop

from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore
from tropism.core.codec import record_of
from tropism.ports.platform import Platform
from tropism.runtime.replay.replaying import Request, replay
from tropism.runtime.runtime import Runtime, RuntimeOptions

COUNT = 60
PATIENCE_SECONDS = 30.0
TOPICS = ("orders", "mail", "redrive-shop")


class Apart:
    """A log with a state in memory, which does not commit with it."""

    def __init__(self, log):
        self.log, self.state = log, MemoryStore().state


def platform_of(store):
    memory = MemoryStore()
    return Platform(store.log, store.state, MemoryBlobs(), MemoryCompute(), SystemClock(), memory.queue)


async def told(platform):
    """Return all that a log holds of a service, and where its consumers stand."""
    ends = await platform.log.ends(TOPICS)
    pages = await platform.log.read(dict.fromkeys(ends, 0), count_max=1000)
    records = [(where, [(s.offset, s.record) for s in page]) for where, page in pages.items()]
    return sorted(records), await platform.state.positions()


async def live(platform, start_us):
    """Publish payments, and have the service handle them as they come."""
    runtime = Runtime([shop()], platform, options=RuntimeOptions(live=True, partitions=2))
    await runtime.create_topics()
    records = [
        record_of(
            event := Paid(order=f"o{n % 5}", cents=n),
            runtime.codec.encode(event),
            id=f"{start_us}-{n}",
            time_us=start_us + n * 1000,
        )
        for n in range(COUNT)
    ]
    for start in range(0, COUNT, 10):
        await platform.log.append(records[start : start + 10])
    await runtime.start()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while sum(worker.handled for worker in runtime.workers.values()) < COUNT or not runtime.is_idle:
        assert time.monotonic() < deadline
        runtime.raise_if_stopped()
        await asyncio.sleep(0.01)
    await runtime.stop()


APART = {
    **{
        f"log on {name}": log for name, log in KAFKA_LOGS.items() if "mock" not in name and "avro" not in name
    },
    "nats": nats_log(),
}
CASES = {**{name: STORES[name] for name in ("sqlite", "postgres", "kafka")}, **APART}


@pytest.mark.parametrize("name", CASES)
def test_a_replay_reads_the_log_and_writes_nothing_to_it(name):
    """Outputs are the same but for what depends on when views were read; log and cursors stay as they were."""

    async def check():
        async with CASES[name]() as opened:
            store = Apart(opened) if name in APART else opened
            platform = platform_of(store)
            await live(platform, time.time_ns() // 1000)
            before = await told(platform)
            scratch = MemoryStore()
            request = Request(shop(), ignore=frozenset({"recent"}))
            report = await replay(request, platform, scratch)
            assert report.difference.total.same == COUNT, report
            assert report.difference.total.is_same
            assert await told(platform) == before
            half = {where: (start + end) // 2 for where, (start, end) in report.partitions.items()}
            request = replace(request, start=half, state="rebuilt")
            part = await replay(request, platform, MemoryStore())
            assert 0 < part.difference.total.same < COUNT
            assert part.difference.total.is_same

    asyncio.run(check())
