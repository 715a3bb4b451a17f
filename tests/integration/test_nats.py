"""The log on a real NATS server that is killed, stopped and started again."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from pathlib import Path
from time import monotonic

import msgspec
import nats
import pytest
from tests.integration.apart import ordered
from tests.nats_server import NatsServer, shared_server

from tropism.adapters.local.clock import SystemClock
from tropism.adapters.nats import open_nats
from tropism.adapters.sqlite import open_sqlite
from tropism.core.envelope import Record
from tropism.core.errors import ConflictError, InvalidInputError, UnavailableError
from tropism.runtime.patience import patiently
from tropism.testing.log import read_all, record

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(tmp_path):
    """A server of the test's own, which syncs whatever it acknowledges."""
    with NatsServer(tmp_path, always=True) as running:
        yield running


@asynccontextmanager
async def opened(server, **options):
    said = "&".join(f"{name}={value}" for name, value in options.items())
    log = await open_nats(f"{server.url}?{said}")
    try:
        yield log
    finally:
        await log.close()


async def append_patiently(log, records):
    while True:
        try:
            return await log.append(records)
        except UnavailableError:
            await asyncio.sleep(0.05)


async def until(condition):
    """Wait for something that nothing in this process can tell of."""
    while not condition():  # noqa: ASYNC110 (there is no event to wait for)
        await asyncio.sleep(0.005)


def ids_of(pages):
    return [stored.record.id for page in pages.values() for stored in page]


@pytest.mark.parametrize("atomic", ["true", "false"])
def test_nothing_acknowledged_is_lost_when_the_broker_is_killed(server, atomic):
    """Batches go on being appended while the broker dies again and again: each is there once, and in order."""

    async def check():
        acknowledged = []
        async with opened(server, timeout_seconds=1, sync="always", atomic=atomic) as log:
            stop = asyncio.Event()

            async def append(name):
                batch = 0
                while not stop.is_set():
                    size = 1 + batch % 37
                    records = [record(f"{name}-{batch:04}-{n:03}", f"{name}{n % 3}") for n in range(size)]
                    await append_patiently(log, records)
                    acknowledged.extend(each.id for each in records)
                    batch += 1

            tasks = [asyncio.create_task(append(name)) for name in "abc"]
            for _ in range(4):
                reached = len(acknowledged) + 150
                await until(lambda reached=reached: len(acknowledged) >= reached)
                server.kill()
                await asyncio.sleep(0.05)
                await asyncio.to_thread(server.start)
            stop.set()
            await asyncio.gather(*tasks)
            pages = await read_all(log)
        found = ids_of(pages)
        assert sorted(found) == sorted(acknowledged)
        for page in pages.values():
            for subject in {stored.record.subject for stored in page}:
                ids = [stored.record.id for stored in page if stored.record.subject == subject]
                assert ids == sorted(ids), subject

    asyncio.run(check())


def test_calls_during_an_outage_end_within_a_bound_and_work_again_afterwards(server):
    """Without a broker every call raises UnavailableError; with it again, the same log goes on."""

    async def check():
        async with opened(server, timeout_seconds=0.5) as log:
            await log.append([record("a")])
            server.kill()
            for call in (
                lambda: log.append([record("b")]),
                lambda: log.read({("orders", 0): 0}, count_max=10),
                lambda: log.ends(["orders"]),
                lambda: log.ends(["bills"]),
                lambda: log.create_topics({"bills": 1}),
                lambda: log.wait_beyond({("orders", 0): 10}),
            ):
                started = monotonic()
                with pytest.raises(UnavailableError) as caught:
                    await call()
                assert monotonic() - started < 5
                assert str(caught.value).startswith("Cannot ")
            await asyncio.to_thread(server.start)
            await log.append([record("b"), record("c")])
            assert ids_of(await read_all(log)) == ["a", "b", "c"]

    asyncio.run(check())


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see that it stopped")
def test_a_deaf_connection_is_replaced(server):
    """A broker that takes what is sent and never answers is as good as none, until it answers again."""

    async def check():
        async with opened(server, timeout_seconds=0.3) as log:
            await log.append([record("a")])
            server.process.send_signal(signal.SIGSTOP)
            await until(lambda: "State:\tT" in Path(f"/proc/{server.process.pid}/status").read_text("utf-8"))
            with pytest.raises(UnavailableError):
                await log.append([record("b")])
            with pytest.raises(UnavailableError):
                await log.ends(["orders"])
            server.process.send_signal(signal.SIGCONT)
            await append_patiently(log, [record("b"), record("c")])
            assert ids_of(await read_all(log)) == ["a", "b", "c"]

    asyncio.run(check())


def test_waiting_outlasts_a_restart(server):
    """Whoever waited when the broker was killed, and waits again, hears of what comes afterwards."""

    async def check():
        async with opened(server, timeout_seconds=0.5) as log, opened(server, timeout_seconds=0.5) as other:
            await log.create_topics({"orders": 1})

            async def wait():
                while True:
                    try:
                        return await log.wait_beyond({("orders", 0): 0})
                    except UnavailableError:
                        await asyncio.sleep(0.02)

            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0.1)
            server.kill()
            await asyncio.to_thread(server.start)
            await asyncio.sleep(0.3)
            assert not waiting.done()
            await append_patiently(other, [record("a")])
            started = monotonic()
            await asyncio.wait_for(waiting, 10)
            assert monotonic() - started < 3, "it was seen by the slow look only"

    asyncio.run(check())


def test_many_writers_agree_on_when_a_log_knew_what():
    """``known_us`` is the running maximum of times along a partition, whoever appended, and whoever reads."""

    async def check():
        prefix = "agreed"
        async with (
            opened(shared_server(), prefix=prefix) as one,
            opened(shared_server(), prefix=prefix) as two,
        ):
            await one.create_topics({"orders": 1})

            async def append(log, name):
                for n in range(40):
                    times = [(n * 7919 + k * 104729) % 10_000 for k in range(3)]
                    records = [record(f"{name}-{n}-{k}", time_us=t) for k, t in enumerate(times)]
                    await append_patiently(log, records)

            await asyncio.gather(append(one, "a"), append(two, "b"), append(one, "c"))
            (page,) = (await read_all(one)).values()
            assert len(page) == 360
            highest = -1
            for stored in page:
                highest = max(highest, stored.record.time_us)
                assert stored.known_us == highest
            assert (await read_all(two, count_max=7)) == {("orders", 0): page}

    asyncio.run(check())


def test_credentials_are_never_told(tmp_path):
    """Refused credentials, and URLs that make no sense, are told without what they hold."""

    async def check():
        user = {"user": "ada", "password": "secret-1"}
        with NatsServer(tmp_path, authorization=user) as server:
            address = server.url.removeprefix("nats://")
            log = await open_nats(f"nats://ada:secret-1@{address}")
            assert "secret" not in log.capabilities.durability + log.capabilities.commit_domain
            await log.close()
            for url in (
                f"nats://ada:secret-2@{address}",
                f"nats://secret-2@{address}",
                f"nats://{address}?token=secret-2&sync=sometimes",
                f"nats://ada:secret-2@{address}?secret=1",
            ):
                with pytest.raises(InvalidInputError) as caught:
                    await open_nats(url)
                assert "secret-2" not in f"{caught.value!r} {caught.value.__cause__!r}"
            server.kill()
            with pytest.raises(UnavailableError) as missing:
                await open_nats(f"nats://ada:secret-1@{address}?timeout_seconds=0.5")
            assert "secret-1" not in f"{missing.value!r} {missing.value.__cause__!r}"

    asyncio.run(check())


def test_streams_that_remember_less_than_declared_are_refused():
    """Where a stream was made with a shorter window than the URL declares, nothing is appended to it."""

    async def check():
        async with opened(shared_server(), prefix="shorter", dedup_seconds=60) as log:
            await log.append([record("a")])
        async with opened(shared_server(), prefix="shorter", dedup_seconds=90) as log:
            assert log.capabilities.dedup_seconds == 90
            with pytest.raises(ConflictError, match="dedup_seconds=60"):
                await log.append([record("b")])

    asyncio.run(check())


def test_what_is_too_large_with_its_attributes_is_refused_before_it_is_sent():
    """The server's bound holds for payload and attributes together; nothing of the call is stored."""

    async def check():
        async with opened(shared_server(), prefix="large") as log:
            large = Record("b", "orders.placed.v1", "orders", "k" * 40_000, 0, bytes(1_020_000))
            with pytest.raises(InvalidInputError, match="attributes"):
                await log.append([record("a"), large])
            await log.append([record("c", data=bytes(log.capabilities.record_bytes_max))])
            assert ids_of(await read_all(log)) == ["c"]

    asyncio.run(check())


async def facts_of(log):
    """Return, per type and key, the numbers that lie in the log, in order."""
    found = {}
    for topic in ("numbers", "answers"):
        for page in (await read_all(log, topic)).values():
            for stored in page:
                of = found.setdefault((topic, stored.record.subject), [])
                of.append(json.loads(stored.record.data)["n"])
    return found


def outboxes(path):
    """Return how much lies in the outboxes of a database that another process writes."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        (found,) = database.execute("SELECT count(*) FROM state WHERE namespace LIKE '%/outbox'").fetchone()
    return found


def test_a_thousand_events_have_their_effect_once_though_broker_and_worker_are_killed(server, tmp_path):
    """Log on NATS, state on SQLite: each event is numbered and answered once, in the order of its key."""
    url, path = f"{server.url}?timeout_seconds=1&sync=always", tmp_path / "state.db"
    events, keys = 1000, 20

    def work():
        command = [sys.executable, "-m", "tests.integration.apart", url, str(path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])}
        return subprocess.Popen(command, cwd=ROOT, env=environment)

    async def check():
        worker = work()
        try:
            async with opened(server, timeout_seconds=1) as log:
                await patiently(SystemClock(), lambda: log.create_topics({"orders": 4}))

                async def answered():
                    ends = await patiently(SystemClock(), lambda: log.ends(["answers"]))
                    return sum(ends.values())

                async def publish():
                    for start in range(0, events, 20):
                        some = [ordered(n, f"k{n % keys}") for n in range(start, start + 20)]
                        await append_patiently(log, some)
                        await asyncio.sleep(0.01)

                publishing = asyncio.create_task(publish())
                for kills, reached in enumerate((100, 300, 500, 700)):
                    while await answered() < reached:
                        assert worker.poll() is None
                        await asyncio.sleep(0.01)
                    if kills % 2:
                        server.kill()
                        await asyncio.to_thread(server.start)
                    else:
                        worker.kill()
                        worker.wait()
                        worker = work()
                await publishing
                while await answered() < events:
                    assert worker.poll() is None
                    await asyncio.sleep(0.02)
                # What would come twice, would come now; what is published leaves the outbox a little later.
                await asyncio.sleep(0.5)
                await until(lambda: not outboxes(path))
                facts = await facts_of(log)
        finally:
            worker.kill()
            worker.wait()
        once = list(range(1, events // keys + 1))
        assert facts == {(topic, f"k{k}"): once for topic in ("numbers", "answers") for k in range(keys)}
        store = await open_sqlite(f"sqlite:///{path}")
        try:
            for service in ("first", "second"):
                counts = await store.state.scan(f"{service}/state/n")
                assert [msgspec.msgpack.decode(entry.value) for entry in counts] == [len(once)] * keys
                assert await store.state.scan(f"{service}/outbox") == []
        finally:
            await store.close()

    asyncio.run(check())


FOREIGN = (
    {"Status": "204"},
    {"Status": "200 OK", "Nats-Sequence": "x", "Nats-Num-Pending": "x", "Nats-Time-Stamp": "x"},
    {"Tropism-Times": "yesterday"},
    {"Tropism-Times": f"{'9' * 30} {'9' * 30}"},
    {"Tropism-Times": "5 6"},
    {"ce-id": "a", "ce-time": "2001-01-01T00:00:00Z"},
    {"ce-id": "b", "ce-time": "soon"},
    {"Content-Type": "application/cloudevents+json"},
)
"""Headers that mean something to the server, to its client or to us, said by somebody else."""


def test_whatever_others_put_into_a_stream_is_read_and_holds_up_nothing():
    """All is read, in any pages, by every reader alike; and nothing is known before what lies in front of it."""

    async def check():
        async with opened(shared_server(), prefix="foreign", partitions=1) as log:
            client = await nats.connect(shared_server().url)
            for number, headers in enumerate(FOREIGN):
                await log.append([record(f"{number}", "k")])
                body = b"[" * 5000 if "Content-Type" in headers else b"{}"
                await client.jetstream().publish("foreign.log.orders.0", body, headers=headers)
            await log.append([record("last", "k")])
            await client.close()
            where, count = ("orders", 0), 2 * len(FOREIGN) + 1
            found = (await log.read({where: 0}, count_max=100))[where]
            known = [each.known_us for each in found]
            assert [each.offset for each in found] == list(range(count))
            assert known == sorted(known)
            one_by_one = [(await log.read({where: n}, count_max=1))[where][0] for n in range(count)]
            # What says when it was known is not believed, where it says nothing that can be.
            lied = 2 * FOREIGN.index({"Tropism-Times": "5 6"}) + 1
            assert [e for n, e in enumerate(one_by_one) if n != lied] == [
                e for n, e in enumerate(found) if n != lied
            ]

    asyncio.run(check())
