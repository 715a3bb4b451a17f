"""Boosted trees as tables of masks: rows by the thousand and one alone, sooner than trees are walked.

Every leaf of a tree is a bit. A feature's value rules leaves out, whatever the other features say: those to
the left of each test that it fails. What it leaves is looked up in a table, a row a range of values and a
column a tree; the leaf that a row comes to is the first that no feature rules out (QuickScorer, Lucchese et
al., SIGIR 2015). So there is a look-up a feature, for all trees at once, and none a level or a tree.

Measured on 100 trees of 31 leaves and 10 features, processor time: 1,024 rows 1.9 ms where scikit-learn takes
6.9 ms, one row 0.08 ms where it takes 1.2 ms.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

LEAVES_MAX = 64
"""Of one tree: a bit each."""

TABLE_BYTES_MAX = 32_000_000
"""Larger tables are not made: they would cost more memory than walking costs time."""

ROWS_AT_ONCE = 256
"""So few that what is in the making stays near the processor."""

_DE_BRUIJN = {32: 0x077CB531, 64: 0x03F79D71B4CB0A89}
"""A multiplier per width, by which the highest bits of a product tell which one bit was multiplied."""


class Nodes(NamedTuple):
    """The nodes of a tree, and which of its categories lead left: 256 bits a node that asks for one."""

    nodes: NDArray[Any]
    left_bits: NDArray[np.uint32]


class _Tests(NamedTuple):
    """Tests of one feature in all trees: per test its tree, and the leaves ruled out where it fails."""

    tree: list[int]
    ruled_out: list[int]
    threshold: list[float]
    missing_left: list[bool]
    bits: list[NDArray[np.uint32] | None]


class _Table(NamedTuple):
    """What values of one feature leave.

    ``kept`` has a row a range between thresholds, or a category, and a last one for what is missing.
    """

    feature: int
    thresholds: NDArray[np.float64] | None
    kept: NDArray[Any]


@dataclass(frozen=True, slots=True)
class TreeMasks:
    """The trees of a binary classifier as tables of what is left.

    ``values`` holds a leaf's value where the product of its bit puts it. ``inverse`` makes a probability of a
    sum. Outputs are those of scikit-learn to the last bit: the same comparisons, and leaves added in the same
    order.
    """

    tables: tuple[_Table, ...]
    values: NDArray[np.float64]
    trees: int
    width: int
    baseline: float
    inverse: Callable[[NDArray[np.float64]], NDArray[np.float64]]

    def takes(self, rows: int) -> bool:
        """Say that any number of rows is sooner done here."""
        del rows
        return True

    def predict(self, matrix: NDArray[np.float64]) -> list[float]:
        """Return the probability of class 1 a row."""
        sums = np.empty(len(matrix))
        missing = np.isnan(matrix)
        bins = [self._bins(table, matrix, missing if missing.any() else None) for table in self.tables]
        for start in range(0, len(matrix), ROWS_AT_ONCE):
            stop = start + ROWS_AT_ONCE
            sums[start:stop] = self._sums([each[start:stop] for each in bins], len(sums[start:stop]))
        outputs: list[float] = self.inverse(sums).tolist()
        return outputs

    def _bins(
        self, table: _Table, matrix: NDArray[np.float64], missing: NDArray[np.bool_] | None
    ) -> NDArray[np.intp]:
        """Return which row of a table each value takes."""
        column = np.ascontiguousarray(matrix[:, table.feature])
        if table.thresholds is not None:
            found = table.thresholds.searchsorted(column)
            if missing is not None:
                found[missing[:, table.feature]] = len(table.kept) - 1
            return found
        if missing is not None:
            column = np.where(missing[:, table.feature], len(table.kept) - 1, column)
        return column.astype(np.intp)

    def _sums(self, bins: Sequence[NDArray[np.intp]], count: int) -> NDArray[np.float64]:
        kind = np.uint32 if self.width == 32 else np.uint64
        kept = np.full((count, self.trees), np.iinfo(kind).max, kind)
        for table, rows in zip(self.tables, bins, strict=True):
            kept &= table.kept[rows]
        # The lowest bit alone, and where it is among the values of its tree.
        kept &= -kept
        kept *= kind(_DE_BRUIJN[self.width])
        kept >>= kind(self.width - self.width.bit_length() + 1)
        places = kept.astype(np.intp)
        places += np.arange(0, self.trees * self.width, self.width)
        terms = np.empty((count, self.trees + 1))
        terms[:, 0] = self.baseline
        terms[:, 1:] = self.values[places]
        # Not sum, which adds in pairs: the order of the additions decides the last bits.
        found: NDArray[np.float64] = np.cumsum(terms, axis=1)[:, -1]
        return found


def tree_masks(
    trees: Sequence[Nodes],
    features: Sequence[int],
    categories: Mapping[int, NDArray[np.float64]],
    *,
    baseline: float,
    inverse: Callable[[NDArray[np.float64]], NDArray[np.float64]],
) -> TreeMasks | None:
    """Return trees as tables; None where one has too many leaves, or the tables would be too large.

    ``features`` says which column each feature of the nodes is. ``categories`` gives, for those that are
    categories, what becomes of the values 0, 1, 2 and so on: the bit to ask for, NaN for what is missing.
    """
    leaves_max = max((int(tree.nodes["is_leaf"].sum()) for tree in trees), default=0)
    if not 0 < leaves_max <= LEAVES_MAX:
        return None
    width = 32 if leaves_max <= 32 else LEAVES_MAX
    values = np.zeros(len(trees) * width)
    tests: dict[int, _Tests] = {}
    for number, tree in enumerate(trees):
        for leaf, value in enumerate(_gathered(tests, number, tree)):
            place = (_DE_BRUIJN[width] << leaf) % 2**width >> (width - width.bit_length() + 1)
            values[number * width + place] = value
    sizes = [len(each.tree) + 2 if at not in categories else 256 for at, each in tests.items()]
    if sum(sizes) * len(trees) * width // 8 > TABLE_BYTES_MAX:
        return None
    tables = tuple(
        _categorical(features[at], each, len(trees), width, categories[at])
        if at in categories
        else _numeric(features[at], each, len(trees), width)
        for at, each in sorted(tests.items())
    )
    return TreeMasks(tables, values, len(trees), width, baseline, inverse)


def _gathered(tests: dict[int, _Tests], number: int, tree: Nodes) -> list[float]:
    """Add the tests of a tree to those of their features; return the values of its leaves, left to right."""
    values: list[float] = []
    read = ("is_leaf", "value", "left", "right", "feature_idx", "num_threshold", "missing_go_to_left")
    nodes = list(zip(*(tree.nodes[name].tolist() for name in read), strict=True))
    asks = tree.nodes["is_categorical"].tolist(), tree.nodes["bitset_idx"].tolist()

    def visit(at: int) -> int:
        """Return the leaves under a node, as bits."""
        is_leaf, value, left, right, feature, threshold, missing_left = nodes[at]
        if is_leaf:
            values.append(value)
            return 1 << (len(values) - 1)
        under = visit(left)
        found = tests.get(feature)
        if found is None:
            found = tests[feature] = _Tests([], [], [], [], [])
        found.tree.append(number)
        found.ruled_out.append(under)
        found.threshold.append(threshold)
        found.missing_left.append(bool(missing_left))
        found.bits.append(tree.left_bits[asks[1][at]] if asks[0][at] else None)
        return under | visit(right)

    visit(0)
    return values


def _numeric(feature: int, tests: _Tests, trees: int, width: int) -> _Table:
    """Return the table of a number: a test fails above its threshold, so in all rows behind that."""
    thresholds, places = np.unique(np.array(tests.threshold), return_inverse=True)
    kept = _whole(len(thresholds) + 2, trees, width)
    left = ~np.array(tests.ruled_out, kept.dtype)
    tree = np.array(tests.tree)
    np.bitwise_and.at(kept, (places.ravel() + 1, tree), left)
    np.bitwise_and.accumulate(kept[:-1], axis=0, out=kept[:-1])
    kept[-1] = np.iinfo(kept.dtype).max
    right = ~np.array(tests.missing_left)
    np.bitwise_and.at(kept[-1], tree[right], left[right])
    return _Table(feature, thresholds, kept)


def _categorical(feature: int, tests: _Tests, trees: int, width: int, asked: NDArray[np.float64]) -> _Table:
    """Return the table of a category: a test fails for those that do not lead left."""
    kept = _whole(len(asked) + 1, trees, width)
    missing = np.append(np.isnan(asked), True)
    bit = np.append(np.where(missing[:-1], 0, asked), 0).astype(np.intp)
    for n, tree in enumerate(tests.tree):
        bits = tests.bits[n]
        assert bits is not None  # noqa: S101 (a feature is a category in all trees, or in none)
        leads_left = (bits[bit // 32] >> (bit % 32).astype(np.uint32) & 1).astype(bool)
        leads_left[missing] = tests.missing_left[n]
        kept[~leads_left, tree] &= ~kept.dtype.type(tests.ruled_out[n])
    return _Table(feature, None, kept)


def _whole(rows: int, trees: int, width: int) -> NDArray[Any]:
    kind = np.uint32 if width == 32 else np.uint64
    return np.full((rows, trees), np.iinfo(kind).max, kind)
