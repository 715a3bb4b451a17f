"""From publish to a handler's durable output, at a steady pace, against what one raw commit takes."""

import asyncio
import statistics
import tempfile
import time
from dataclasses import replace

from bench.disk import commit_seconds, quantile
from bench.facts import Ordered, orders, records
from bench.figures import figures
from bench.platforms import on_sqlite
from bench.running import Tally, consume
from bench.watching import WatchedState
from tropism.core.event import Event
from tropism.ports.state import Commit
from tropism.runtime.service import Service

EVENTS = 10_000
PER_SECOND = 1_000
ROUNDS = 3
COMMITS = 300


class Confirmed(Event, type="bench.confirmed.v1", key="customer"):
    order: str
    customer: str


def method(size: int) -> str:
    return (
        f"{size:,} events of 200 bytes, 5,000 Zipf keys, published one by one at {PER_SECOND:,} a second "
        f"(each timed from when it was due, so waiting counts), handled by an async handler that answers "
        f"with an event, in one process (WAL, synchronous=FULL); until the commit of that event returns. "
        f"ours: the p99; p50 beside it. Peer and fsync_ms_p99: the p99 of {COMMITS} raw commits of one row, "
        f"just before and just after. over_ms: ours less that. In turn, median of {ROUNDS}."
    )


def measure(size: int = EVENTS) -> dict[str, object]:
    rounds = [_round(size) for _ in range(ROUNDS)]
    p50, p99, fsync = (statistics.median(column) for column in zip(*rounds, strict=True))
    over = statistics.median(each[1] - each[2] for each in rounds)
    more = {"p50": p50, "p99": p99, "fsync_ms_p99": fsync, "over_ms": over}
    return figures(p99, fsync, "ms", method(size), lower_is_better=True, raw_ratio=fsync / p99, **more)


def _round(size: int) -> tuple[float, float, float]:
    before = commit_seconds(COMMITS // 2)
    took = asyncio.run(ours(size))
    disk = before + commit_seconds(COMMITS // 2)
    return quantile(took, 0.5) * 1e3, quantile(took, 0.99) * 1e3, quantile(disk, 0.99) * 1e3


async def ours(size: int) -> list[float]:
    """Return how long each event took, in seconds."""
    made = records(orders(size))
    service, tally = Service("confirming"), Tally(size)
    due: dict[str, float] = {}
    took: list[float] = []

    @service.on(Ordered)
    async def confirm(order: Ordered) -> Confirmed:
        tally.add()
        return Confirmed(order.order, order.customer)

    def committed(commit: Commit) -> None:
        now = time.perf_counter()
        took.extend(now - due[output.extensions["causationid"]] for output in commit.outputs)

    with tempfile.TemporaryDirectory() as folder:
        async with on_sqlite(folder) as platform:

            async def publish() -> None:
                start = time.perf_counter()
                async with asyncio.TaskGroup() as tasks:
                    for number, record in enumerate(made):
                        due[record.id] = at = start + number / PER_SECOND
                        if (early := at - time.perf_counter()) > 0:
                            await asyncio.sleep(early)
                        tasks.create_task(platform.log.append([record]))

            watched = replace(platform, state=WatchedState(platform.state, committed))
            await consume([service], watched, tally, publish=publish)
    assert len(took) == size
    return took
