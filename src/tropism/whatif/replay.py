"""Living through a table on the real engine, in event time, in memory."""

import asyncio
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryCompute, MemoryStore
from tropism.app.app import App
from tropism.core.time import to_us
from tropism.models.policy import Policy
from tropism.models.progress import Progress, Say, tell
from tropism.models.rows import Train
from tropism.models.steps import Step, count_of, digest_of, read_steps, read_topic
from tropism.ports.log import Log
from tropism.ports.platform import Platform
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.waiting import first_of
from tropism.whatif.system import MODEL, SERVICE, records_of, system_of, within
from tropism.whatif.table import Table

PARTITIONS = 1
TOPICS = {"table": PARTITIONS}


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the loop did with a table.

    Shapes: n outputs in the table's order, nan while there was no version yet, and the versions that gave
    them. ``missed`` decisions never learned their outcome.
    """

    outputs: NDArray[np.float64]
    versions: NDArray[np.int64]
    steps: tuple[Step, ...]
    missed: int
    digest: str

    def count(self, *types: str) -> int:
        """Return how many steps there are of some types."""
        return count_of(self.steps, *types)


class _Decision(msgspec.Struct):
    subject: str
    version: int
    output: float | None


async def replay(table: Table, train: Train, policy: Policy, seed: int, say: Say) -> Replayed:
    """Let the loop live through a table, and return what it did."""
    store = MemoryStore(partitions_default=PARTITIONS)
    platform = Platform(store.log, store.state, store.blobs, MemoryCompute(), SystemClock(), store.queue)
    app = system_of(table, train, policy, seed)
    records = await asyncio.to_thread(records_of, table)
    await platform.log.create_topics(TOPICS)
    await platform.log.append(records)
    # Past the last label every decision has an outcome, or has waited for one in vain.
    end_us = records[-1].time_us + to_us(within(table)) + 2
    await _run(platform, app, end_us, len(records), say)
    return await _read(platform.log, table)


async def _run(platform: Platform, app: App, end_us: int, total: int, say: Say) -> None:
    options = RuntimeOptions(live=False, partitions=PARTITIONS)
    runtime = Runtime(app.services, platform, types=app.events, options=options)
    await runtime.start()
    runtime.watermarks.advance_sources(end_us)
    await first_of(runtime.wait_until(end_us), tell(runtime, SERVICE, MODEL, "Tropism", total, say))
    await runtime.stop()
    say(Progress("Tropism", total, total, end_us))


async def _read(log: Log, table: Table) -> Replayed:
    place = {key: row for row, key in enumerate(table.keys)}
    outputs, versions = np.full(len(table), np.nan), np.zeros(len(table), dtype=np.int64)
    decoder = msgspec.json.Decoder(_Decision)
    for stored in await read_topic(log, "decisions"):
        made = decoder.decode(stored.record.data)
        versions[place[made.subject]] = made.version
        if made.output is not None:
            outputs[place[made.subject]] = made.output
    steps = await read_steps(log)
    missed = sum(s.record.type == "outcomes.missed.v1" for s in await read_topic(log, "outcomes"))
    pairs = zip(versions.tolist(), outputs.tolist(), strict=True)
    digest = digest_of((f"{version} {output:.9g}" for version, output in pairs), steps)
    return Replayed(outputs, versions, steps, missed, digest)
