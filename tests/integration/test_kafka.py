"""Services on a Kafka broker, their state in SQLite: killed, cut off, and resumed."""

import asyncio
import signal

import pytest
from tests.integration.conftest import wait_until
from tests.kafka_servers import Noida

from tropism.adapters.kafka import open_kafka
from tropism.core.envelope import Record
from tropism.core.errors import UnavailableError
from tropism.testing.log import read_all, record

APP = """
import asyncio
from tropism import App, Event, Service
class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
class Noted(Event, type="notes.noted.v1", key="order"):
    order: str
s = Service("s")
@s.on(Paid, guarantee="at_least_once")
async def note(paid: Paid) -> Noted:
    await asyncio.sleep(0.001)
    return Noted(order=paid.order)
app = App("shop", services=[s])
"""
EVENTS = 2000


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
    first = shop.start("run")
    wait_until(lambda: len(noted(shop.url)) > EVENTS // 10, lambda: first.text)
    first.process.kill()
    first.process.wait()
    assert len(noted(shop.url)) < EVENTS
    second = shop.start("run")
    wait_until(lambda: len(set(noted(shop.url))) >= EVENTS, lambda: second.text)
    found = set(noted(shop.url))
    assert second.stop() == 0
    assert {data for _, data in found} == {b'{"order":"%d"}' % n for n in range(EVENTS)}
    # A repeated output has the id of the first, by which a consumer knows it.
    assert len(found) == EVENTS
    assert "Traceback" not in second.text


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
