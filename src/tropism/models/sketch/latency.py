"""Durations in logarithmic buckets: every quantile within a stated relative error."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import accumulate, repeat
from typing import Self

import msgspec

from tropism.core.errors import InvalidInputError
from tropism.models.sketch.extremes import highest, lowest

_SECONDS_MIN = 1e-6
_SECONDS_MAX = 1e6  # eleven days


class LatencySketch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Counts of durations in buckets whose bounds grow by (1 + accuracy) / (1 - accuracy).

    Units: seconds. Quantiles between 1e-6 and 1e6 are within the relative accuracy, others in [low, high].
    Shapes: buckets maps bucket to count, ascending; at 1 % accuracy there are at most 1,384.
    Source: Masson, Rim & Lee (DDSketch), VLDB 2019.
    """

    accuracy: float = 0.01
    buckets: dict[int, int] = {}
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if not 1e-4 <= self.accuracy <= 0.5:
            raise InvalidInputError(
                f"Cannot sketch latencies to {self.accuracy!r}: the accuracy is outside [0.0001, 0.5]. "
                "Choose 0.01 for one percent."
            )

    @property
    def count(self) -> int:
        """The durations seen."""
        return sum(self.buckets.values())

    def observe(self, seconds: Iterable[float]) -> Self:
        """Return the sketch after these durations.

        Raises: InvalidInputError if one is negative, infinite or NaN.
        """
        return self.observe_counted(Counter([float(each) + 0.0 for each in seconds]))

    def observe_counted(self, seconds: Mapping[float, int]) -> Self:
        """Return the sketch after durations, each with how often it was seen.

        Raises: InvalidInputError if one is negative, infinite or NaN.
        """
        for each in seconds:
            if not 0.0 <= each < math.inf:
                raise InvalidInputError(
                    f"Cannot observe latency {each!r}: it is no duration. Give seconds of at least 0."
                )
        bounds = _bounds(self.accuracy)
        last = len(bounds) - 1
        tally: Counter[int] = Counter()
        for each, count in seconds.items():
            tally[min(bisect_left(bounds, each), last)] += count
        return self._added(tally, min(seconds, default=None), max(seconds, default=None))

    def merged(self, other: Self) -> Self:
        """Return the sketch of both sets of durations.

        Raises: InvalidInputError if the accuracies differ.
        """
        if self.accuracy != other.accuracy:
            raise InvalidInputError(
                f"Cannot merge latencies kept to {self.accuracy!r} and {other.accuracy!r}: the accuracies "
                "differ. Choose one accuracy for both."
            )
        return self._added(Counter(other.buckets), other.low, other.high)

    def quantile(self, share: float) -> float | None:
        """Give the duration that this share of all is at most, within the accuracy; None without durations.

        Units: seconds; the value of rank ceil(share * count), so share 0.5 is the lower median.
        Raises: InvalidInputError unless 0 <= share <= 1.
        """
        if not 0.0 <= share <= 1.0:
            raise InvalidInputError(f"Cannot take quantile {share!r}: it is no share. Choose one in [0, 1].")
        if self.low is None or self.high is None:
            return None
        rank = max(1, math.ceil(share * self.count - 1e-9))
        for bucket, below in zip(self.buckets, accumulate(self.buckets.values()), strict=True):
            if below >= rank:
                return min(max(_middle(self.accuracy, bucket), self.low), self.high)
        return self.high

    def cells(self) -> tuple[tuple[float, float, int], ...]:
        """Return the buckets that hold something: above a bound, at most another, so many."""
        bounds = _bounds(self.accuracy)
        return tuple(
            (bounds[bucket - 1] if bucket else 0.0, bounds[bucket], count)
            for bucket, count in self.buckets.items()
        )

    def _added(self, tally: Counter[int], low: float | None, high: float | None) -> Self:
        if low is None or high is None:
            return self
        total = Counter(self.buckets) + tally
        return type(self)(
            accuracy=self.accuracy,
            buckets=dict(sorted(total.items())),
            low=lowest(self.low, low),
            high=highest(self.high, high),
        )


@lru_cache(maxsize=16)
def _bounds(accuracy: float) -> tuple[float, ...]:
    # Bounds by repeated multiplication, which rounds alike everywhere; logarithms differ between machines.
    growth = (1.0 + accuracy) / (1.0 - accuracy)
    count = math.ceil(math.log(_SECONDS_MAX / _SECONDS_MIN) / math.log(growth)) + 1
    return tuple(
        accumulate(repeat(growth, count), lambda bound, factor: bound * factor, initial=_SECONDS_MIN)
    )


def _middle(accuracy: float, bucket: int) -> float:
    return _bounds(accuracy)[bucket] * (1.0 - accuracy)
