"""Typed events consumed from a full JetStream stream, against the raw client and FastStream."""

import asyncio
import tempfile
import uuid

import msgspec

from bench.disk import commits_per_second
from bench.facts import Order, Ordered, orders, records
from bench.figures import figures, in_turn, needs
from bench.platforms import fill, on_sqlite
from bench.running import Tally, consume, spent
from tropism.adapters.nats import open_nats
from tropism.runtime.service import Service

EVENTS = 50_000
PEER_SHARE = 5
"""FastStream takes a fifth of them: its rate is the same, and it is the slowest."""

ROUNDS = 3
FETCH_COUNT = 500
STREAM, SUBJECT = "tropism-bench-0", "tropism.log.bench.0"
"""What the adapter calls the one partition of the topic."""


def method(size: int) -> str:
    return (
        f"{size:,} typed events of 200 bytes (CloudEvents in headers), 5,000 Zipf keys, one stream on file, "
        f"all published before; an async handler that counts, one process; from the first event handled to "
        f"the last. Ours: at least once, in order per key, cursor committed to SQLite with "
        f"synchronous=FULL. Peer: nats-py, a durable pull consumer, fetch({FETCH_COUNT}), msgspec, the same "
        f"handler, one ack of all a batch. faststream: a pull subscriber of {FETCH_COUNT}, decoded by "
        f"msgspec, acknowledged after each event, {max(1, size // PEER_SHARE):,} of them. In turn, median "
        f"of {ROUNDS}."
    )


def measure(size: int = EVENTS) -> dict[str, object]:
    needs("consume-nats", "faststream", "nats")
    from tests.nats_server import NatsServer

    with tempfile.TemporaryDirectory() as folder, NatsServer(folder) as server:
        asyncio.run(filled(server.url, size))
        part = max(1, size // PEER_SHARE)
        found = in_turn(
            ROUNDS,
            ours=lambda n: asyncio.run(ours(server.url, size, f"{folder}/{n}")),
            peer=lambda _: asyncio.run(raw(server.url, size)),
            faststream=lambda _: asyncio.run(faststream(server.url, part)),
        )
        commits = commits_per_second()
    return figures(
        found["ours"],
        found["peer"],
        "events/s",
        method(size),
        faststream=found["faststream"],
        ratio_faststream=found["ours"] / found["faststream"],
        raw_ratio=found["ours"] / commits,
    )


async def filled(url: str, size: int) -> None:
    """Fill a topic of one partition, which is one stream."""
    log = await open_nats(url)
    try:
        await log.create_topics({Ordered.event_topic: 1})
        await fill(log, records(orders(size)))
    finally:
        await log.close()


async def ours(url: str, size: int, folder: str) -> float:
    log = await open_nats(url)
    service, tally = Service(f"counting-{uuid.uuid4().hex[:8]}"), Tally(size)

    @service.on(Ordered, guarantee="at_least_once")
    async def count(_: Ordered) -> None:
        tally.add()

    try:
        async with on_sqlite(folder, log) as platform:
            return (await consume([service], platform, tally)).per_second
    finally:
        await log.close()


async def raw(url: str, size: int) -> float:
    import nats
    from nats.js.api import AckPolicy, ConsumerConfig

    client = await nats.connect(url)
    config = ConsumerConfig(ack_policy=AckPolicy.ALL, max_ack_pending=10_000)
    pulled = await client.jetstream().pull_subscribe(
        SUBJECT, durable=uuid.uuid4().hex, stream=STREAM, config=config
    )
    tally, decode = Tally(size), msgspec.json.Decoder(Order).decode

    async def handle(_: Order) -> None:
        tally.add()

    while not tally.full.is_set():
        messages = await pulled.fetch(FETCH_COUNT, timeout=5)
        for message in messages:
            await handle(decode(message.data))
        await messages[-1].ack()
    await client.flush()
    found = spent(tally)
    await client.close()
    return found.per_second


async def faststream(url: str, size: int) -> float:
    from fast_depends.msgspec import MsgSpecSerializer
    from faststream.nats import JStream, NatsBroker, PullSub

    broker, tally = NatsBroker(url, logger=None, serializer=MsgSpecSerializer()), Tally(size)

    @broker.subscriber(
        SUBJECT,
        stream=JStream(STREAM, declare=False),
        durable=uuid.uuid4().hex,
        pull_sub=PullSub(batch_size=FETCH_COUNT, timeout=1.0),
    )
    async def count(_: Order) -> None:
        tally.add()

    await broker.start()
    await tally.full.wait()
    found = spent(tally)
    await broker.stop()
    return found.per_second
