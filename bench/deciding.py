"""A gradient boosting of 100 trees as champion, and what asks it, for the benches of durable decisions."""

from functools import cache
from typing import NamedTuple

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from bench.facts import START_US, customers
from tropism.core.codec import record_of
from tropism.core.event import Event
from tropism.core.time import hours
from tropism.models.artifact import pack
from tropism.models.estimators import hist_gradient_boosting
from tropism.models.events import Rollout, Served, VersionPromoted
from tropism.models.model import Model, Outcome
from tropism.models.rows import Predictor, TrainingRows
from tropism.models.sketch.features import feature_sketch
from tropism.ports.platform import Platform

TREES = 100
TRAINING_ROWS = 4_000
NAMES = tuple("abcdefghij")


class Asked(Event, type="bench.asked.v1", key="customer"):
    request: str
    customer: str
    x: list[float]


class Answered(Event, type="bench.answered.v1", key="customer"):
    customer: str
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
    return hist_gradient_boosting(rows, seed, max_iter=TREES)


def model() -> Model:
    return Model(
        "bench",
        decides_on=Asked,
        features=features,
        train=train,
        outcome=Outcome(Answered, value=lambda e: e.value, within=hours(100)),
    )


def asked(count: int) -> list[Event]:
    table = np.random.default_rng(1).random((count, len(NAMES))).round(6).tolist()
    return [
        Asked(f"request-{n:09d}", key, row)
        for n, (key, row) in enumerate(zip(customers(count), table, strict=True))
    ]


@cache
def trained() -> tuple[Predictor, TrainingRows]:
    """Return a predictor and what it was trained on."""
    table = np.random.default_rng(0).random((TRAINING_ROWS, len(NAMES)))
    instants = np.arange(TRAINING_ROWS)
    rows = TrainingRows(
        NAMES, list(table.T), (table[:, :3].sum(axis=1) > 1.5).astype(float), instants, instants
    )
    import sklearn.ensemble  # noqa: F401 (only of libraries that are there can threads be limited)

    with threadpool_limits(1):  # on busy cores, threads that wait for each other take half a minute
        return train(rows, 0), rows


async def promote(platform: Platform) -> None:
    """Let the trained version decide, as the loop does: its bytes among the blobs, and an event in the "
    "log."""
    predictor, rows = trained()
    name, data = pack(predictor, NAMES, feature_sketch(NAMES, rows.columns))
    await platform.blobs.put(name, data)
    event = VersionPromoted(
        model="bench",
        version=1,
        rollout=Rollout(Served(1, name)),
        reason="bench",
        by="bench",
        evidence={},
        effective_from_us=START_US - 1,
    )
    record = record_of(event, msgspec.json.encode(event), id="promoted", time_us=START_US - 1)
    await platform.log.append([record])
