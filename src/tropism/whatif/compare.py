"""Four ways to decide on the same rows: no change, trained once, by the calendar, and the loop."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tropism.core.errors import InvalidInputError
from tropism.core.time import days, hours, minutes, seconds, to_us
from tropism.models.baselines import Decided, every_us, no_change, prequential
from tropism.models.metrics import score
from tropism.models.rows import Train, TrainingRows
from tropism.models.steps import ALARMS
from tropism.web.facts import Quality
from tropism.whatif.replay import Replayed
from tropism.whatif.table import Table

WayName = Literal["no-change", "static", "cron", "tropism"]

CRON_MOST = 30
"""By the calendar, at most so many trainings in the span of a table."""

PERIODS_MOST = 36
PERIOD_ROWS_MIN = 50
"""Quality over time is shown in at most so many periods, each of so many rows at least."""

_CALENDAR = (
    *(seconds(count) for count in (1, 2, 5, 10, 30)),
    *(minutes(count) for count in (1, 2, 5, 10, 30)),
    *(hours(count) for count in (1, 3, 6, 12)),
    *(days(count) for count in (1, 2, 7, 14, 28, 91, 182, 364)),
)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to decide: what it was worth over all scored rows and period by period, and what it cost."""

    name: WayName
    quality: Quality
    periods: tuple[Quality, ...]
    trainings: int
    promotions: int | None = None
    rollbacks: int | None = None
    alarms: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The four ways on exactly the same rows: those with a label that came, decided by all of them."""

    ways: tuple[Way, ...]
    scored: int
    first_training_us: int
    cron: timedelta

    def way(self, name: WayName) -> Way:
        """Return one of the ways."""
        return next(way for way in self.ways if way.name == name)


def compare(
    table: Table,
    replayed: Replayed,
    train: Train,
    seed: int,
    *,
    workers: int = 0,
    say: Callable[[str, int, int], None] = lambda *_: None,
) -> Comparison:
    """Return what the loop and the simpler ways were worth, each trained by the same function.

    All begin with the rows that the loop's first version learned from. ``say`` is told of trainings.
    """
    rows = table.rows()
    first_us = _first_training(table, replayed)
    cron = cron_period(timedelta(microseconds=table.span_us))
    instants = every_us(first_us, to_us(cron), table.times_us[-1])
    once = prequential(rows, train, [first_us], seed, progress=lambda *at: say("static", *at))
    again = prequential(rows, train, instants, seed, workers=workers, progress=lambda *at: say("cron", *at))
    loop = Decided(replayed.outputs, replayed.count("training.trained.v1"))
    decided: dict[WayName, Decided] = {
        "no-change": no_change(rows),
        "static": once,
        "cron": again,
        "tropism": loop,
    }
    scored = ~np.isnan(rows.outcomes)
    for each in decided.values():
        scored &= ~np.isnan(each.outputs)
    places = _periods(rows, np.flatnonzero(scored))
    ways = [_way(name, each, rows, np.flatnonzero(scored), places) for name, each in decided.items()]
    ways[-1] = replace(
        ways[-1],
        promotions=replayed.count("models.promoted.v1"),
        rollbacks=replayed.count("models.rolled_back.v1"),
        alarms=replayed.count(*ALARMS),
    )
    return Comparison(tuple(ways), int(scored.sum()), first_us, cron)


def cron_period(span: timedelta) -> timedelta:
    """Return a period of the calendar that gives at most thirty trainings in a span."""
    return next((period for period in _CALENDAR if span / period <= CRON_MOST), span / CRON_MOST)


def _first_training(table: Table, replayed: Replayed) -> int:
    """Return by when the rows were known that the first version learned from."""
    for step in replayed.steps:
        if step.type == "training.trained.v1":
            return int(step.data["evidence"]["known_until_us"])
    causes = [step.data["cause"] for step in replayed.steps if step.type == "training.failed.v1"]
    fact = str(causes[-1]).rstrip(".") if causes else "too few labels came in time"
    raise InvalidInputError(
        f"Cannot replay {str(table.path)!r}: no version could be trained ({fact}). "
        f"Bring more history, other columns, or another --model."
    )


def _periods(rows: TrainingRows, scored: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the scored rows in periods of about the same number, none of which begin at one instant."""
    if not len(scored):
        return []
    count = min(PERIODS_MOST, max(1, len(scored) // PERIOD_ROWS_MIN))
    times = rows.decided_us[scored]
    edges = [len(scored) * number // count for number in range(count)]
    # Rows of one instant stay together: an edge moves back to the first of them.
    edges = sorted({int(np.searchsorted(times, times[edge], side="left")) for edge in edges})
    return [scored[a:b] for a, b in zip(edges, [*edges[1:], len(scored)], strict=True)]


def _way(
    name: WayName,
    decided: Decided,
    rows: TrainingRows,
    scored: NDArray[np.int64],
    periods: list[NDArray[np.int64]],
) -> Way:
    sure = name == "no-change"
    found = [_quality(decided.outputs[place], rows, place, sure=sure) for place in periods]
    whole = _quality(decided.outputs[scored], rows, scored, sure=sure)
    return Way(name, whole, tuple(found), decided.trainings)


def _quality(
    outputs: NDArray[np.float64], rows: TrainingRows, places: NDArray[np.int64], *, sure: bool
) -> Quality:
    if not len(places):
        return Quality(0, 0)
    outcomes = rows.outcomes[places]
    found = score(outputs, outcomes)
    return Quality(
        int(rows.decided_us[places[0]]),
        len(places),
        accuracy=float(np.mean((outputs >= 0.5) == (outcomes == 1.0))),
        auc=found.roc_auc,
        # A way that says only 0 or 1 does not say how sure it is.
        log_loss=None if sure else found.log_loss,
        brier=found.brier,
    )
