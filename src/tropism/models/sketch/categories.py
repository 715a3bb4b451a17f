"""A categorical feature as counts of the categories that were frequent in its reference."""

import math
import operator
from collections import Counter
from collections.abc import Iterable
from typing import Self

import msgspec

from tropism.core.errors import InvalidInputError


class Categories(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="category", tag_field="kind"):
    """Counts of the known categories, of all others together, and of missing values.

    Shapes: k categories -> k counts. Missing counts None and NaN; anything else that is not a known category,
    of whatever type, is among the others.
    """

    categories: tuple[str, ...]
    counts: tuple[int, ...]
    others: int = 0
    missing: int = 0

    @property
    def rows(self) -> int:
        """All rows seen, missing ones included."""
        return sum(self.counts) + self.others + self.missing

    @property
    def cells(self) -> tuple[int, ...]:
        """All counts, others and missing last: what two sketches of one reference are compared by."""
        return (*self.counts, self.others, self.missing)

    def emptied(self) -> Self:
        """Return the same categories with nothing counted."""
        return type(self)(categories=self.categories, counts=(0,) * len(self.counts))

    def observe(self, values: Iterable[object]) -> Self:
        """Return the sketch after these values: strings, NaN or None."""
        tally = Counter(values)
        seen = [tally.pop(category, 0) for category in self.categories]
        rest = tally.total()
        missing = sum([n for value, n in tally.items() if value is None or _is_nan(value)])
        return self._added(seen, rest - missing, missing)

    def merged(self, other: Self) -> Self:
        """Return the sketch of both sets of rows.

        Raises: InvalidInputError if the categories differ.
        """
        if self.categories != other.categories:
            raise InvalidInputError(
                f"Cannot merge counts of {len(self.categories)!r} and {len(other.categories)!r} categories: "
                "their categories differ. Build both from one reference."
            )
        return self._added(other.counts, other.others, other.missing)

    def _added(self, counts: Iterable[int], others: int, missing: int) -> Self:
        return type(self)(
            categories=self.categories,
            counts=tuple(map(operator.add, self.counts, counts)),
            others=self.others + others,
            missing=self.missing + missing,
        )


def categories_of(values: Iterable[object], *, categories_max: int = 50) -> Categories:
    """Keep the most frequent categories of a reference, ties by name, and count the reference in them.

    Raises: InvalidInputError if categories_max < 1.
    """
    if categories_max < 1:
        raise InvalidInputError(
            f"Cannot keep {categories_max!r} categories: all would be others. Choose 1 or more."
        )
    column = list(values)
    tally = Counter(value for value in column if isinstance(value, str))
    ranked = sorted(tally, key=lambda category: (-tally[category], category))[:categories_max]
    return Categories(categories=tuple(ranked), counts=(0,) * len(ranked)).observe(column)


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
