"""Queues in a database file whose processes are killed: nothing sent is lost, nothing finished comes again."""

import asyncio
import random
from collections import Counter

import pytest
from tests.integration.children import child, database, work_batch

from tropism.adapters.sqlite import open_sqlite
from tropism.ports.queue import Depth, Message


async def drain(queue, lease_seconds=60.0):
    """Return the ids of all that is left, in order, once the loans of the dead have run out."""
    found = []
    while sum((await depth_of(queue))[:3]):
        page = await queue.receive("work", count_max=100, lease_seconds=lease_seconds, wait_seconds=1)
        found += [one.message.id for one in page]
        assert list(await queue.ack(page)) == []
    return found


async def depth_of(queue):
    depth = await queue.depth("work")
    return depth.ready, depth.delayed, depth.leased, depth.dead


@pytest.mark.parametrize("seed", range(3))
def test_acknowledged_sends_survive(tmp_path, seed):
    """A sender killed at a random moment has lost nothing that it acknowledged, and stored whole batches."""
    chance = random.Random(seed)
    with child("send_for_ever", tmp_path / "x.db", "a") as sender:
        acked = max(int(sender.line()) for _ in range(chance.randint(1, 60)))
        acked = max([acked, *map(int, sender.kill())])

    async def inspect():
        store = await open_sqlite(database(tmp_path))
        ids = await drain(store.queue)
        for key in range(3):
            mine = [id for id in ids if int(id[-2:]) % 3 == key]
            assert mine == sorted(mine), "a key is out of order"
        whole = [message.id for batch in range(acked + 1) for message in work_batch("a", batch)]
        more = [message.id for message in work_batch("a", acked + 1)]
        assert sorted(ids) in (whole, whole + more)
        assert await store.problems() == []
        await store.close()

    asyncio.run(inspect())


@pytest.mark.parametrize("seed", range(3))
def test_finished_work_never_comes_again(tmp_path, seed):
    """Of two workers one is killed in the middle: all is done, each message finished once, on one loan."""
    chance = random.Random(seed)
    sent = [f"{n:04}" for n in range(300)]

    async def send():
        store = await open_sqlite(database(tmp_path))
        await store.queue.send("work", [Message(id, b"x", f"k{int(id) % 40}") for id in sent])
        await store.close()

    async def finish():
        store = await open_sqlite(database(tmp_path))
        ids = await drain(store.queue)
        assert await store.queue.depth("work") == Depth(0, 0, 0, 0)
        assert await store.problems() == []
        await store.close()
        return ids

    asyncio.run(send())
    # Whoever comes first owns the file: sometimes the owner dies, sometimes the other.
    order = ["a", "b"] if chance.random() < 0.5 else ["b", "a"]
    with child("work_for_ever", tmp_path / "x.db", order[0]) as one:
        lines = [one.line() for _ in range(5)]
        with child("work_for_ever", tmp_path / "x.db", order[1]) as two:
            lines += [two.line() for _ in range(chance.randint(1, 100))]
            victim, survivor = (one, two) if chance.random() < 0.7 else (two, one)
            lines += victim.kill()
            lines += [survivor.line() for _ in range(5)]
            lines += survivor.kill()
    said = [line.split() for line in lines]
    done = Counter(id for what, id, _ in said if what == "done")
    lent = Counter(receipt for what, _, receipt in said if what == "got")
    left = asyncio.run(finish())
    assert set(done.values()) <= {1}, "a message was finished twice"
    assert set(lent.values()) <= {1}, "a loan was given to two"
    assert not set(done) & set(left), "a finished message came again"
    assert len(left) == len(set(left))
    # What was lent may have been finished by one that was killed before it said so.
    lent_only = {id for what, id, _ in said if what == "got"} - set(done)
    assert set(sent) - set(done) - set(left) <= lent_only, "messages are lost"


def test_loans_outlive_their_owner(tmp_path):
    """When the owner of the file dies, the loans of others stand, and waiting receivers go on waiting."""

    async def survive(owner):
        store = await open_sqlite(database(tmp_path))
        await store.queue.send("work", [Message("a", b""), Message("b", b"")])
        (loan,) = await store.queue.receive("work", count_max=1, lease_seconds=60)
        waiting = asyncio.ensure_future(
            store.queue.receive("later", count_max=1, lease_seconds=60, wait_seconds=60)
        )
        await asyncio.sleep(0)
        owner.kill()
        assert await store.queue.send("work", [Message("a", b""), Message("c", b"")]) == 1
        assert store.owns
        await store.queue.send("later", [Message("z", b"")])
        assert [one.message.id for one in await asyncio.wait_for(waiting, 20)] == ["z"]
        rest = await store.queue.receive("work", count_max=9, lease_seconds=60)
        assert [one.message.id for one in rest] == ["b", "c"]
        assert list(await store.queue.ack([loan, *rest])) == []
        await store.close()

    with child("own", tmp_path / "x.db") as owner:
        assert owner.line() == "owner"
        asyncio.run(survive(owner))
