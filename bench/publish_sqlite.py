"""Durable publishes from many tasks at once, against raw commits of one record each on the same disk."""

import asyncio
import sqlite3
import tempfile
import time
from pathlib import Path

from bench.facts import orders, records
from bench.figures import figures, in_turn
from tropism.adapters.sqlite import open_sqlite
from tropism.core.envelope import Record

EVENTS = 50_000
TASKS = 100
ROUNDS = 5
RAW_COMMITS = 300


def method(size: int) -> str:
    return (
        f"{size:,} events of 200 bytes, 5,000 Zipf keys, each appended by itself and awaited until it is "
        f"durable, from {TASKS} tasks of one process (WAL, synchronous=FULL). Peer: "
        f"{min(size, RAW_COMMITS):,} raw commits of one such row each, one after the other, on the same "
        f"disk. In turn, median of {ROUNDS}."
    )


def measure(size: int = EVENTS) -> dict[str, object]:
    made = records(orders(size))
    found = in_turn(ROUNDS, ours=lambda _: asyncio.run(ours(made)), peer=lambda _: raw(made[:RAW_COMMITS]))
    ratio = found["ours"] / found["peer"]
    return figures(found["ours"], found["peer"], "events/s", method(size), raw_ratio=ratio)


async def ours(made: list[Record]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        store = await open_sqlite(f"sqlite:///{folder}/bench.db")

        async def publish(some: list[Record]) -> None:
            for record in some:
                await store.log.append([record])

        try:
            await store.log.create_topics({made[0].topic: 4})
            started = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                for number in range(TASKS):
                    tasks.create_task(publish(made[number::TASKS]))
            return len(made) / (time.perf_counter() - started)
        finally:
            await store.close()


def raw(made: list[Record]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        sql = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        sql.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE events(place INTEGER PRIMARY KEY, id TEXT UNIQUE, type TEXT, subject TEXT, "
            "time_us INTEGER, data BLOB, source TEXT);"
        )
        started = time.perf_counter()
        for place, r in enumerate(made):
            sql.execute("BEGIN IMMEDIATE")
            row = (place, r.id, r.type, r.subject, r.time_us, r.data, r.source)
            sql.execute("INSERT INTO events VALUES (?,?,?,?,?,?,?)", row)
            sql.execute("COMMIT")
        spent = time.perf_counter() - started
        sql.close()
        return len(made) / spent
