"""Typed events consumed from a full Kafka topic, against FastStream and the raw client on the same broker."""

import asyncio
import sys
import tempfile
import uuid
from functools import partial

import msgspec

from bench.disk import commits_per_second
from bench.facts import Order, Ordered, orders, records
from bench.figures import figures, in_turn, needs
from bench.platforms import fill, on_sqlite
from bench.running import Spent, Tally, consume, spent
from tropism.adapters.kafka import open_kafka
from tropism.core.envelope import Record
from tropism.core.event import topic_of
from tropism.runtime.service import Service

EVENTS = 100_000
PEER_SHARE = 10
"""FastStream takes a tenth of them: its rate is the same, and nobody waits minutes for it."""

ROUNDS = 3
PARTITIONS = 4
"""As many as the mock gives a topic."""

RAW_COUNT = 500


def method(size: int) -> str:
    return (
        f"{size:,} typed events of 200 bytes (CloudEvents in headers), 5,000 Zipf keys, 4 partitions, all "
        f"published before to librdkafka's mock of three brokers (lz4), which answers faster than any broker "
        f"here; an async handler that counts, one process; from the first event handled to the last. Ours: "
        f"at least once, in order per key, cursor committed to SQLite with synchronous=FULL. Peer: "
        f"FastStream on the same client as it comes (acknowledged before handled, so at most once), "
        f"{max(1, size // PEER_SHARE):,} of the events, decoded by msgspec; same_guarantee: FastStream "
        f"acknowledging after each event. raw: confluent consume({RAW_COUNT}) in a thread, msgspec, the "
        f"same handler, an offset commit a batch. In turn, median of {ROUNDS}."
    )


def measure(size: int = EVENTS) -> dict[str, object]:
    needs("consume-kafka", "faststream", "confluent_kafka")
    with tempfile.TemporaryDirectory() as folder:
        servers, prefix = asyncio.run(filled(records(orders(size))))
        part = max(1, size // PEER_SHARE)
        found = in_turn(
            ROUNDS,
            ours=lambda n: asyncio.run(ours(servers, prefix, size, f"{folder}/{n}")).per_second,
            raw=lambda _: asyncio.run(raw(servers, prefix, size)).per_second,
            peer=lambda _: asyncio.run(faststream(servers, prefix, part, acknowledge_first=True)),
            same=lambda _: asyncio.run(faststream(servers, prefix, part, acknowledge_first=False)),
        )
        commits = commits_per_second()
    return figures(
        found["ours"],
        found["peer"],
        "events/s",
        method(size),
        raw=found["raw"],
        of_raw=found["ours"] / found["raw"],
        same_guarantee=found["same"],
        ratio_same_guarantee=found["ours"] / found["same"],
        raw_ratio=found["ours"] / commits,
    )


async def filled(made: list[Record]) -> tuple[str, str]:
    """Fill a topic of the mock, and return its brokers and our prefix."""
    from tests.kafka_servers import mock_servers, url_of

    servers = mock_servers()
    url = url_of(servers, create="broker", **{"compression.type": "lz4"})
    log = await open_kafka(url)
    try:
        await fill(log, made)
        firsts = await log.read(dict.fromkeys(await log.ends([made[0].topic]), 0), count_max=1)
    finally:
        await log.close()
    if any(page[0].offset for page in firsts.values()):
        sys.exit("Cannot measure so many events: the mock has dropped the first. Choose a smaller --size.")
    return servers, url.partition("prefix=")[2].partition("&")[0]


async def ours(servers: str, prefix: str, size: int, folder: str) -> Spent:
    log = await open_kafka(f"kafka://{servers}?prefix={prefix}&create=broker")
    service, tally = Service(f"counting-{uuid.uuid4().hex[:8]}"), Tally(size)

    @service.on(Ordered, guarantee="at_least_once")
    async def count(_: Ordered) -> None:
        tally.add()

    try:
        async with on_sqlite(folder, log) as platform:
            return await consume([service], platform, tally)
    finally:
        await log.close()


async def raw(servers: str, prefix: str, size: int) -> Spent:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": uuid.uuid4().hex, "enable.auto.commit": False}
    )
    topic = f"{prefix}{topic_of(Ordered.event_type)}"
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    tally, decode = Tally(size), msgspec.json.Decoder(Order).decode

    async def handle(_: Order) -> None:
        tally.add()

    while not tally.full.is_set():
        messages = await asyncio.to_thread(consumer.consume, RAW_COUNT, 0.2)
        for message in messages:
            await handle(decode(message.value()))
        if messages:
            await asyncio.to_thread(partial(consumer.commit, asynchronous=False))
    found = spent(tally)
    await asyncio.to_thread(consumer.close)
    return found


async def faststream(servers: str, prefix: str, size: int, *, acknowledge_first: bool) -> float:
    from fast_depends.msgspec import MsgSpecSerializer
    from faststream import AckPolicy
    from faststream.confluent import KafkaBroker, TopicPartition

    broker = KafkaBroker(servers.split(","), logger=None, serializer=MsgSpecSerializer())
    tally, topic = Tally(size), f"{prefix}{topic_of(Ordered.event_type)}"

    @broker.subscriber(
        # Assigned, not subscribed to: the mock cannot create topics, and joining a group is not the work.
        partitions=[TopicPartition(topic, number, 0, declare=False) for number in range(PARTITIONS)],
        group_id=uuid.uuid4().hex,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.ACK_FIRST if acknowledge_first else AckPolicy.NACK_ON_ERROR,
    )
    async def count(_: Order) -> None:
        tally.add()

    await broker.start()
    await tally.full.wait()
    found = spent(tally)
    await broker.stop()
    return found.per_second
