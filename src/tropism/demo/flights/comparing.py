"""The same year decided otherwise, on the same features with the same information."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tropism.core.time import days, parse_iso, to_us
from tropism.demo.flights.app import train
from tropism.demo.flights.results import Results
from tropism.models.baselines import Decided, every_us, hindsight, prequential
from tropism.models.metrics import Scores, score
from tropism.models.rows import TrainingRows
from tropism.models.steps import count_of

SCORED_FROM_US = parse_iso("2013-02-01T05:00:00Z")
"""Midnight in New York before the first of February: January is for the first model to learn from."""

WEEK_US = to_us(days(7))


@dataclass(frozen=True, slots=True)
class Way:
    """One way to decide: an output a decision in order of time, NaN where it had no model."""

    name: str
    outputs: NDArray[np.float64]
    scores: Scores | None
    trainings: int
    promotions: int | None = None


def compare(
    results: Results, *, baselines: bool, seed: int, say: Callable[[str, int, int], None]
) -> tuple[Way, ...]:
    """Return what static, weekly retraining, the loop, and hindsight came to; without baselines, the loop.

    Raises: UnavailableError if a worker dies.
    """
    rows = results.rows
    loop = Way(
        "adaptive",
        results.outputs,
        scored(rows, results.outputs),
        count_of(results.steps, "training.trained.v1"),
        count_of(results.steps, "models.promoted.v1"),
    )
    if not baselines or not len(rows) or rows.decided_us[-1] < SCORED_FROM_US:
        return (loop,)
    workers = min(2, os.cpu_count() or 1)

    def way(name: str, found: Decided) -> Way:
        return Way(name, found.outputs, scored(rows, found.outputs), found.trainings)

    weekly = every_us(SCORED_FROM_US, WEEK_US, int(rows.decided_us[-1]))
    once = prequential(rows, train, [SCORED_FROM_US], seed)
    cron = prequential(rows, train, weekly, seed, workers=workers, progress=lambda n, m: say("weekly", n, m))
    best = hindsight(
        rows,
        train,
        weekly,
        seed,
        others=[once.outputs, cron.outputs, results.outputs],
        workers=workers,
        progress=lambda n, m: say("hindsight", n, m),
    )
    return way("static", once), way("cron", cron), loop, way("hindsight", best)


def scored(rows: TrainingRows, outputs: NDArray[np.float64]) -> Scores | None:
    """Score outputs of decisions from February on that have both an output and an outcome."""
    usable = scored_of(rows, outputs)
    return score(outputs[usable], rows.outcomes[usable]) if usable.any() else None


def scored_of(rows: TrainingRows, outputs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say of each decision whether it is scored."""
    usable: NDArray[np.bool_] = np.isfinite(outputs) & np.isfinite(rows.outcomes)
    return usable & (rows.decided_us >= SCORED_FROM_US)
