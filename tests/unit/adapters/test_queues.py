"""What queues in memory and in SQLite do beyond the laws of the port."""

import asyncio
import sqlite3
from contextlib import closing

from tropism.adapters.memory import MemoryStore, VirtualClock
from tropism.adapters.sqlite import open_sqlite, schema, turns
from tropism.core.envelope import Record
from tropism.ports.queue import Message
from tropism.testing.log import read_all


def test_files_of_the_first_schema_get_queues(tmp_path):
    """A file that knew no queues is opened, keeps what it has, and gets their tables."""
    with closing(sqlite3.connect(tmp_path / "x.db")) as sql:
        sql.executescript(f"PRAGMA journal_mode = WAL; {schema._STEPS[0].script} PRAGMA user_version = 1;")
        sql.execute("INSERT INTO topics VALUES (1, 'orders', 1)")
        sql.execute("INSERT INTO events VALUES (?,1,5,'a','orders.x.v1','k',5,x'00','s',NULL)", (1 << 52,))
        sql.commit()

    async def look():
        store = await open_sqlite(f"sqlite:///{tmp_path}/x.db")
        (page,) = (await read_all(store.log)).values()
        assert [stored.record for stored in page] == [
            Record("a", "orders.x.v1", "orders", "k", 5, b"\0", "s")
        ]
        assert await store.queue.send("work", [Message("a", b"")]) == 1
        assert await store.problems() == []
        await store.close()

    asyncio.run(look())
    with closing(sqlite3.connect(tmp_path / "x.db")) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)


def test_ids_are_forgotten_in_the_file_too(tmp_path):
    """What is kept to know duplicates does not grow for ever."""

    async def send():
        clock = VirtualClock()
        store = await open_sqlite(f"sqlite:///{tmp_path}/x.db", clock=clock, dedup_seconds=60)
        for minute in range(10):
            await store.queue.send("work", [Message(f"{minute}-{n}", b"") for n in range(50)])
            await store.queue.ack(await store.queue.receive("work", count_max=50, lease_seconds=9))
            clock.advance(90)
        await store.close()

    asyncio.run(send())
    with closing(sqlite3.connect(tmp_path / "x.db")) as sql:
        counts = [
            sql.execute(f"SELECT count(*) FROM {name}").fetchone()[0]
            for name in ("taken", "messages", "turns")
        ]
    assert counts[0] <= 100
    assert counts[1:] == [0, 0]


def test_setting_the_wall_clock_ends_no_loan(tmp_path):
    """While the owner lives, leases and delays pass as time does, whatever the wall clock is set to."""

    async def jump():
        clock = VirtualClock(10**15)
        store = await open_sqlite(f"sqlite:///{tmp_path}/x.db", clock=clock)
        await store.queue.send("work", [Message("a", b"")])
        loans = await store.queue.receive("work", count_max=1, lease_seconds=60)
        clock.jump(86_400)
        assert await store.queue.receive("work", count_max=1, lease_seconds=60) == []
        clock.jump(-2 * 86_400)
        clock.advance(61)
        again = await store.queue.receive("work", count_max=1, lease_seconds=60)
        assert [one.attempt for one in again] == [2]
        assert await store.queue.ack(loans) == [loans[0].receipt]
        await store.close()

    asyncio.run(jump())


def test_one_reply_holds_a_bounded_number_of_bytes(tmp_path, monkeypatch):
    """Large messages come a few at a time, at least one, and none is skipped."""
    monkeypatch.setattr(turns, "_BYTES_MAX", 2500)

    async def receive():
        store = await open_sqlite(f"sqlite:///{tmp_path}/x.db")
        await store.queue.send("work", [Message(f"{n}", bytes(1000)) for n in range(7)])
        pages = []
        while page := await store.queue.receive("work", count_max=100, lease_seconds=60):
            pages.append([one.message.id for one in page])
        assert pages == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
        await store.close()

    asyncio.run(receive())


def test_renewals_do_not_pile_up_in_memory():
    """However often a loan is renewed, the list of what is due stays as long as there are messages."""

    async def renew():
        queue = MemoryStore().queue
        await queue.send("work", [Message("a", b"")])
        loans = await queue.receive("work", count_max=1, lease_seconds=60)
        for n in range(1000):
            await queue.renew(loans, lease_seconds=60 + n)
        assert len(queue._queues["work"]._due) < 100
        assert await queue.ack(loans) == []

    asyncio.run(renew())
