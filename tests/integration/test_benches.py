"""The benches against servers do their work at a small size: ours, the raw client, and FastStream."""

import asyncio

import pytest
from bench import (
    consume_kafka,
    consume_nats,
    consume_postgres,
    decide_sqlite,
    decide_sqlite_columnar,
    deciding,
)
from bench.facts import orders, records
from tests.nats_server import NatsServer
from tests.servers import postgres, postgres_url

SIZE = 200

# What FastStream's own dependencies warn of is not for us to mend.
pytestmark = pytest.mark.filterwarnings("default")


def test_consuming_from_kafka(tmp_path):
    """All three take every event of the topic, and say how fast."""

    async def all_three():
        servers, prefix = await consume_kafka.filled(records(orders(SIZE)))
        mine = await consume_kafka.ours(servers, prefix, SIZE, str(tmp_path))
        raw = await consume_kafka.raw(servers, prefix, SIZE)
        peer = await consume_kafka.faststream(servers, prefix, SIZE // 10, acknowledge_first=False)
        return mine.count, raw.count, peer

    mine, raw, peer = asyncio.run(all_three())
    assert (mine, raw) == (SIZE, SIZE)
    assert peer > 0


def test_consuming_from_nats(tmp_path):
    """All three take every event of the stream, and say how fast."""

    async def all_three(url):
        await consume_nats.filled(url, SIZE)
        mine = await consume_nats.ours(url, SIZE, str(tmp_path))
        return mine, await consume_nats.raw(url, SIZE), await consume_nats.faststream(url, SIZE // 10)

    with NatsServer(tmp_path) as server:
        assert min(asyncio.run(all_three(server.url))) > 0


def test_consuming_from_postgres():
    """Ours and psycopg add every event to the total of its key."""
    mine, batch = asyncio.run(consume_postgres.ours(postgres_url(), SIZE))
    url = postgres_url(postgres()).partition("&schema=")[0]
    assert mine > 0
    assert 1 <= batch <= SIZE
    assert consume_postgres.raw(url, SIZE, round(batch)) > 0


@pytest.mark.parametrize("bench", [decide_sqlite, decide_sqlite_columnar])
def test_the_peer_decides(tmp_path, monkeypatch, bench):
    """FastStream asks the same model about every event, and publishes what it says."""
    monkeypatch.setattr(deciding, "TREES", 3)
    monkeypatch.setattr(deciding, "TRAINING_ROWS", 200)

    async def decide(url):
        await decide_sqlite.published(url, deciding.asked(20))
        return await bench.faststream(url, 20)

    deciding.trained.cache_clear()
    with NatsServer(tmp_path) as server:
        assert asyncio.run(decide(server.url)) > 0
    deciding.trained.cache_clear()
