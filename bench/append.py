"""Appending to the embedded log, against raw SQLite with the same columns, index and fsync."""

import asyncio
import json
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from tropism.adapters.sqlite import open_sqlite
from tropism.core.envelope import Record, derived_id

RECORDS = 50_000
BATCH = 1_000
ROUNDS = 5
METHOD = (
    f"{RECORDS:,} records of 250 bytes, with ids and causes as handlers' outputs have them, in batches of "
    f"{BATCH:,}, one durable commit each (WAL, synchronous=FULL), ours and raw executemany into the same "
    f"columns with the same unique index in turn; median of {ROUNDS}."
)


def measure() -> dict[str, object]:
    ours, peer = [], []
    for number in range(ROUNDS):
        ours.append(RECORDS / asyncio.run(_ours(number)))
        peer.append(RECORDS / _raw(number))
    mine, other = statistics.median(ours), statistics.median(peer)
    return {"ours": mine, "peer": other, "ratio": mine / other, "unit": "records/s", "method": METHOD}


def _records(number: int) -> list[Record]:
    data = b"x" * 250
    return [_record(derived_id(f"{number}/{i}", "bench", 0, i * 1_000), i, data) for i in range(RECORDS)]


def _record(id: str, number: int, data: bytes) -> Record:
    subject, cause = f"k{number % 997}", {"causationid": id}
    return Record(id, "bench.happened.v1", "bench", subject, number * 1_000, data, "bench", cause)


async def _ours(number: int) -> float:
    records = _records(number)
    with tempfile.TemporaryDirectory() as folder:
        store = await open_sqlite(f"sqlite:///{folder}/bench.db")
        try:
            await store.log.create_topics({"bench": 4})
            started = time.perf_counter()
            for at in range(0, RECORDS, BATCH):
                await store.log.append(records[at : at + BATCH])
            return time.perf_counter() - started
        finally:
            await store.close()


def _raw(number: int) -> float:
    rows = [
        (i, 1, r.time_us, r.id, r.type, r.subject, r.time_us, r.data, r.source, json.dumps(r.extensions))
        for i, r in enumerate(_records(number))
    ]
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(
            "CREATE TABLE events(place INTEGER PRIMARY KEY, topic_id INTEGER, known_us INTEGER, id TEXT, "
            "type TEXT, subject TEXT, time_us INTEGER, data BLOB, source TEXT, extensions TEXT)"
        )
        connection.execute("CREATE UNIQUE INDEX ids ON events(topic_id, id)")
        started = time.perf_counter()
        for at in range(0, RECORDS, BATCH):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?,?,?,?)", rows[at : at + BATCH])
            connection.execute("COMMIT")
        spent = time.perf_counter() - started
        connection.close()
        return spent
