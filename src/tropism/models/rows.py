"""Rows of features and outcomes, as columns."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Rows:
    """Feature rows as columns: a list or array a feature, values float, bool, str or None."""

    names: tuple[str, ...]
    columns: Sequence[Sequence[Any]]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.columns[0]) if self.columns else 0


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """What a version learns from: rows with their outcomes, sorted by (known at, decision id).

    Read from the log, a column of floats is an array in which None is NaN, a column of whole numbers an
    array too, and any other a list.
    Shapes: f columns of n values; n outcomes, n instants. Units: instants in microseconds since 1970.
    """

    names: tuple[str, ...]
    columns: Sequence[Sequence[Any]]
    outcomes: NDArray[np.float64]
    decided_us: NDArray[np.int64]
    known_us: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self.outcomes)

    @property
    def rows(self) -> Rows:
        """The features alone."""
        return Rows(self.names, self.columns)

    def part(self, start: int, stop: int) -> "TrainingRows":
        """Return a range of rows."""
        return TrainingRows(
            self.names,
            [column[start:stop] for column in self.columns],
            self.outcomes[start:stop],
            self.decided_us[start:stop],
            self.known_us[start:stop],
        )


class Predictor(Protocol):
    """A trained version: it must be picklable by its module's name."""

    def predict(self, rows: Rows) -> Sequence[float]:
        """Return an output a row: for a binary outcome, its probability."""
        ...


Train = Callable[[TrainingRows, int], Predictor]
"""Trains on rows with a seed: the same rows and seed give the same predictor."""


def schema_of(names: Sequence[str]) -> str:
    """Return a short name for a row's layout."""
    return sha256("\n".join(names).encode()).hexdigest()[:8]


def rows_of(names: tuple[str, ...], features: Sequence[Sequence[Any]]) -> Rows:
    """Return feature rows as columns."""
    return Rows(names, [list(column) for column in zip(*features, strict=True)])


def number_of(value: Any) -> float:
    """Return a value as the number that it counts as among numbers, NaN if it is none."""
    try:
        number = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    return math.nan if number.ndim else float(number)
