"""What was acknowledged survives kill -9, and nothing is half there."""

import asyncio
import random
import signal

import pytest
from tests.integration.children import TOPIC, child, database, record, step_commit

from tropism.adapters.sqlite import open_sqlite, remote
from tropism.core.errors import ConflictError, FencedError, UnavailableError
from tropism.testing.log import read_all


async def ids_of(store):
    pages = (await read_all(store.log, TOPIC)).values()
    return [stored.record.id for page in pages for stored in page]


async def acquire_when_free(store, consumer):
    while True:
        try:
            return await store.state.acquire(consumer, "survivor", lease_seconds=3600)
        except ConflictError:
            # The owner learns of a death a moment after it.
            await asyncio.sleep(0.005)


def require_whole_batches(ids, name, acked):
    batches = {}
    for id in ids:
        owner, batch, _ = id.split("-")
        if owner == name:
            batches[int(batch)] = batches.get(int(batch), 0) + 1
    assert len(ids) == len(set(ids))
    assert set(range(acked + 1)) <= set(batches), "an acknowledged batch is lost"
    assert len(batches) <= acked + 2, "more is there than was asked"
    assert all(count == 1 + batch % 37 for batch, count in batches.items()), "half a batch is there"


@pytest.mark.parametrize("seed", range(4))
def test_acknowledged_appends_survive(tmp_path, seed):
    """A writer killed at a random moment has lost nothing that it acknowledged, and stored whole batches."""
    chance = random.Random(seed)
    with child("append_for_ever", tmp_path / "x.db", "a") as writer:
        acked = max(int(writer.line()) for _ in range(chance.randint(1, 60)))
        acked = max([acked, *map(int, writer.kill())])

    async def inspect():
        store = await open_sqlite(database(tmp_path))
        require_whole_batches(await ids_of(store), "a", acked)
        assert await store.problems() == []
        await store.close()

    asyncio.run(inspect())


@pytest.mark.parametrize("seed", range(4))
def test_commits_are_all_or_nothing(tmp_path, seed):
    """Cursor, values and outputs of a consumer killed again and again agree, and go as far as acknowledged."""
    chance = random.Random(seed)
    acked = 0
    for _ in range(3):
        with child("commit_for_ever", tmp_path / "x.db", "c") as consumer:
            lines = [consumer.line() for _ in range(chance.randint(1, 25))] + consumer.kill()
            acked = max([acked, *map(int, lines)])

    async def inspect():
        store = await open_sqlite(database(tmp_path))
        lease, position = await store.state.acquire("c", "h", lease_seconds=9)
        reached = int(position.cursor)
        assert not lease.clean
        assert acked <= reached <= acked + 1
        keys = [entry.key for entry in await store.state.scan("c", count_max=10_000)]
        assert keys == [f"{step:06}" for step in range(1, reached + 1)] + ["count"]
        assert await store.state.get("c", ["count"]) == [b"%d" % reached]
        assert await ids_of(store) == [f"c-{step}" for step in range(1, reached + 1)]
        await store.close()

    asyncio.run(inspect())


def test_survivors_take_over_and_lose_nothing(tmp_path):
    """While the owner is killed, others go on writing: each write happens once, and one of them owns the file."""

    async def survive(owner):
        survivors = [await open_sqlite(database(tmp_path)) for _ in range(2)]
        assert not any(store.owns for store in survivors)
        wait = asyncio.ensure_future(survivors[1].log.wait_beyond({("late", 0): 0}))
        done = 0

        async def append(store, name):
            nonlocal done
            for batch in range(40):
                size = 1 + batch % 37
                await store.log.append([record(f"{name}-{batch}-{n}", f"k{n % 5}") for n in range(size)])
                done += 1

        async def commit(store, name):
            nonlocal done
            lease, _ = await store.state.acquire(name, name, lease_seconds=3600)
            for step in range(1, 41):
                await store.state.commit(step_commit(lease, step))
                done += 1

        async def kill_in_the_middle():
            while done < 60:  # noqa: ASYNC110 (as early as it can be seen)
                await asyncio.sleep(0)
            owner.process.kill()

        await asyncio.gather(
            append(survivors[0], "a"),
            append(survivors[1], "b"),
            commit(survivors[0], "c"),
            commit(survivors[1], "d"),
            kill_in_the_middle(),
        )
        assert sorted(store.owns for store in survivors) == [False, True]
        await survivors[0].log.create_topics({"late": 1})
        late = record("late")
        await survivors[0].log.append([type(late)(late.id, late.type, "late", "k", 0, b"")])
        await asyncio.wait_for(wait, 10)
        for store in survivors:
            ids = await ids_of(store)
            require_whole_batches([id for id in ids if id[0] == "a"], "a", 39)
            require_whole_batches([id for id in ids if id[0] == "b"], "b", 39)
            assert sorted(id for id in ids if id[0] in "cd") == sorted(
                f"{name}-{step}" for name in "cd" for step in range(1, 41)
            )
            positions = await store.state.positions()
            assert [(name, position.cursor) for name, position in positions] == [("c", b"40"), ("d", b"40")]
        for store in survivors:
            await store.close()

    with child("own", tmp_path / "x.db") as owner:
        assert owner.line() == "owner"
        asyncio.run(survive(owner))


@pytest.mark.parametrize("child_owns", [True, False])
def test_leases_of_the_dead_are_free(tmp_path, child_owns):
    """A killed process's lease may be taken at once, whoever owns the file, and is not clean."""

    async def take():
        store = await open_sqlite(database(tmp_path)) if not child_owns else None
        with child("hold", tmp_path / "x.db", "c", 3600) as holder:
            said = await asyncio.to_thread(holder.line)
            assert said == ("owner" if child_owns else "other")
            store = store or await open_sqlite(database(tmp_path))
            with pytest.raises(ConflictError):
                await store.state.acquire("c", "h", lease_seconds=9)
            holder.process.kill()
            lease, _ = await acquire_when_free(store, "c")
            assert (lease.token, lease.clean) == (2, False)
        assert store.owns
        await store.close()

    asyncio.run(take())


def test_zombies_are_fenced_across_processes(tmp_path):
    """A process that was stopped past its lease finds itself fenced, and nothing of its commit is there."""

    async def supersede():
        store = await open_sqlite(database(tmp_path))
        with child("hold", tmp_path / "x.db", "c", 0.01) as zombie:
            assert await asyncio.to_thread(zombie.line) == "other"
            zombie.process.send_signal(signal.SIGSTOP)
            lease, _ = await acquire_when_free(store, "c")
            zombie.tell("commit")
            zombie.process.send_signal(signal.SIGCONT)
            assert await asyncio.to_thread(zombie.line) == "fenced"
            assert await ids_of(store) == []
            await store.state.commit(step_commit(lease, 1))
        await store.close()

    asyncio.run(supersede())


def test_leases_outlive_their_owner(tmp_path):
    """A survivor whose lease nobody took meanwhile goes on with it under the next owner."""

    async def survive(owner):
        store = await open_sqlite(database(tmp_path))
        lease, _ = await store.state.acquire("c", "h", lease_seconds=9)
        await store.state.commit(step_commit(lease, 1))
        owner.kill()
        await store.state.commit(step_commit(lease, 2))
        assert store.owns
        with pytest.raises(ConflictError):
            await store.state.acquire("c", "other", lease_seconds=9)
        newer, position = await store.state.acquire("c", "h", lease_seconds=9)
        assert (newer.token, newer.clean, position.cursor) == (2, False, b"2")
        with pytest.raises(FencedError):
            await store.state.commit(step_commit(lease, 3))
        await store.close()

    with child("own", tmp_path / "x.db") as owner:
        assert owner.line() == "owner"
        asyncio.run(survive(owner))


def test_a_stopped_owner_is_not_waited_for_for_ever(tmp_path, monkeypatch):
    """A write through an owner that does not answer fails in bounded time, and says what to do."""
    monkeypatch.setattr(remote, "ANSWER_SECONDS", 0.2)

    async def write(owner):
        store = await open_sqlite(database(tmp_path))
        owner.process.send_signal(signal.SIGSTOP)
        with pytest.raises(UnavailableError, match="Resume or stop it"):
            await store.log.append([record("a")])
        owner.process.send_signal(signal.SIGCONT)
        await store.log.append([record("a"), record("b")])
        assert await ids_of(store) == ["a", "b"]
        await store.close()

    with child("own", tmp_path / "x.db") as owner:
        assert owner.line() == "owner"
        asyncio.run(write(owner))


def test_an_owner_whose_loop_hangs_still_writes_for_others(tmp_path):
    """A handler that blocks the owner's event loop stops nobody else's writes."""

    async def write(owner):
        store = await open_sqlite(database(tmp_path))
        lease, _ = await store.state.acquire("c", "h", lease_seconds=9)
        for step in range(1, 20):
            await store.state.commit(step_commit(lease, step))
        assert len(await ids_of(store)) == 19
        await store.close()

    with child("own_and_hang", tmp_path / "x.db") as owner:
        assert owner.line() == "owner"
        asyncio.run(asyncio.wait_for(write(owner), 30))


def test_the_owner_leaves_cleanly(tmp_path):
    """When the owner closes, another takes over, and what waited is written."""

    async def hand_over():
        first, second = [await open_sqlite(database(tmp_path)) for _ in range(2)]
        writes = [asyncio.ensure_future(second.log.append([record(f"{n}")])) for n in range(20)]
        await asyncio.sleep(0)
        await first.close()
        await asyncio.gather(*writes)
        await second.log.append([record("20")])
        assert sorted(await ids_of(second)) == sorted(f"{n}" for n in range(21))
        assert second.owns
        await second.close()

    asyncio.run(hand_over())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.db", "x.db.lock"]
