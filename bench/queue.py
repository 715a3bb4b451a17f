"""Messages sent, received and acknowledged through the embedded queue, against raw SQLite doing the same."""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

from tropism.adapters.sqlite import open_sqlite
from tropism.core.envelope import derived_id
from tropism.ports.queue import Message

ROUNDS = 5
MESSAGES = {100: 10_000, 1: 150}
"""How many messages a round, by the size of its batches."""

METHOD = (
    "messages of 250 bytes without a key, each sent, received and acknowledged, in batches of 100, a durable "
    "commit for each of the three steps (WAL, synchronous=FULL); the peer keeps the same guarantees with one "
    "table of messages, one of ids taken and an index of what is due, written by raw SQL in this thread; in "
    f"turn, median of {ROUNDS}. 'singly' is the same with one message at a time."
)


def measure() -> dict[str, object]:
    batched, singly = _compare(100), _compare(1)
    return {**batched, "unit": "messages/s", "method": METHOD, "singly": singly}


def _compare(batch: int) -> dict[str, float]:
    ours, peer = [], []
    for number in range(ROUNDS):
        ours.append(MESSAGES[batch] / asyncio.run(_ours(number, batch)))
        peer.append(MESSAGES[batch] / _raw(number, batch))
    mine, other = statistics.median(ours), statistics.median(peer)
    return {"ours": mine, "peer": other, "ratio": mine / other}


def _batches(number: int, batch: int) -> list[list[Message]]:
    made = [
        Message(derived_id(f"{number}/{i}", "bench", 0, 0), b"x" * 250, "", {"traceparent": "00-ab-cd-01"})
        for i in range(MESSAGES[batch])
    ]
    return [made[at : at + batch] for at in range(0, len(made), batch)]


async def _ours(number: int, batch: int) -> float:
    batches = _batches(number, batch)
    with tempfile.TemporaryDirectory() as folder:
        store = await open_sqlite(f"sqlite:///{folder}/bench.db")
        queue, done = store.queue, 0
        try:
            started = time.perf_counter()
            for messages in batches:
                await queue.send("bench", messages)
                loans = await queue.receive("bench", count_max=batch, lease_seconds=60)
                lost = await queue.ack(loans)
                done += len(loans) - len(lost)
            assert done == MESSAGES[batch]
            return time.perf_counter() - started
        finally:
            await store.close()


def _raw(number: int, batch: int) -> float:
    batches = _batches(number, batch)
    with tempfile.TemporaryDirectory() as folder:
        sql = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        sql.executescript(
            "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE messages(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT, key TEXT, body BLOB,"
            " attributes TEXT, due_us INTEGER, attempt INTEGER, leased INTEGER);"
            "CREATE INDEX due ON messages(due_us);"
            "CREATE TABLE taken(id TEXT PRIMARY KEY, taken_us INTEGER);"
        )
        done = 0
        started = time.perf_counter()
        for messages in batches:
            _raw_send(sql, messages)
            done += _raw_work(sql, batch)
        seconds = time.perf_counter() - started
        sql.close()
        assert done == MESSAGES[batch]
        return seconds


def _raw_send(sql: sqlite3.Connection, messages: list[Message]) -> None:
    now_us = time.time_ns() // 1000
    sql.execute("BEGIN IMMEDIATE")
    sql.executemany("INSERT INTO taken VALUES (?,?)", [(one.id, now_us) for one in messages])
    rows = [(one.id, one.key, one.body, "{}", now_us) for one in messages]
    sql.executemany(
        "INSERT INTO messages(id, key, body, attributes, due_us, attempt, leased) VALUES (?,?,?,?,?,0,0)",
        rows,
    )
    sql.execute("COMMIT")


def _raw_work(sql: sqlite3.Connection, batch: int) -> int:
    now_us = time.time_ns() // 1000
    sql.execute("BEGIN IMMEDIATE")
    loans = sql.execute(
        "UPDATE messages SET due_us = ?, attempt = attempt + 1, leased = 1 WHERE number IN "
        "(SELECT number FROM messages WHERE due_us <= ? ORDER BY due_us LIMIT ?) "
        "RETURNING number, attempt, id, key, body, attributes",
        (now_us + 60_000_000, now_us, batch),
    ).fetchall()
    sql.execute("COMMIT")
    sql.execute("BEGIN IMMEDIATE")
    sql.executemany(
        "DELETE FROM messages WHERE number = ? AND attempt = ? AND leased", [row[:2] for row in loans]
    )
    sql.execute("COMMIT")
    return len(loans)
