"""Decisions joined with their outcomes: the rows that a version learns from."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tropism.models.columns import alike, taken
from tropism.models.decided import Decided
from tropism.models.learned import Learned, said_by
from tropism.models.rows import TrainingRows


class Corrections(NamedTuple):
    """Corrections of rows, each row's in their order: which row, since when, and its outcome before."""

    places: NDArray[np.int64]
    known_us: NDArray[np.int64]
    before: NDArray[np.float64]


NONE = Corrections(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))


class Known(NamedTuple):
    """Training rows, and what the champion of the time said of each, NaN where it was not asked."""

    rows: TrainingRows
    champion: NDArray[np.float64]
    corrections: Corrections = NONE

    def outcomes_at(self, known_us: int) -> NDArray[np.float64]:
        """Return the outcomes as they were known at an instant: what was corrected later, uncorrected."""
        outcomes = self.rows.outcomes.copy()
        later = np.flatnonzero(self.corrections.known_us > known_us)[::-1]
        # From the newest to the oldest: of several corrections of a row, the first is undone last.
        outcomes[self.corrections.places[later]] = self.corrections.before[later]
        return outcomes


class _Pairs(NamedTuple):
    """Decisions that have an outcome: the place of each, and which outcomes it has.

    ``outcomes`` are the places of all outcomes, those of one decision together in the order of the log;
    those of the n-th are from ``start[n]`` up to ``stop[n]``.
    """

    decided: NDArray[np.int64]
    outcomes: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]


def known_of(
    names: tuple[str, ...], decided: Decided, learned: Learned, *, rows_max: int | None, champion: int
) -> Known:
    """Return the rows of decisions that have an outcome, sorted by (known at, decision id).

    A row is known since its first outcome, and has the value of the latest.
    """
    pairs = _pairs(decided.ids, learned.ids)
    order = np.argsort(
        learned.known_us[pairs.outcomes[pairs.start]], kind="stable"
    )  # of equal instants, by id
    if rows_max is not None:
        order = order[-rows_max:]
    pairs = _Pairs(pairs.decided[order], pairs.outcomes, pairs.start[order], pairs.stop[order])
    first, latest = pairs.outcomes[pairs.start], pairs.outcomes[pairs.stop - 1]
    rows = TrainingRows(
        names=names,
        columns=[taken(column, pairs.decided) for column in decided.columns],
        outcomes=learned.values[latest],
        decided_us=learned.decided_us[latest],
        known_us=learned.known_us[first],
    )
    return Known(rows, said_by(champion, learned)[latest], _corrections(pairs, learned))


def _corrections(pairs: _Pairs, learned: Learned) -> Corrections:
    more = pairs.stop - pairs.start - 1
    places = np.repeat(np.arange(len(more)), more)
    within = np.arange(len(places)) - np.repeat(np.cumsum(more) - more, more)
    before = pairs.start[places] + within
    return Corrections(
        places, learned.known_us[pairs.outcomes[before + 1]], learned.values[pairs.outcomes[before]]
    )


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
    return _Pairs(by_id[found], outcomes, start[found], stop[found])
