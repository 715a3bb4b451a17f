"""The same calls on memory, SQLite and PostgreSQL have the same results, whatever they are."""

import asyncio
import os
import tempfile

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.servers import postgres_url

from tropism.adapters.memory import MemoryStore, VirtualClock
from tropism.adapters.postgres import open_postgres
from tropism.adapters.sqlite import open_sqlite
from tropism.core.envelope import Record
from tropism.core.errors import TropismError
from tropism.ports.queue import Message, Received
from tropism.ports.state import Commit, Lease, Position, Write
from tropism.testing.log import read_all

TOPICS = ("orders", "bills")
texts = st.sampled_from(["", "a", "a\0", "a\1", "ab", "a%", "b", "\u00e9", "\U0001f6eb"])
times = st.integers(-5, 20)
records = st.builds(
    lambda number, topic, subject, time_us, extensions: Record(
        f"{number}", f"{topic}.x.v1", topic, subject, time_us, b"%d" % number, "s", extensions
    ),
    st.integers(0, 30),
    st.sampled_from(TOPICS),
    texts,
    times,
    st.none() | st.just({"causationid": "c"}),
)
batches = st.lists(records, max_size=6)
writes = st.lists(
    st.builds(Write, st.sampled_from("nm"), texts, st.none() | st.binary(max_size=3), st.none() | times),
    max_size=5,
)
consumers = st.sampled_from(["c", "d"])
tokens = st.integers(1, 4)
queues = st.sampled_from(["work", "rest"])
ids = st.sampled_from(["a", "ab", "b", "\u00e9", "\U0001f6eb", "c"])
sent = st.lists(
    st.builds(
        Message,
        ids,
        st.binary(max_size=2),
        st.sampled_from(["", "", "k", "l"]),
        st.none() | st.just({"x": "y"}),
    ),
    max_size=5,
)
# Numbers and attempts as both give them: most name a loan that stands, or stood.
receipts = st.lists(st.builds("{}.{}".format, st.integers(1, 12), st.integers(1, 3)), max_size=3, unique=True)
seconds = st.sampled_from([0.0, 0.0, 1.0, 30.0])
queue_steps = st.one_of(
    st.tuples(st.just("send"), queues, sent, seconds),
    st.tuples(st.just("send"), queues, sent, seconds),
    st.tuples(st.just("receive"), queues, st.integers(0, 4), st.sampled_from([2.0, 40.0])),
    st.tuples(st.just("receive"), queues, st.integers(1, 4), st.sampled_from([2.0, 40.0])),
    st.tuples(st.just("ack"), receipts),
    st.tuples(st.just("nack"), receipts, seconds | st.just(-1.0)),
    st.tuples(st.just("extend"), receipts, st.sampled_from([0.0, 5.0])),
    st.tuples(st.just("bury"), queues, receipts),
    st.tuples(st.just("dead"), queues, st.just("") | ids, st.integers(0, 3)),
    st.tuples(st.just("redrive"), queues, st.lists(ids, max_size=3)),
    st.tuples(st.just("discard"), queues, st.lists(ids, max_size=2)),
    st.tuples(st.just("depth"), queues),
    st.tuples(st.just("pass"), st.sampled_from([1.0, 2.0, 35.0, 700.0])),
)
steps = st.one_of(
    st.tuples(st.just("append"), batches),
    st.tuples(st.just("commit"), consumers, tokens, st.none() | st.binary(max_size=2), writes, batches),
    st.tuples(st.just("acquire"), consumers, st.sampled_from(["h", "i"])),
    st.tuples(st.just("release"), consumers, tokens),
    st.tuples(st.just("renew"), consumers, tokens),
    st.tuples(st.just("create"), st.dictionaries(st.sampled_from(TOPICS), st.integers(0, 3), max_size=2)),
    st.tuples(
        st.just("read"), st.sampled_from(TOPICS), st.integers(0, 4), st.integers(0, 5), st.integers(1, 4)
    ),
    st.tuples(st.just("get"), st.sampled_from("nm"), st.lists(texts, max_size=4)),
    st.tuples(
        st.just("scan"), st.sampled_from("nm"), texts, st.none() | texts, st.none() | times, st.integers(1, 5)
    ),
)


async def carry_out(store, step):
    match step:
        case "append", batch:
            return await store.log.append(batch)
        case "commit", consumer, token, cursor, changes, outputs:
            commit = Commit(Lease(consumer, token), Position(cursor, token), changes, outputs)
            return await store.state.commit(commit)
        case "acquire", consumer, holder:
            return await store.state.acquire(consumer, holder, lease_seconds=3600)
        case "release", consumer, token:
            return await store.state.release(Lease(consumer, token))
        case "renew", consumer, token:
            return await store.state.renew(Lease(consumer, token), lease_seconds=3600)
        case "create", topics:
            return await store.log.create_topics(topics)
        case "read", topic, number, offset, count_max:
            return dict(await store.log.read({(topic, number): offset}, count_max=count_max))
        case "get", namespace, keys:
            return list(await store.state.get(namespace, keys))
        case "scan", namespace, prefix, after, before, count_max:
            found = await store.state.scan(
                namespace, prefix=prefix, after=after, expires_before_us=before, count_max=count_max
            )
            return list(found)


async def queue_step(queue, step, queue_of):
    match step:
        case "send", name, messages, delay:
            return await queue.send(name, messages, delay_seconds=delay)
        case "receive", name, count_max, lease:
            found = list(await queue.receive(name, count_max=count_max, lease_seconds=lease))
            queue_of.update({one.receipt: one.queue for one in found})
            return found
        case "ack", receipts:
            return list(await queue.ack(loans(receipts, queue_of)))
        case "nack", receipts, delay:
            return list(await queue.nack(loans(receipts, queue_of), delay_seconds=delay))
        case "extend", receipts, lease:
            return list(await queue.renew(loans(receipts, queue_of), lease_seconds=lease))
        case "bury", name, receipts:
            return list(await queue.bury({receipt: f"by {receipt}" for receipt in receipts}, name))
        case "dead", name, after, count_max:
            return list(await queue.dead(name, after=after, count_max=count_max))
        case "redrive", name, ids:
            return await queue.redrive(name, ids)
        case "discard", name, ids:
            return await queue.discard(name, ids)
        case "depth", name:
            return await queue.depth(name)


def loans(receipts, queue_of):
    return [Received(queue_of.get(one, "work"), Message("", b""), one, 1) for one in receipts]


async def queue_outcome(queue, step, queue_of):
    try:
        return await queue_step(queue, step, queue_of)
    except TropismError as error:
        return type(error), str(error)


async def queue_contents(queue):
    return [(await queue.depth(name), list(await queue.dead(name))) for name in ("work", "rest")]


async def outcome(store, step):
    try:
        return await carry_out(store, step)
    except TropismError as error:
        return type(error), str(error)


async def everything(store):
    logs = [await read_all(store.log, topic) for topic in TOPICS]
    state = [list(await store.state.scan(namespace)) for namespace in "nm"]
    return logs, state, list(await store.state.positions())


async def compare(steps, open_it, url):
    memory = MemoryStore()
    other = await open_it(url)
    try:
        for step in steps:
            assert await outcome(other, step) == await outcome(memory, step), step
        assert await everything(other) == await everything(memory)
        await other.close()
        other = await open_it(url)
        assert await everything(other) == await everything(memory)
    finally:
        await other.close()


def examples(share):
    return max(1, int(int(os.environ.get("CONGRUENCE_EXAMPLES", "40")) * share))


@settings(max_examples=examples(1), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=25))
def test_memory_and_sqlite_agree(steps):
    """Results and errors of every call agree, and so does all that is stored, also after opening again."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(compare(steps, open_sqlite, f"sqlite:///{folder}/x.db"))


@settings(max_examples=examples(0.4), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(steps, max_size=25))
def test_memory_and_postgres_agree(steps):
    """The same of PostgreSQL, in fewer examples: each makes a schema."""
    asyncio.run(compare(steps, open_postgres, postgres_url()))


async def compare_queues(steps):
    clock, queue_of = VirtualClock(1_000_000), {}
    with tempfile.TemporaryDirectory() as folder:
        memory = MemoryStore(clock=clock)
        sqlite = await open_sqlite(f"sqlite:///{folder}/x.db", clock=clock)
        try:
            for number, step in enumerate(steps):
                if step[0] == "pass":
                    clock.advance(step[1])
                    continue
                found = await queue_outcome(sqlite.queue, step, queue_of)
                assert found == await queue_outcome(memory.queue, step, queue_of), step
                if number % 13 == 12:
                    await sqlite.close()
                    sqlite = await open_sqlite(f"sqlite:///{folder}/x.db", clock=clock)
                assert await queue_contents(sqlite.queue) == await queue_contents(memory.queue), step
        finally:
            await sqlite.close()


@settings(
    max_examples=int(os.environ.get("CONGRUENCE_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(queue_steps, max_size=40))
def test_queues_in_memory_and_sqlite_agree(steps):
    """Results and errors of every call agree, with time passing, and also after opening again in between."""
    asyncio.run(compare_queues(steps))
