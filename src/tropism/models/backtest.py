"""Before a challenger enters: would it have done worse than the champion on the newest outcomes?"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tropism.models.reading import Known
from tropism.models.rows import Train, TrainingRows

ROWS_MIN = 50
"""With fewer rows nothing is said."""

SHARE_FITTED = 0.35
"""Which share of all rows the backtest fits on at most, so that it costs less than half of the training."""

FITTED_MIN = 5_000
"""Up to how many rows it fits on whatever the share: on so few, time is spent elsewhere."""

SLICES_MAX = 20
"""How many values of a feature make slices: the most frequent ones."""

BLOCKS_MIN = 8
"""With fewer blocks of time there is no standard error."""


class BacktestPlan(msgspec.Struct, frozen=True):
    """What to hold back and compare: the newest ``share`` of the rows, at most ``rows_max`` of them.

    Units: ``block_us`` is the length of the blocks of time whose outcomes count as correlated.
    """

    share: float
    rows_max: int
    block_us: int
    slices: tuple[str, ...] = ()
    slice_rows_min: int = 200


def backtest(train: Train, known: Known, plan: BacktestPlan, seed: int) -> dict[str, float]:
    """Fit on the older rows, and score on those decided after all of them were known.

    ``brier`` is the mean squared error on ``rows``; on the ``pairs`` that the champion decided too,
    ``difference`` is its error less the challenger's (above 0, the challenger was better), with a
    ``standard_error`` that takes outcomes of one block of time as one. The older rows are thinned evenly, so
    the challenger is shown at a slight disadvantage. What cannot be computed is absent.

    Source of the standard error: Liang & Zeger, Biometrika 1986.
    """
    rows = known.rows
    held = min(int(len(rows) * plan.share), plan.rows_max)
    cut = len(rows) - held
    if held < ROWS_MIN or cut < ROWS_MIN:
        return {}
    fitted = _every(rows.part(0, cut), max(FITTED_MIN, int(len(rows) * SHARE_FITTED)))
    places = cut + np.flatnonzero(rows.decided_us[cut:] > rows.known_us[cut - 1])
    if len(places) < ROWS_MIN or len(np.unique(fitted.outcomes)) < 2:
        return {}
    tested = _at(rows, places)
    try:
        outputs = np.asarray(train(fitted, seed).predict(tested.rows), dtype=np.float64)
    except Exception:  # noqa: BLE001 (fewer rows may not do; the training itself tells what is wrong)
        return {}
    if outputs.shape != tested.outcomes.shape or not np.all(np.isfinite(outputs)):
        return {}
    errors = (outputs - tested.outcomes) ** 2
    found = {"rows": float(len(places)), "brier": float(np.mean(errors))}
    return found | _compared(errors, tested, known.champion[places], plan)


def _compared(
    errors: NDArray[np.float64], tested: TrainingRows, champion: NDArray[np.float64], plan: BacktestPlan
) -> dict[str, float]:
    paired = np.flatnonzero(~np.isnan(champion))
    if len(paired) < ROWS_MIN:
        return {}
    pairs = _at(tested, paired)
    before = (champion[paired] - pairs.outcomes) ** 2
    differences = before - errors[paired]
    blocks = pairs.known_us // plan.block_us
    found = {
        "pairs": float(len(paired)),
        "champion_brier": float(np.mean(before)),
        "challenger_brier": float(np.mean(errors[paired])),
        **_mean_of(differences, blocks),
    }
    for name in plan.slices:
        column = pairs.columns[pairs.names.index(name)]
        for value in _frequent(column, plan.slice_rows_min):
            inside = np.array([each == value for each in column])
            inner = _mean_of(differences[inside], blocks[inside])
            found |= {f"{name}={value}:{figure}": number for figure, number in inner.items()}
    return found


def _mean_of(differences: NDArray[np.float64], blocks: NDArray[np.int64]) -> dict[str, float]:
    """Return the mean of differences, and its standard error clustered by blocks."""
    mean = float(np.mean(differences))
    found = {"difference": mean}
    _, places = np.unique(blocks, return_inverse=True)
    sums = np.bincount(places, weights=differences - mean)
    count = len(sums)
    if count >= BLOCKS_MIN:
        error = math.sqrt(float(np.sum(sums**2)) * count / (count - 1)) / len(differences)
        found["standard_error"] = error
    return found


def _frequent(column: Sequence[Any], rows_min: int) -> list[Any]:
    counts = Counter(column)
    values = [value for value, count in counts.items() if count >= rows_min]
    return sorted(values, key=lambda value: (-counts[value], str(value)))[:SLICES_MAX]


def _every(rows: TrainingRows, count_max: int) -> TrainingRows:
    """Return at most so many rows, evenly spaced, the newest among them."""
    if len(rows) <= count_max:
        return rows
    return _at(rows, (np.arange(1, count_max + 1) * len(rows)) // count_max - 1)


def _at(rows: TrainingRows, places: NDArray[np.int64]) -> TrainingRows:
    wanted = places.tolist()
    return TrainingRows(
        rows.names,
        [[column[place] for place in wanted] for column in rows.columns],
        rows.outcomes[places],
        rows.decided_us[places],
        rows.known_us[places],
    )
