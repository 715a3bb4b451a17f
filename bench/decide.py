"""Asking a model one event at a time, against calling its predictor one row at a time."""

import asyncio
import statistics
import time
from typing import NamedTuple

import numpy as np

from tropism.adapters.local import SystemClock
from tropism.adapters.memory import MemoryStore
from tropism.adapters.memory.compute import MemoryCompute
from tropism.app.app import App
from tropism.core.codec import record_of
from tropism.core.event import Event
from tropism.core.time import hours, to_us
from tropism.models.estimators import hist_gradient_boosting
from tropism.models.model import Model, Outcome
from tropism.models.policy import Policy
from tropism.models.rows import Predictor, TrainingRows, rows_of
from tropism.models.serving import Decider
from tropism.ports.platform import Platform
from tropism.runtime.inject import use
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.service import Service

EVENTS = 4_000
ROUNDS = 3
METHOD = (
    f"{EVENTS:,} events, each asking a gradient boosting of 10 features from its own handler call; the "
    f"runtime answers neighbours with one prediction, and also logs and commits. Peer: "
    f"predict_proba a row at a time, nothing logged. In turn, median of {ROUNDS}."
)


class Asked(Event, type="bench.asked.v1", key="id"):
    id: str
    x: list[float]


class Answered(Event, type="bench.answered.v1", key="id"):
    id: str
    value: float


class Features(NamedTuple):
    a: float
    b: float
    c: float
    d: float
    e: float
    f: float
    g: float
    h: float
    i: float
    j: float


def features(asked: Asked) -> Features:
    return Features(*asked.x)


def train(rows: TrainingRows, seed: int) -> Predictor:
    return hist_gradient_boosting(rows, seed, max_iter=100)


def measure() -> dict[str, object]:
    ours, peer = zip(*(asyncio.run(_round(seed)) for seed in range(ROUNDS)), strict=True)
    mine, other = statistics.median(ours), statistics.median(peer)
    return {"ours": mine, "peer": other, "ratio": mine / other, "unit": "decisions/s", "method": METHOD}


async def _round(seed: int) -> tuple[float, float]:
    random = np.random.default_rng(seed)
    table = random.random((3 * EVENTS, 10))
    model = Model(
        "bench",
        decides_on=Asked,
        features=features,
        train=train,
        outcome=Outcome(Answered, value=lambda e: e.value, within=hours(100)),
        policy=Policy(
            first_after=EVENTS, max_age=None, growth=None, drift=None, quality=None, degradation=None
        ),
    )
    service = Service("asking")

    @service.on(Asked)
    async def ask(asked: Asked, decide: Decider = use(model)) -> None:
        await decide(asked)

    store = MemoryStore()
    platform = Platform(store.log, store.state, store.blobs, MemoryCompute(), SystemClock(), store.queue)
    app = App("bench", services=[service], models=[model], events=[Answered])
    runtime = Runtime(app.services, platform, types=app.events, options=RuntimeOptions(live=False))
    codec = runtime.codec
    records = []
    for i, row in enumerate(table.tolist()):
        asked = Asked(id=f"{i:06d}", x=row)
        answered = Answered(id=asked.id, value=float(sum(row[:3]) > 1.5))
        at_us = i * 1_000_000 if i < EVENTS else to_us(hours(24)) + i * 1_000
        records.append(record_of(asked, codec.encode(asked), id=f"a{i}", time_us=at_us))
        if i < EVENTS:
            data = codec.encode(answered)
            records.append(record_of(answered, data, id=f"b{i}", time_us=at_us + 1000))
    records.sort(key=lambda record: record.time_us)
    await store.log.append(records)
    await runtime.start()
    before_us, after_us = to_us(hours(24)), to_us(hours(30))
    runtime.watermarks.advance_sources(before_us)
    await runtime.wait_until(before_us)
    started = time.perf_counter()
    runtime.watermarks.advance_sources(after_us)
    await runtime.wait_until(after_us)
    ours = 2 * EVENTS / (time.perf_counter() - started)
    await runtime.stop()
    rows = TrainingRows(
        Features._fields,
        list(table[:EVENTS].T),
        (table[:EVENTS, :3].sum(axis=1) > 1.5).astype(float),
        np.arange(EVENTS),
        np.arange(EVENTS),
    )
    predictor = train(rows, seed)
    count = 500
    started = time.perf_counter()
    for row in table[EVENTS : EVENTS + count].tolist():
        predictor.predict(rows_of(Features._fields, [row]))
    return ours, count / (time.perf_counter() - started)
