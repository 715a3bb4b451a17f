"""Count, mean and variance that merge exactly: sums are kept without rounding, so no order can change them.

A sum is held as a short tuple of floats, largest first, that adds up to it exactly: the nearest float, then
the nearest float to what remains, and so on. That form is unique, so equal data give equal bytes.
"""

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Self

import msgspec

from tropism.core.errors import InvalidInputError
from tropism.models.sketch.extremes import highest, lowest

_MAGNITUDE_MAX = 1e140  # a square beyond it could overflow
_SPLITTER = 134217729.0  # 2^27 + 1


class Moments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Running moments of finite numbers of magnitude up to 1e140.

    Units: total and squares are the exact sums of x and of x squared (exact for magnitudes above 1e-140 too).
    """

    count: int = 0
    total: tuple[float, ...] = ()
    squares: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None

    @property
    def mean(self) -> float | None:
        """The mean, rounded once; None without a number."""
        return float(_exact(self.total) / self.count) if self.count else None

    @property
    def variance(self) -> float | None:
        """The sample variance (count - 1 below the line), rounded once; None below two numbers."""
        if self.count < 2:
            return None
        total = _exact(self.total)
        return float((_exact(self.squares) - total * total / self.count) / (self.count - 1))

    def observe(self, values: Iterable[float]) -> Self:
        """Return the moments after these numbers.

        Raises: InvalidInputError if one is NaN, infinite or larger than 1e140.
        """
        row = [float(value) + 0.0 for value in values]
        if not row:
            return self
        for value in row:
            if not -_MAGNITUDE_MAX <= value <= _MAGNITUDE_MAX:
                raise InvalidInputError(
                    f"Cannot take moments of {value!r}: it is no finite number up to 1e140. "
                    "Leave missing values out, and rescale large ones."
                )
        squares = [part for value in row for part in _square(value)]
        batch = type(self)(len(row), _sum(row), _sum(squares), min(row), max(row))
        return self.merged(batch)

    def merged(self, other: Self) -> Self:
        """Return the moments of both sets of numbers."""
        if not self.count or not other.count:
            return self if self.count else other
        return type(self)(
            count=self.count + other.count,
            total=_sum([*self.total, *other.total]),
            squares=_sum([*self.squares, *other.squares]),
            low=lowest(self.low, other.low),
            high=highest(self.high, other.high),
        )


def _sum(parts: list[float]) -> tuple[float, ...]:
    exact: list[float] = []
    rest = math.fsum(parts)
    while rest != 0.0:
        exact.append(rest)
        rest = math.fsum([*parts, *(-each for each in exact)])
    return tuple(exact)


def _square(value: float) -> tuple[float, float]:
    # Dekker's product: the rounded square and its rounding error, which together are the square.
    product = value * value
    shifted = _SPLITTER * value
    head = shifted - (shifted - value)
    tail = value - head
    return product, ((head * head - product) + 2.0 * head * tail) + tail * tail


def _exact(parts: tuple[float, ...]) -> Fraction:
    return sum((Fraction(part) for part in parts), Fraction(0))
