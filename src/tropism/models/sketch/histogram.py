"""A numeric feature as counts in the bins of its reference: quantiles then, shares now."""

import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Self, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from tropism.core.errors import InvalidInputError
from tropism.models.sketch.extremes import highest, lowest

Numbers: TypeAlias = Sequence[float | str | None] | NDArray[Any]
_FLOAT_MAX = float(np.finfo(np.float64).max)  # JSON has no infinity


class Histogram(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="numeric", tag_field="kind"):
    """Counts of a numeric feature: below the reference, in each of its bins, above it, and missing.

    Shapes: e ascending edges -> e + 1 counts; bin i holds edges[i - 1] <= x < edges[i]; without edges
    everything is out of range. Units: low and high are the extremes seen, None without a number; missing
    counts None and NaN; an infinity is out of range, with the largest float as its extreme.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int = 0
    low: float | None = None
    high: float | None = None

    @property
    def rows(self) -> int:
        """All rows seen, missing ones included."""
        return sum(self.counts) + self.missing

    @property
    def out_of_range(self) -> int:
        """Rows below the lowest or above the highest value of the reference."""
        return self.counts[0] + self.counts[-1] if self.edges else self.counts[0]

    @property
    def cells(self) -> tuple[int, ...]:
        """All counts, missing last: what two sketches of one reference are compared by."""
        return (*self.counts, self.missing)

    def emptied(self) -> Self:
        """Return the same bins with nothing in them."""
        return type(self)(edges=self.edges, counts=(0,) * len(self.counts))

    def observe(self, values: Numbers) -> Self:
        """Return the sketch after these values: numbers, NaN or None.

        Raises: InvalidInputError if a value is not a number.
        """
        return self.observe_sorted(np.sort(numbers(values)))

    def observe_sorted(self, row: NDArray[np.float64]) -> Self:
        """Return the sketch after an ascending row, NaN last: to sort a whole batch at once is fast."""
        below = row.searchsorted(_edge_array(self.edges)).tolist()
        numeric = below[-1]
        seen = map(operator.sub, below, (0, *below))
        return type(self)(
            edges=self.edges,
            counts=tuple(map(operator.add, self.counts, seen)),
            missing=self.missing + row.size - numeric,
            low=lowest(self.low, _finite(row.item(0))) if numeric else self.low,
            high=highest(self.high, _finite(row.item(numeric - 1))) if numeric else self.high,
        )

    def merged(self, other: Self) -> Self:
        """Return the sketch of both sets of rows.

        Raises: InvalidInputError if the edges differ.
        """
        if self.edges != other.edges:
            raise InvalidInputError(
                f"Cannot merge histograms of {len(self.edges)!r} and {len(other.edges)!r} edges: "
                "their edges differ. Build both from one reference."
            )
        return type(self)(
            edges=self.edges,
            counts=tuple(map(operator.add, self.counts, other.counts)),
            missing=self.missing + other.missing,
            low=lowest(self.low, other.low),
            high=highest(self.high, other.high),
        )


def histogram_of(values: Numbers, *, bins: int = 10) -> Histogram:
    """Build the bins from a reference, and count the reference in them.

    At most `bins` distinct values get a bin each; more are cut at quantiles, equal ones never split.
    Shapes: n numbers, NaN or None -> at most bins + 1 edges, the last just above the highest value.
    Raises: InvalidInputError if a value is not a number or bins < 1.
    """
    if bins < 1:
        raise InvalidInputError(
            f"Cannot build a histogram of {bins!r} bins: it holds nothing. Choose 1 or more."
        )
    row = numbers(values)
    finite = np.sort(row[np.isfinite(row)])
    edges = _edges(finite, bins) if finite.size else ()
    return Histogram(edges=edges, counts=(0,) * (len(edges) + 1)).observe(row)


def numbers(values: Numbers) -> NDArray[np.float64]:
    """Turn values into floats, None into NaN; text that spells a number is that number.

    Raises: InvalidInputError if one is not a number.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"Cannot observe a numeric feature: {error}. Declare it as a category, or correct the value."
        ) from error


def _edges(finite: NDArray[np.float64], bins: int) -> tuple[float, ...]:
    distinct = np.unique(finite)
    if distinct.size > bins:
        distinct = np.unique(finite[np.arange(bins) * finite.size // bins])
    top = np.nextafter(finite[-1], np.inf)
    return tuple((np.append(distinct, top) + 0.0).tolist())


@lru_cache(maxsize=4096)
def _edge_array(edges: tuple[float, ...]) -> NDArray[np.float64]:
    # NaN sorts above infinity: as the last edge, it is where the missing values begin.
    return np.array([*edges, np.nan], dtype=np.float64)


def _finite(extreme: float) -> float:
    # Within JSON's range; minus zero would make equal sketches differ in bytes.
    return min(max(extreme, -_FLOAT_MAX), _FLOAT_MAX) + 0.0
