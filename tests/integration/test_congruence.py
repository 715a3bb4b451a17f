"""The same calls on memory, SQLite and PostgreSQL have the same results, whatever they are."""

import asyncio
import os
import tempfile

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.servers import postgres_url

from tropism.adapters.memory import MemoryStore
from tropism.adapters.postgres import open_postgres
from tropism.adapters.sqlite import open_sqlite
from tropism.core.envelope import Record
from tropism.core.errors import TropismError
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
