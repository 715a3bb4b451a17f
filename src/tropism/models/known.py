"""Decisions joined with their outcomes: the rows that a version learns from."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tropism.models.columns import alike, taken
from tropism.models.decided import Decided
from tropism.models.learned import Learned, said_by
from tropism.models.rows import TrainingRows


class Known(NamedTuple):
    """Training rows, and what the champion of the time said of each, NaN where it was not asked."""

    rows: TrainingRows
    champion: NDArray[np.float64]


class _Pairs(NamedTuple):
    """Decisions that have an outcome: the place of each, and of its first and its latest outcome."""

    decided: NDArray[np.int64]
    first: NDArray[np.int64]
    latest: NDArray[np.int64]


def known_of(
    names: tuple[str, ...], decided: Decided, learned: Learned, *, rows_max: int | None, champion: int
) -> Known:
    """Return the rows of decisions that have an outcome, sorted by (known at, decision id).

    A row is known since its first outcome, and has the value of the latest.
    """
    pairs = _pairs(decided.ids, learned.ids)
    order = np.argsort(learned.known_us[pairs.first], kind="stable")  # of equal instants, by id
    if rows_max is not None:
        order = order[-rows_max:]
    places, first, latest = (each[order] for each in pairs)
    rows = TrainingRows(
        names=names,
        columns=[taken(column, places) for column in decided.columns],
        outcomes=learned.values[latest],
        decided_us=learned.decided_us[latest],
        known_us=learned.known_us[first],
    )
    return Known(rows, said_by(champion, learned)[latest])


def _pairs(decided: NDArray[Any], learned: NDArray[Any]) -> _Pairs:
    """Return which decisions have an outcome, in the order of their ids."""
    decided, learned = alike([decided, learned])
    by_id = np.argsort(decided, kind="stable")
    outcomes = np.argsort(learned, kind="stable")
    wanted, there = decided[by_id], learned[outcomes]
    # Both are sorted, and outcomes of one decision lie together in the order of the log.
    start = np.searchsorted(there, wanted, side="left")
    stop = np.searchsorted(there, wanted, side="right")
    found = start < stop
    return _Pairs(by_id[found], outcomes[start[found]], outcomes[stop[found] - 1])
