"""What the disk itself can do: raw commits of one row, one after the other."""

import sqlite3
import tempfile
import time
from pathlib import Path

COMMITS = 200


def commit_seconds(count: int = COMMITS) -> list[float]:
    """Return how long each of so many durable commits of one row took (WAL, synchronous=FULL)."""
    with tempfile.TemporaryDirectory() as folder:
        sql = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        sql.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE events(place INTEGER PRIMARY KEY, id TEXT, data BLOB);"
        )
        took = []
        for number in range(count):
            started = time.perf_counter()
            sql.execute("BEGIN IMMEDIATE")
            sql.execute("INSERT INTO events VALUES (?, ?, ?)", (number, f"{number:032d}", b"x" * 250))
            sql.execute("COMMIT")
            took.append(time.perf_counter() - started)
        sql.close()
        return took


def commits_per_second(count: int = COMMITS) -> float:
    """Return how many raw durable commits the disk takes in a second."""
    return count / sum(commit_seconds(count))


def quantile(values: list[float], share: float) -> float:
    """Return the value below which so large a share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
