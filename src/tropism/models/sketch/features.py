"""A whole row schema as one sketch: a histogram or category counts per feature, observed batch by batch."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from tropism.core.errors import InvalidInputError
from tropism.models.sketch.categories import Categories, categories_of
from tropism.models.sketch.histogram import Histogram, histogram_of, numbers

Kind: TypeAlias = Literal["numeric", "category"]
Column: TypeAlias = Sequence[float | str | None] | NDArray[Any]


class FeatureSketch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the rows of one window looked like, feature by feature.

    Shapes: f names and f features, in the order of the columns. Units: rows counts all rows observed.
    """

    names: tuple[str, ...]
    features: tuple[Histogram | Categories, ...]
    rows: int = 0

    def emptied(self) -> Self:
        """Return the same features with no row in them: what a new window starts from."""
        return type(self)(names=self.names, features=tuple(each.emptied() for each in self.features))

    def observe(self, columns: Sequence[Column]) -> Self:
        """Return the sketch after a batch of rows, given as columns.

        Shapes: f columns of n values each; numpy arrays are fastest.
        Raises: InvalidInputError if the number or length of columns differs, or a numeric value is no number.
        """
        size = _height(self.names, columns)
        numeric = [i for i, each in enumerate(self.features) if isinstance(each, Histogram)]
        matrix = iter(np.sort(_matrix(self.names, columns, numeric, size)))
        features = tuple(
            each.observe_sorted(next(matrix))
            if isinstance(each, Histogram)
            else each.observe(_listed(column))
            for each, column in zip(self.features, columns, strict=True)
        )
        return type(self)(names=self.names, features=features, rows=self.rows + size)

    def merged(self, other: Self) -> Self:
        """Return the sketch of both sets of rows.

        Raises: InvalidInputError unless both were built from one reference.
        """
        return type(self)(
            names=self.names,
            features=tuple(_merged(mine, its) for mine, its in paired(self, other)),
            rows=self.rows + other.rows,
        )


def feature_sketch(
    names: Sequence[str],
    columns: Sequence[Column],
    *,
    kinds: Sequence[Kind] | None = None,
    bins: int = 10,
    categories_max: int = 50,
) -> FeatureSketch:
    """Build the sketch of a reference table; `emptied()` of it observes the windows that follow.

    Shapes: f names, f columns of n values, f kinds; without kinds, a column with a string is a category.
    Raises: InvalidInputError if the shapes differ, a name recurs, or a numeric value is no number.
    """
    if len(set(names)) != len(names):
        raise InvalidInputError(f"Cannot sketch {list(names)!r}: a name recurs. Name each once.")
    size = _height(names, columns)
    kinds = [_kind(column) for column in columns] if kinds is None else kinds
    features = [
        histogram_of(numbers(column), bins=bins)
        if kind == "numeric"
        else categories_of(_listed(column), categories_max=categories_max)
        for kind, column in zip(kinds, columns, strict=True)
    ]
    return FeatureSketch(names=tuple(names), features=tuple(features), rows=size)


def paired(
    mine: FeatureSketch, other: FeatureSketch
) -> Iterable[tuple[Histogram | Categories, Histogram | Categories]]:
    """Pair the features of two sketches.

    Raises: InvalidInputError if their names differ.
    """
    if mine.names != other.names:
        raise InvalidInputError(
            f"Cannot compare sketches of {list(mine.names)!r} and {list(other.names)!r}: "
            "their features differ. Build both from one reference."
        )
    return zip(mine.features, other.features, strict=True)


def _merged(mine: Histogram | Categories, other: Histogram | Categories) -> Histogram | Categories:
    if isinstance(mine, Histogram) and isinstance(other, Histogram):
        return mine.merged(other)
    if isinstance(mine, Categories) and isinstance(other, Categories):
        return mine.merged(other)
    raise InvalidInputError(
        f"Cannot merge {type(mine).__name__!r} with {type(other).__name__!r}: the kinds of a feature differ. "
        "Build both from one reference."
    )


def _height(names: Sequence[str], columns: Sequence[Column]) -> int:
    sizes = {len(column) for column in columns}
    if len(columns) != len(names) or len(sizes) > 1:
        raise InvalidInputError(
            f"Cannot observe {len(columns)!r} columns of {sorted(sizes)!r} rows: the sketch has {len(names)} "
            "features. Give one column per feature, all of one length."
        )
    return sizes.pop() if sizes else 0


def _matrix(
    names: Sequence[str], columns: Sequence[Column], numeric: list[int], size: int
) -> NDArray[np.float64]:
    if not numeric:
        return np.empty((0, size), dtype=np.float64)
    try:
        return np.array([columns[i] for i in numeric], dtype=np.float64)
    except (TypeError, ValueError):
        for i in numeric:
            _named(names[i], columns[i])
        raise


def _named(name: str, column: Column) -> None:
    try:
        numbers(column)
    except InvalidInputError as error:
        error.add_note(f"In feature {name!r}.")
        raise


def _listed(column: Column) -> Iterable[object]:
    values: Iterable[object] = column.tolist() if isinstance(column, np.ndarray) else column
    return values


def _kind(column: Column) -> Kind:
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return "numeric"  # said by the array: no need to look at every value
    return "category" if any(issubclass(kind, str) for kind in set(map(type, column))) else "numeric"
