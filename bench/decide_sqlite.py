"""Durable decisions, a handler call each, against FastStream on JetStream asking the same model."""

import asyncio
import statistics
import tempfile
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from bench.deciding import NAMES, TREES, Asked, asked, model, promote, trained
from bench.disk import commits_per_second
from bench.facts import records
from bench.figures import figures, needs
from bench.platforms import fill, on_sqlite
from bench.running import Spent, Tally, consume, spent
from tropism.core.event import Event
from tropism.models.events import DecisionMade
from tropism.models.serving import Decider
from tropism.ports.platform import Platform
from tropism.runtime.inject import use
from tropism.runtime.service import Service

EVENTS = 20_000
PEER_SHARE = 10
ROUNDS = 3
FETCH_COUNT = 500
STREAM, SUBJECT, DECIDED = "bench", "bench.asked", "bench.decided"


def method(size: int) -> str:
    return (
        f"{size:,} events of {len(NAMES)} features, 5,000 Zipf keys, all published before; each asks a "
        f"hist_gradient_boosting of {TREES} trees in a handler call of its own. Ours: neighbours share a "
        f"prediction; the decision, with features, output and version, is an event in the commit of the "
        f"cursor (SQLite, synchronous=FULL), effectively once; the loop's own services are not running. "
        f"Peer: FastStream pulling {FETCH_COUNT} at a time from JetStream, decoded by msgspec, "
        f"predict_proba an event on one thread, the output published to JetStream and awaited (on its disk "
        f"every 2 minutes), at least once, {max(1, size // PEER_SHARE):,} of the events. In turn, median of "
        f"{ROUNDS}."
    )


def measure(size: int = EVENTS) -> dict[str, object]:
    return compare("decide-sqlite", size, method(size), asking, faststream)


def compare(
    name: str,
    size: int,
    told: str,
    service: Callable[[Tally], Service],
    peer: Callable[[str, int], Any],
) -> dict[str, object]:
    """Measure a service of ours against a peer on JetStream, in turn."""
    needs(name, "sklearn", "faststream", "nats")
    from tests.nats_server import NatsServer

    part = max(1, size // PEER_SHARE)
    events, mine, other = asked(size), [], []
    with tempfile.TemporaryDirectory() as folder, NatsServer(folder) as server:
        asyncio.run(published(server.url, events[:part]))
        for _ in range(ROUNDS):
            mine.append(asyncio.run(ours(service, events)))
            other.append(asyncio.run(peer(server.url, part)))
    rate = statistics.median(found.per_second for found in mine)
    return figures(
        rate,
        statistics.median(other),
        "decisions/s",
        told,
        cpu_us=statistics.median(found.cpu_us for found in mine),
        raw_ratio=rate / commits_per_second(),
    )


async def ours(service: Callable[[Tally], Service], events: Sequence[Event]) -> Spent:
    tally = Tally(len(events))
    with tempfile.TemporaryDirectory() as folder:
        async with on_sqlite(folder) as platform:
            await promote(platform)
            await fill(platform.log, records(events))
            found = await consume([service(tally)], platform, tally)
            await check(platform, len(events))
    return found


async def check(platform: Platform, wanted: int) -> None:
    """Make sure that there is a decision an event, and that the model made it."""
    starts = dict.fromkeys(await platform.log.ends([DecisionMade.event_topic]), 0)
    decode, found = msgspec.json.Decoder(DecisionMade).decode, 0
    for page in (await platform.log.read(starts, count_max=wanted)).values():
        found += sum(decode(stored.record.data).version == 1 for stored in page)
    assert found == wanted, f"{found} decisions, not {wanted}"


def asking(tally: Tally) -> Service:
    service, served = Service("asking"), model()

    @service.on(Asked)
    async def ask(event: Asked, decide: Decider = use(served)) -> None:
        tally.begin()
        await decide(event)
        tally.add()

    return service


class Question(msgspec.Struct, frozen=True):
    """An event without anything of ours."""

    request: str
    customer: str
    x: list[float]


async def published(url: str, events: Sequence[Event]) -> None:
    """Fill a stream with events, as plain JSON."""
    import nats

    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name=STREAM, subjects=[SUBJECT, DECIDED])
    encode = msgspec.json.Encoder().encode
    headers = {"content-type": "application/json"}
    for at in range(0, len(events), FETCH_COUNT):
        some = events[at : at + FETCH_COUNT]
        await asyncio.gather(*(stream.publish(SUBJECT, encode(each), headers=headers) for each in some))
    await client.close()


async def faststream(url: str, size: int) -> float:
    from fast_depends.msgspec import MsgSpecSerializer
    from faststream.nats import JStream, NatsBroker, PullSub
    from threadpoolctl import threadpool_limits

    broker, tally = NatsBroker(url, logger=None, serializer=MsgSpecSerializer()), Tally(size)
    predict_proba = trained()[0].estimator.predict_proba

    @broker.subscriber(
        SUBJECT,
        stream=JStream(STREAM, declare=False),
        durable=uuid.uuid4().hex,
        pull_sub=PullSub(batch_size=FETCH_COUNT, timeout=1.0),
    )
    async def ask(question: Question) -> None:
        tally.begin()
        output = float(predict_proba(np.array([question.x]))[0, 1])
        decided = {"customer": question.customer, "output": output}
        await broker.publish(decided, DECIDED, stream=STREAM, timeout=30.0)
        tally.add()

    with threadpool_limits(1):
        await broker.start()
        await tally.full.wait()
        found = spent(tally)
        await broker.stop()
    return found.per_second
