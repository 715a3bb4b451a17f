"""Before a challenger enters: would it have done worse than the champion on the newest outcomes?"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tropism.models.columns import taken, values_of
from tropism.models.gating import worse
from tropism.models.known import Known
from tropism.models.rows import Train, TrainingRows

ROWS_MIN = 50
"""With fewer rows nothing is said."""

SHARE_FITTED = 0.35
"""Which share of all rows the backtest fits on at first: measured on 72,090 flights, 1.4 s of a fit's 3.4 s.

A fit on all older rows costs 4.1 s. Thinned evenly to .35, its Brier score was worse by .003 to .004, which
is as much as the gate's margin; to .5, by .002; the newest .35 were no better.
"""

FITTED_MIN = 5_000
"""Up to how many rows it fits on whatever the share: on so few, time is spent elsewhere."""

SLICES_MAX = 20
"""How many values of a feature make slices: the most frequent ones."""

BLOCKS_MIN = 8
"""With fewer blocks of time there is no standard error."""


class BacktestPlan(msgspec.Struct, frozen=True):
    """What to hold back and compare: the newest ``share`` of the rows, at most ``rows_max`` of them.

    Units: ``block_us`` is the length of the blocks of time whose outcomes count as correlated; ``margin`` and
    ``alpha`` are the gate's, by which it looks worse.
    """

    share: float
    rows_max: int
    block_us: int
    margin: float = 0.0
    alpha: float = 0.01
    slices: tuple[str, ...] = ()
    slice_rows_min: int = 200


def backtest(train: Train, known: Known, plan: BacktestPlan, seed: int) -> dict[str, float]:
    """Fit on the older rows, and score on those decided after all of them were known.

    It fits on the outcomes as they were known by then, and scores by the latest.
    ``brier`` is the mean squared error on ``rows``; on the ``pairs`` that the champion decided too,
    ``difference`` is its error less the challenger's (above 0, the challenger was better), with a
    ``standard_error`` that takes outcomes of one block of time as one, of so many ``blocks``. What
    cannot be computed is absent.

    It fits on a part of the older rows first, to be cheap, which shows the challenger at a disadvantage.
    Only if that looks worse than the champion does it fit on all of them: nobody is refused for being
    thinned. ``fitted`` is how many rows it was.

    Source of the standard error: Liang & Zeger, Biometrika 1986; it is to be read with Student's t of one
    degree of freedom less than there are blocks: Cameron & Miller, Journal of Human Resources 2015.
    """
    rows = known.rows
    held = min(int(len(rows) * plan.share), plan.rows_max)
    cut = len(rows) - held
    if held < ROWS_MIN or cut < ROWS_MIN:
        return {}
    older = replace(rows, outcomes=known.outcomes_at(int(rows.known_us[cut - 1]))).part(0, cut)
    places = cut + np.flatnonzero(rows.decided_us[cut:] > rows.known_us[cut - 1])
    if len(places) < ROWS_MIN:
        return {}
    thinned = _every(older, max(FITTED_MIN, int(len(rows) * SHARE_FITTED)))
    found = _scored(train, thinned, _at(rows, places), known.champion[places], plan, seed)
    if len(thinned) == len(older) or worse(found, plan.margin, plan.alpha) is None:
        return found
    return _scored(train, older, _at(rows, places), known.champion[places], plan, seed)


def _scored(
    train: Train,
    fitted: TrainingRows,
    tested: TrainingRows,
    champion: NDArray[np.float64],
    plan: BacktestPlan,
    seed: int,
) -> dict[str, float]:
    if len(np.unique(fitted.outcomes)) < 2:
        return {}
    try:
        outputs = np.asarray(train(fitted, seed).predict(tested.rows), dtype=np.float64)
    except Exception:  # noqa: BLE001 (fewer rows may not do; the training itself tells what is wrong)
        return {}
    if outputs.shape != tested.outcomes.shape or not np.all(np.isfinite(outputs)):
        return {}
    errors = (outputs - tested.outcomes) ** 2
    found = {
        "fitted": float(len(fitted)),
        "rows": float(len(tested)),
        "brier": float(np.mean(errors)),
    }
    return found | _compared(errors, tested, champion, plan)


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
        column = values_of(pairs.columns[pairs.names.index(name)])
        for value in _frequent(column, plan.slice_rows_min):
            inside = np.array([each == value for each in column])
            inner = _mean_of(differences[inside], blocks[inside])
            where = f"{name} missing" if value is None else f"{name}={value}"
            found |= {f"{where}:{figure}": number for figure, number in inner.items()}
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
        found |= {"standard_error": error, "blocks": float(count)}
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
    columns = [taken(column, places) for column in rows.columns]
    return TrainingRows(
        rows.names,
        columns,
        rows.outcomes[places],
        rows.decided_us[places],
        rows.known_us[places],
    )
