"""Durable decisions in batches of columns, against FastStream on JetStream in batches."""

import asyncio
import uuid

import numpy as np

from bench.decide_sqlite import DECIDED, FETCH_COUNT, STREAM, SUBJECT, Question, compare
from bench.deciding import NAMES, TREES, Asked, model, trained
from bench.running import Tally, spent
from tropism.models.serving import Decider
from tropism.runtime.batch import Batch
from tropism.runtime.inject import use
from tropism.runtime.service import Service

EVENTS = 50_000
ROUNDS = 3


def method(size: int) -> str:
    return (
        f"{size:,} events of {len(NAMES)} features, 5,000 Zipf keys, all published before, decided on by a "
        f"hist_gradient_boosting of {TREES} trees in handlers of Batch[T]. Ours: every decision, with "
        f"features, output and version, is an event in the commit of the cursor (SQLite, synchronous=FULL), "
        f"effectively once; the loop's own services are not running. Peer: FastStream in batches of "
        f"{FETCH_COUNT} from JetStream, decoded by msgspec, one predict_proba a batch on one thread, every "
        f"output published to JetStream and awaited together (on its disk every 2 minutes), at least once, "
        f"a tenth of the events. In turn, median of {ROUNDS}."
    )


def measure(size: int = EVENTS) -> dict[str, object]:
    return compare("decide-sqlite-columnar", size, method(size), asking, faststream)


def asking(tally: Tally) -> Service:
    service, served = Service("asking"), model()

    @service.on(Asked)
    async def ask(batch: Batch[Asked], decide: Decider = use(served)) -> None:
        tally.begin()
        await decide.each([envelope.data for envelope in batch.envelopes])
        tally.add(len(batch))

    return service


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
        pull_sub=PullSub(batch_size=FETCH_COUNT, timeout=1.0, batch=True),
    )
    async def ask(questions: list[Question]) -> None:
        tally.begin()
        outputs = predict_proba(np.array([each.x for each in questions]))[:, 1].tolist()
        decided = [
            {"customer": question.customer, "output": output}
            for question, output in zip(questions, outputs, strict=True)
        ]
        await asyncio.gather(
            *(broker.publish(each, DECIDED, stream=STREAM, timeout=30.0) for each in decided)
        )
        tally.add(len(questions))

    with threadpool_limits(1):
        await broker.start()
        await tally.full.wait()
        found = spent(tally)
        await broker.stop()
    return found.per_second
