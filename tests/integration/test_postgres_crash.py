"""PostgreSQL's processes and ours are killed: nothing acknowledged is lost, and all goes on by itself."""

import asyncio
import random

import pytest
from tests.integration.children import TOPIC, child, record, step_commit
from tests.integration.test_sqlite_crash import ids_of, require_whole_batches
from tests.servers import Crashes, own_postgres, postgres_url

from tropism.adapters.postgres import open_postgres
from tropism.core.errors import ConflictError, FencedError
from tropism.ports.state import Commit, Position, Write
from tropism.testing.log import read_all


@pytest.fixture(scope="module")
def crashes():
    with own_postgres() as server:
        yield Crashes(server)


def restart(crashes, url):
    crashes.stop()
    crashes.start()


def fast_restart(crashes, url):
    crashes.stop("fast")
    crashes.start()


def kill_a_backend(crashes, url):
    crashes.kill_backend(url)


def end_every_connection(crashes, url):
    crashes.ask(
        url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tropism'"
    )


HARMS = [restart, fast_restart, kill_a_backend, end_every_connection]


@pytest.mark.parametrize("harm", HARMS)
def test_nothing_acknowledged_is_lost(crashes, harm):
    """Appends and commits go on over a crash of the server; all that returned is there, once, and whole."""
    url = postgres_url(crashes.server)

    async def check():
        store = await open_postgres(url)
        lease, _ = await store.state.acquire("c", "h", lease_seconds=3600)
        acked, stop = {"batches": -1, "steps": 0}, asyncio.Event()

        async def append():
            while not stop.is_set():
                batch = acked["batches"] + 1
                size = 1 + batch % 37
                await store.log.append([record(f"a-{batch}-{n}", f"k{n % 5}") for n in range(size)])
                acked["batches"] = batch

        async def commit():
            while not stop.is_set():
                await store.state.commit(step_commit(lease, acked["steps"] + 1))
                acked["steps"] += 1

        work = asyncio.gather(append(), commit())
        await reaches(acked, 20)
        await asyncio.to_thread(harm, crashes, url)
        before = dict(acked)
        await reaches(acked, 20 + max(before.values()))
        stop.set()
        await work
        ids = await ids_of(store)
        require_whole_batches([id for id in ids if id.startswith("a-")], "a", acked["batches"])
        steps = sorted(int(id[2:]) for id in ids if id.startswith("c-"))
        assert steps == list(range(1, acked["steps"] + 1))
        assert await store.state.get("c", ["count"]) == [b"%d" % acked["steps"]]
        for page in (await read_all(store.log, TOPIC)).values():
            assert [stored.offset for stored in page] == list(range(len(page)))
        await store.close()

    asyncio.run(check())


async def reaches(acked, count):
    async with asyncio.timeout(60):
        while min(acked.values()) < count:  # noqa: ASYNC110 (other tasks count)
            await asyncio.sleep(0.01)


def test_a_commit_whose_reply_was_lost_is_applied_once(crashes):
    """Where the connection dies behind the commit, before its reply, asking again changes nothing."""
    url = postgres_url(crashes.server)

    async def check():
        store = await open_postgres(url)
        lease, _ = await store.state.acquire("c", "h", lease_seconds=3600)
        link, lost = store._writer._link, []
        transact = store._writer._transact

        async def lose_the_reply(connection, operations):
            found = await transact(connection, operations)
            if not lost:
                lost.append(operations)
                await connection.close()
                await connection.execute(b"SELECT 1")
            return found

        store._writer._transact = lose_the_reply
        commit = Commit(lease, Position(b"1", 1), [Write("n", "k", b"1")], [record("a")])
        await store.state.commit(commit)
        assert len(lost) == 1
        assert link is store._writer._link
        assert await ids_of(store) == ["a"]
        assert await store.state.positions() == [("c", Position(b"1", 1))]
        await store.close()

    asyncio.run(check())


@pytest.mark.parametrize("seed", range(2))
def test_killed_writers_leave_whole_batches(crashes, seed):
    """A process killed at a random moment has lost nothing that it said was stored, and stored no half."""
    url, chance = postgres_url(crashes.server), random.Random(seed)
    with child("append_for_ever", url, "a") as writer:
        acked = max(int(writer.line()) for _ in range(chance.randint(1, 60)))
        acked = max([acked, *map(int, writer.kill())])

    async def inspect():
        store = await open_postgres(url)
        require_whole_batches(await ids_of(store), "a", acked)
        await store.close()

    asyncio.run(inspect())


def test_killed_consumers_go_on_from_their_commit(crashes):
    """Cursor, values and outputs of a consumer killed twice agree, and go as far as acknowledged."""
    url = postgres_url(crashes.server)
    acked = 0
    for _ in range(2):
        with child("commit_for_ever", url, "c") as consumer:
            lines = [consumer.line() for _ in range(12)] + consumer.kill()
            acked = max([acked, *map(int, lines)])

    async def inspect():
        store = await open_postgres(url)
        lease, position = await store.state.acquire("c", "child", lease_seconds=9)
        reached = int(position.cursor)
        assert not lease.clean
        assert acked <= reached <= acked + 1
        keys = [entry.key for entry in await store.state.scan("c", count_max=10_000)]
        assert keys == [f"{step:06}" for step in range(1, reached + 1)] + ["count"]
        assert len(await ids_of(store)) == reached
        await store.close()

    asyncio.run(inspect())


def test_processes_compete_for_a_lease(crashes):
    """A lease keeps another process out until it has run out; then its holder is fenced."""
    url = postgres_url(crashes.server)

    async def compete():
        store = await open_postgres(url)
        with child("hold", url, "c", 1.5) as holder:
            holder.line()
            with pytest.raises(ConflictError, match="'child' holds it"):
                await store.state.acquire("c", "other", lease_seconds=60)
            while True:
                try:
                    lease, _ = await store.state.acquire("c", "other", lease_seconds=60)
                    break
                except ConflictError:
                    await asyncio.sleep(0.02)
            assert not lease.clean
            holder.tell("go on")
            assert await asyncio.to_thread(holder.line) == "fenced"
        assert await ids_of(store) == []
        await store.state.commit(step_commit(lease, 1))
        await store.close()

    asyncio.run(compete())


def test_offsets_become_visible_in_their_order(crashes):
    """A reader never sees a record before those in front of it, however many processes append."""
    url = postgres_url(crashes.server)

    async def check():
        store = await open_postgres(url)
        await store.log.create_topics({TOPIC: 2})
        with (
            child("append_for_ever", url, "a") as one,
            child("append_for_ever", url, "b") as two,
            child("append_for_ever", url, "c") as three,
        ):
            for writer in (one, two, three):
                writer.line()
            cursors = {(TOPIC, 0): 0, (TOPIC, 1): 0}
            pages = 0
            while sum(cursors.values()) < 4000:
                for partition, page in (await store.log.read(cursors, count_max=100)).items():
                    offsets = [stored.offset for stored in page]
                    assert offsets == list(range(cursors[partition], cursors[partition] + len(page)))
                    cursors[partition] += len(page)
                    pages += 1
            assert pages > 40
        await store.close()

    asyncio.run(check())


def test_listening_goes_on_after_its_connection_was_lost(crashes):
    """Where the listening connection is ended, news is heard again as soon as there is another."""
    url = postgres_url(crashes.server)

    async def check():
        here, there = await open_postgres(url), await open_postgres(url)
        await here.log.create_topics({TOPIC: 1})
        listening = "query LIKE 'LISTEN%' OR query LIKE 'SELECT t.name, p.number, p.next_offset%'"
        query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listening}"
        assert await asyncio.to_thread(crashes.ask, url, query)
        async with asyncio.timeout(30):
            for n in range(3):
                wait = asyncio.ensure_future(here.log.wait_beyond({(TOPIC, 0): n}))
                await there.log.append([record(f"{n}")])
                await wait
        await here.close()
        await there.close()

    asyncio.run(check())


def test_a_lost_notification_costs_time_only(crashes):
    """Who waits looks by itself now and then."""
    url = postgres_url(crashes.server)

    async def check():
        here, there = await open_postgres(url), await open_postgres(url)
        await here.log.create_topics({TOPIC: 1})
        there._announcer.tell = lambda grown, queue=None: None
        wait = asyncio.ensure_future(here.log.wait_beyond({(TOPIC, 0): 0}))
        await there.log.append([record("a")])
        async with asyncio.timeout(30):
            await wait
        await here.close()
        await there.close()

    asyncio.run(check())


def test_fenced_in_the_middle(crashes):
    """Of two stores that think they hold a lease, the older one's commits change nothing."""
    url = postgres_url(crashes.server)

    async def check():
        here, there = await open_postgres(url), await open_postgres(url)
        old, _ = await here.state.acquire("c", "h", lease_seconds=60)
        new, _ = await there.state.acquire("c", "h", lease_seconds=60)
        outcomes = await asyncio.gather(
            here.state.commit(step_commit(old, 1)),
            there.state.commit(step_commit(new, 2)),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [FencedError, type(None)]
        assert await ids_of(here) == ["c-2"]
        await here.close()
        await there.close()

    asyncio.run(check())
