"""The guarantees of ``Queue``, on a real PostgreSQL server."""

import asyncio
from contextlib import asynccontextmanager

import pytest
from tests.servers import postgres_url

from tropism.adapters.postgres import open_postgres
from tropism.core.errors import InvalidInputError
from tropism.ports.queue import Depth, Message

SECONDS = 60.0


@asynccontextmanager
async def opened(url=None):
    store = await open_postgres(url or postgres_url())
    try:
        yield store.queue
    finally:
        await store.close()


def messages(*ids, key=""):
    return [Message(id, id.encode(errors="replace"), key) for id in ids]


async def take(queue, name="q", count=10, seconds=SECONDS, wait=0.0):
    return list(await queue.receive(name, count_max=count, lease_seconds=seconds, wait_seconds=wait))


async def taken_ids(queue, **options):
    return [one.message.id for one in await take(queue, **options)]


def law(check):
    """Run a coroutine on a fresh store as a test of its name and docstring."""

    def test():
        async def run():
            async with opened() as queue, asyncio.timeout(60):
                await check(queue)

        asyncio.run(run())

    test.__doc__, test.__name__ = check.__doc__, check.__name__
    return test


@law
async def test_messages_return_as_they_were(queue):
    """What is received is what was sent, attribute by attribute; it is lent once."""
    sent = [
        Message("a", b"\0\xff", "", {"x": "", "\u00e9": "\u00df\n"}),
        Message("b\0\1", b"", "k\0", None),
        Message("\U0001f6eb", b"x" * 100_000, "l", {}),
    ]
    assert await queue.send("q\0", sent) == 3
    received = await take(queue, "q\0")
    assert [one.message for one in received] == sent
    assert [(one.queue, one.attempt) for one in received] == [("q\0", 1)] * 3
    assert await take(queue, "q\0") == []
    assert await take(queue, "another") == []


@law
async def test_acknowledged_messages_are_gone(queue):
    """``ack`` finishes a message for good; asked again it is a lost loan."""
    await queue.send("q", messages("a", "b"))
    one, other = await take(queue)
    assert await queue.ack([one]) == []
    assert await queue.ack([one, other]) == [one.receipt]
    assert await queue.depth("q") == Depth(0, 0, 0, 0)


@law
async def test_loans_run_out(queue):
    """A consumer that dies loses nothing: its loan runs out, and the next attempt is counted."""
    await queue.send("q", messages("a"))
    (first,) = await take(queue, seconds=0.05)
    (second,) = await take(queue, wait=30)
    assert (second.message.id, second.attempt) == ("a", 2)
    for call in (
        queue.ack([first]),
        queue.nack([first]),
        queue.renew([first], lease_seconds=1),
        queue.bury({first.receipt: "x"}, "q"),
    ):
        assert await call == [first.receipt]
    assert await queue.depth("q") == Depth(0, 0, 1, 0)
    assert await queue.ack([second]) == []


@law
async def test_renewed_loans_are_kept(queue):
    """``renew`` keeps a loan for so long from now."""
    await queue.send("q", messages("a", "b"))
    one, other = await take(queue, seconds=0.2)
    assert await queue.renew([one], lease_seconds=SECONDS) == []
    (again,) = await take(queue, wait=30)
    assert again.message.id == other.message.id
    assert await queue.ack([one]) == []


@law
async def test_nacked_messages_come_again(queue):
    """``nack`` gives a message back at once, or after a delay at the earliest."""
    await queue.send("q", messages("a"))
    (one,) = await take(queue)
    assert await queue.nack([one]) == []
    assert await queue.nack([one]) == [one.receipt]
    (two,) = await take(queue)
    assert two.attempt == 2
    loop = asyncio.get_running_loop()
    started = loop.time()
    await queue.nack([two], delay_seconds=0.4)
    assert await queue.depth("q") == Depth(0, 1, 0, 0)
    assert await take(queue) == []
    (three,) = await take(queue, wait=30)
    assert loop.time() - started >= 0.4
    assert three.attempt == 3


@law
async def test_ids_are_taken_once(queue):
    """An id that the queue took is not stored again, acknowledged or not; another queue has its own."""
    assert await queue.send("q", messages("a", "b", "a")) == 2
    assert await queue.send("q", messages("b", "c")) == 1
    received = await take(queue)
    assert [one.message.id for one in received] == ["a", "b", "c"]
    await queue.ack(received)
    assert await queue.send("q", messages("a")) == 0
    assert await queue.send("p", messages("a")) == 1


@law
async def test_delayed_messages_wait(queue):
    """A message sent with a delay is not received before; a wait for it ends with it."""
    await queue.send("q", messages("late"), delay_seconds=0.4)
    await queue.send("q", messages("soon"))
    assert await taken_ids(queue) == ["soon"]
    assert await taken_ids(queue, wait=30) == ["late"]


@law
async def test_keys_keep_their_order(queue):
    """Messages of a key are on loan one after the other, in order of sending, a nacked one first."""
    await queue.send("q", messages("a1", "a2", "a3", key="a"))
    await queue.send("q", messages("b1", "b2", key="b") + messages("x", "y"))
    received = {one.message.id: one for one in await take(queue)}
    assert set(received) == {"a1", "b1", "x", "y"}
    await queue.nack([received["a1"]], delay_seconds=0.2)
    await queue.ack([received["b1"]])
    assert await taken_ids(queue) == ["b2"]
    (again,) = await take(queue, wait=30)
    assert again.message.id == "a1"
    await queue.bury({again.receipt: "poison"}, "q")
    (following,) = await take(queue)
    assert following.message.id == "a2"


def test_keys_keep_their_order_among_many():
    """With several senders and consumers on two stores, no two messages of a key are on loan together."""
    lent, done, last = set(), [], {}

    async def send(queue, sender):
        for number in range(25):
            await queue.send("q", [Message(f"{sender}-{number:03}", b"", f"k{number % 3}")])

    async def consume(queue):
        while len(done) < 100:
            for one in await take(queue, count=3, wait=0.2):
                key, sender = one.message.key, one.message.id[:1]
                assert key not in lent
                lent.add(key)
                await asyncio.sleep(0)
                assert last.get((key, sender), "") < one.message.id
                last[key, sender] = one.message.id
                lent.discard(key)
                done.append(one.message.id)
                assert await queue.ack([one]) == []

    async def check():
        url = postgres_url()
        async with opened(url) as here, opened(url) as there, asyncio.timeout(120):
            sends = [send(queue, n) for n, queue in enumerate([here, there] * 2)]
            await asyncio.gather(*sends, *(consume(queue) for queue in [here, there] * 2))
            assert await here.depth("q") == Depth(0, 0, 0, 0)

    asyncio.run(check())
    assert sorted(done) == sorted(f"{sender}-{number:03}" for sender in range(4) for number in range(25))


@law
async def test_dead_letters(queue):
    """``bury`` moves a message aside, once, with its cause; ``redrive`` sends it anew; ``discard`` deletes."""
    await queue.send("q", messages("a", "b", "c"))
    received = await take(queue)
    causes = {one.receipt: f"because {one.message.id}" for one in received}
    assert await queue.bury(causes, "q") == []
    assert await queue.bury(causes, "q") == list(causes)
    assert await queue.depth("q") == Depth(0, 0, 0, 3)
    page = await queue.dead("q", count_max=2)
    assert [(dead.message, dead.cause, dead.attempts) for dead in page] == [
        (Message("a", b"a"), "because a", 1),
        (Message("b", b"b"), "because b", 1),
    ]
    assert page[0].died_us > 0
    assert [dead.message.id for dead in await queue.dead("q", after="b")] == ["c"]
    assert await queue.redrive("q", ["a", "nobody"]) == 1
    assert await queue.discard("q", ["b", "nobody"]) == 1
    assert await queue.depth("q") == Depth(1, 0, 0, 1)
    (one,) = await take(queue)
    assert (one.message.id, one.attempt) == ("a", 1)
    assert await queue.redrive("nobody", ["a"]) == 0


@law
async def test_senders_wake_those_who_wait(queue):
    """A wait ends with the first message, and at its end without one."""
    assert await take(queue, wait=0.05) == []
    wait = asyncio.ensure_future(take(queue, wait=50))
    await asyncio.sleep(0.05)
    await queue.send("q", messages("a"))
    assert [one.message.id for one in await wait] == ["a"]


@law
async def test_what_cannot_be_kept(queue):
    """Too large messages, too long delays and ids, and texts that are no Unicode store nothing."""
    limits = queue.capabilities
    for sent, delay in (
        ([*messages("a"), Message("b", bytes(limits.record_bytes_max + 1))], 0),
        (messages("a"), limits.delay_seconds_max + 1),
        (messages("a", "b" * 3000), 0),
        (messages("a", "\ud800"), 0),
        ([Message("a", b"", attributes={"x": "\ud800"})], 0),
    ):
        with pytest.raises(InvalidInputError, match=r"^Cannot .*\.$"):
            await queue.send("q", sent, delay_seconds=delay)
    assert await queue.depth("q") == Depth(0, 0, 0, 0)


@law
async def test_cancelled_calls_are_whole(queue):
    """A cancelled ``send`` stores all its messages or none, a cancelled wait takes none for ever."""
    for turn in range(8):
        batch = messages(*(f"{turn}-{n}" for n in range(10)))
        task = asyncio.ensure_future(queue.send("q", batch))
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert await queue.send("q", messages("last")) == 1
    ids = [one.message.id for one in await take(queue, count=1000)]
    assert len(ids) % 10 == 1
    assert ids[-1] == "last"


def test_consumers_of_several_processes_share():
    """Each message goes to one of two stores on the same queue, and news reaches the other store."""

    async def check():
        url = postgres_url()
        async with opened(url) as here, opened(url) as there, asyncio.timeout(60):
            wait = asyncio.ensure_future(take(there, wait=50, count=1))
            await here.send("q", messages("first"))
            assert [one.message.id for one in await wait] == ["first"]
            await here.send("q", messages(*(f"{n:03}" for n in range(60))))
            pages = await asyncio.gather(*(take(one, count=5) for one in [here, there] * 8))
            ids = [one.message.id for page in pages for one in page]
            rest = [one.message.id for one in await take(here, count=100)]
            assert sorted(ids + rest) == [f"{n:03}" for n in range(60)]

    asyncio.run(check())
