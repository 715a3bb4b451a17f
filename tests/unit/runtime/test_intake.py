"""Taking events from several partitions."""

import asyncio

from tropism.adapters.memory import MemoryStore
from tropism.core.envelope import Record
from tropism.core.partition import partition_of
from tropism.runtime.intake import Intake
from tropism.runtime.streams import Stream
from tropism.runtime.watermarks import FOREVER_US


def record(partition: int, number: int, time_us: int) -> Record:
    subject = next(key for key in map(str, range(99)) if partition_of(key, 2) == partition)
    return Record(f"{partition}-{number}", "a.b.v1", "a", subject, time_us, b"{}")


def test_live_older_facts_behind_newer_ones_are_taken() -> None:
    """A history that is brought in beside newer events jams nothing: all is taken, and every call returns."""

    async def main() -> None:
        log = MemoryStore(partitions_default=2).log
        await log.create_topics({"a": 2})
        intake = Intake(log, {Stream("a", 0): 0, Stream("a", 1): 0}, chunk=4)
        await log.append([record(0, n, 1_000_000) for n in range(2)])
        taken, _ = await intake.take(FOREVER_US, 1)
        await log.append([record(1, n, n) for n in range(10)])
        while True:
            found, _ = await intake.take(FOREVER_US, 2)
            if not found:
                break
            taken += found
        assert sorted(arrival[-1].record.id for arrival in taken) == sorted(
            ["0-0", "0-1", *(f"1-{n}" for n in range(10))]
        )

    asyncio.run(main())
