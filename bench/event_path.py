"""The event path of the flights: every step but training, against reading the facts and storing as much."""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import msgspec

from tropism.core.codec import Codec
from tropism.core.time import parse_iso
from tropism.demo.flights import run
from tropism.demo.flights.app import POLICY
from tropism.demo.flights.source import EVENTS
from tropism.ports.platform import Platform

UNTIL = "2013-02-01"
ROUNDS = 3
METHOD = (
    f"Facts known before {UNTIL}, loaded before: decided on with 28 features as of the moment, joined with "
    f"their outcomes, committed so that they survive kill -9, in two processes; no training. Peer: the same "
    f"facts read from the same log and decoded, and a row as large as a decision stored for each flight, "
    f"1,000 a commit that survives as much. In turn, median of {ROUNDS}."
)
NO_TRAINING = replace(POLICY, first_after=10**9, drift=None, quality=None)


def measure() -> dict[str, object]:
    run.tune_process()
    ours, peer = [], []
    for _ in range(ROUNDS):
        mine, other = asyncio.run(_round())
        ours.append(mine)
        peer.append(other)
    mine, other = statistics.median(ours), statistics.median(peer)
    return {"ours": mine, "peer": other, "ratio": mine / other, "unit": "events/s", "method": METHOD}


async def _round() -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        options = run.FlightsOptions(Path(folder) / "flights", parse_iso(UNTIL), policy=NO_TRAINING)
        async with run.opened(options) as opened:
            platform = opened.platform
            end_us = await run.load(platform, options, lambda _: None)
            events = sum((await platform.log.ends(run.TOPICS)).values())
            started = time.perf_counter()
            decisions = await _raw(platform, Path(folder) / "raw.db")
            raw = events / (time.perf_counter() - started)
            started = time.perf_counter()
            await run.run(opened, run.system(options), end_us, options, lambda _: None)
            ours = events / (time.perf_counter() - started)
            assert decisions == sum((await platform.log.ends(["decisions"])).values())
        return ours, raw


async def _raw(platform: Platform, path: Path) -> int:
    codec = Codec(EVENTS)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE decisions(id TEXT, data BLOB)")
    row = msgspec.json.encode([1.5] * 60)
    stored = 0
    for partition, end in (await platform.log.ends(run.TOPICS)).items():
        start = 0
        while start < end:
            page = (await platform.log.read({partition: start}, count_max=1000))[partition]
            events = [(s.record.id, codec.decode(s.record)) for s in page]
            rows = [(id, row) for id, event in events if event.event_type == "flights.scheduled.v1"]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO decisions VALUES (?, ?)", rows)
            connection.execute("COMMIT")
            stored += len(rows)
            start = page[-1].offset + 1
    connection.close()
    return stored
