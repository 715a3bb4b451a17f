"""Services on a Kafka broker, their state in SQLite: killed, cut off, and resumed."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.integration.apart import ordered
from tests.integration.conftest import wait_until
from tests.kafka_servers import Noida, RefusingBroker

from tropism.adapters.kafka import open_kafka
from tropism.core.envelope import Record
from tropism.core.errors import UnavailableError
from tropism.testing.log import read_all, record

APP = """
import asyncio
from pathlib import Path
from tropism import App, Event, Service
class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
class Noted(Event, type="notes.noted.v1", key="order"):
    order: str
s = Service("s")
@s.on(Paid, guarantee="at_least_once")
async def note(paid: Paid) -> Noted:
    while int(paid.order) >= 1000 and Path("held").exists():
        await asyncio.sleep(0.05)
    return Noted(order=paid.order)
app = App("shop", services=[s])
"""
EVENTS = 2000
ROOT = Path(__file__).parents[2]


@pytest.fixture
def broker(tmp_path):
    made = Noida(tmp_path)
    yield made
    made.stop(signal.SIGKILL)


@pytest.fixture
def shop(folder, broker):
    folder.write("shop.py", APP)
    url = broker.url(timeout_seconds=5)
    folder.write(
        "tropism.toml", f'app = "shop:app"\nlog = "{url}"\nstate = "sqlite:///./.tropism/tropism.db"\n'
    )
    folder.url = url
    return folder


def paid(numbers):
    return [
        Record(f"paid-{n:05}", "orders.paid.v1", "orders", f"k{n % 50}", 0, b'{"order": "%d"}' % n)
        for n in numbers
    ]


def with_log(url, call):
    async def run():
        log = await open_kafka(url)
        try:
            return await call(log)
        finally:
            await log.close()

    return asyncio.run(run())


def noted(url):
    """Return the ids and payloads of what was noted, in all partitions."""
    pages = with_log(url, lambda log: read_all(log, "notes"))
    return [(stored.record.id, stored.record.data) for page in pages.values() for stored in page]


def test_a_killed_worker_loses_nothing(shop):
    """Killed with much in flight, and started again: every event is handled, repeated outputs have one id."""
    with_log(shop.url, lambda log: log.append(paid(range(EVENTS))))
    shop.write("held", "")
    first = shop.start("run")
    wait_until(lambda: len(noted(shop.url)) > EVENTS // 10, lambda: first.text)
    first.process.kill()
    first.process.wait()
    assert len(noted(shop.url)) < EVENTS
    (shop.path / "held").unlink()
    second = shop.start("run")
    wait_until(lambda: len(set(noted(shop.url))) >= EVENTS, lambda: second.text)
    found = set(noted(shop.url))
    assert second.stop() == 0
    assert {data for _, data in found} == {b'{"order":"%d"}' % n for n in range(EVENTS)}
    # A repeated output has the id of the first, by which a consumer knows it.
    assert len(found) == EVENTS
    assert "Traceback" not in second.text


def test_with_transactions_a_killed_worker_has_its_effect_once(broker):
    """Place, state and outputs are one transaction: readers of what is committed see each effect once."""
    url, events, keys = broker.url(transactions="true", partitions=2), 120, 10
    orders = [ordered(n, f"k{n % keys}") for n in range(events)]
    with_log(url, lambda log: log.append(orders))
    worker = Worker(url)
    for reached in (20, 60):
        wait_until(lambda reached=reached: len(answers(url)) >= reached)
        worker.kill()
        worker = Worker(url)
    wait_until(lambda: len(answers(url)) >= events)
    worker.kill()
    assert sorted(answers(url)) == sorted((f"k{n % keys}", 1 + n // keys) for n in range(events))


class Worker:
    """A process at work on a log and a state that are both on Kafka."""

    def __init__(self, url):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)])}
        command = [sys.executable, "-m", "tests.integration.apart", url, ""]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment)

    def kill(self):
        self.process.kill()
        self.process.wait()


def answers(url):
    """Return whose answers, with which numbers, lie in the log."""
    pages = with_log(url, lambda log: read_all(log, "answers"))
    found = [msgspec.json.decode(stored.record.data) for page in pages.values() for stored in page]
    return [(each["who"], each["n"]) for each in found]


def test_state_on_kafka_needs_transactions(shop):
    """Without them, outputs and state would not be committed together: it is refused, with the remedy."""
    shop.write("tropism.toml", f'app = "shop:app"\nlog = "{shop.url}"\nstate = "{shop.url}"\n')
    assert "transactions=true" in shop.run("run", code=1).err


def test_a_broker_that_comes_back_is_taken_up_again(shop, broker):
    """While the broker is away all waits; when it is back, what was published before and after is handled."""
    with_log(shop.url, lambda log: log.append(paid(range(100))))
    running = shop.start("run")
    wait_until(lambda: len(noted(shop.url)) == 100, lambda: running.text)
    broker.stop()
    with pytest.raises(UnavailableError, match="brokers do not answer"):
        with_log(shop.url, lambda log: log.append(paid([0])))
    assert running.process.poll() is None
    broker.start()
    with_log(shop.url, lambda log: log.append(paid(range(100, 200))))
    wait_until(lambda: len(noted(shop.url)) == 200, lambda: running.text)
    assert running.stop() == 0
    assert "Traceback" not in running.text


def test_calls_end_within_their_bound_while_no_broker_answers(broker):
    """Without a broker every call ends with an error that says so; with it back, the same log goes on."""

    async def run():
        log = await open_kafka(broker.url(timeout_seconds=1))
        await log.append([record("a")])
        (where,) = [key for key, page in (await read_all(log)).items() if page]
        wait = asyncio.ensure_future(log.wait_beyond({where: 1}))
        broker.stop()
        for call in (
            log.append([record("b")]),
            log.read({where: 0}, count_max=1),
            log.ends(["orders"]),
            log.create_topics({"bills": 1}),
        ):
            async with asyncio.timeout(10):
                with pytest.raises(UnavailableError, match="brokers do not answer"):
                    await call
        assert not wait.done()
        broker.start()
        await again(lambda: log.append([record("c")]))
        await wait
        # What failed may have been stored all the same.
        ids = {stored.record.id for page in (await again(lambda: read_all(log))).values() for stored in page}
        assert {"a", "c"} <= ids <= {"a", "b", "c"}
        await log.close()

    asyncio.run(run())


async def again(call):
    """Make a call until the broker answers, within a bound."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except UnavailableError:
                await asyncio.sleep(0)


@pytest.mark.parametrize("transactions", ["false", "true"])
def test_readers_at_many_places_are_told_the_same(broker, transactions):
    """Whatever is read from wherever, by several at once, is what lies there, with gaps between or without."""
    kinds = ["placed", "paid", "sent"]

    async def run():
        log = await open_kafka(broker.url(transactions=transactions, partitions=2))
        for start in range(0, 600, 40):
            await log.append(
                [record(f"{n:04}", f"k{n}", what=kinds[n % 3]) for n in range(start, start + 40)]
            )
        whole = await read_all(log)
        assert sum(map(len, whole.values())) == 600
        await asyncio.gather(*(wander(log, whole, seed) for seed in range(6)))
        await log.close()

    async def wander(log, whole, seed):
        chance = random.Random(seed)
        cursors = dict.fromkeys(whole, 0)
        for _ in range(40):
            for where in whole:
                if chance.random() < 0.3:
                    cursors[where] = chance.randrange(0, whole[where][-1].offset + 3)
            count, without = (
                chance.randrange(1, 60),
                {f"orders.{kind}.v1" for kind in chance.sample(kinds, 1)},
            )
            asked = dict(chance.sample(sorted(cursors.items()), chance.randrange(1, 3)))
            found = await log.read(asked, count_max=count, without=without)
            for where, cursor in asked.items():
                expected = page_of(whole[where], cursor, count, without)
                page = found.get(where, ())
                assert [stored.offset for stored in page] == [stored.offset for stored in expected]
                assert [stored.record for stored in page] == [stored.record for stored in expected]
                if page:
                    cursors[where] = page[-1].offset + 1

    asyncio.run(run())


def page_of(records, cursor, count, without):
    rest = [stored for stored in records if stored.offset >= cursor]
    page = [stored for stored in rest if stored.record.type not in without][:count]
    if len(page) < count and rest and (not page or page[-1] is not rest[-1]):
        page.append(rest[-1])
    return page


def test_a_refused_login_is_told_without_its_secrets():
    """The error says that it is the login, and what to look at; never with what."""

    async def run():
        settings = (
            "security.protocol=SASL_PLAINTEXT&sasl.mechanism=PLAIN&sasl.username=u&sasl.password=topsecret"
        )
        await open_kafka(f"kafka://{refusing.servers}?timeout_seconds=3&{settings}")

    with RefusingBroker() as refusing:
        with pytest.raises(UnavailableError, match="did not let it log in.*sasl.username") as raised:
            asyncio.run(run())
        refusing.shutdown()
    assert "topsecret" not in str(raised.value)
