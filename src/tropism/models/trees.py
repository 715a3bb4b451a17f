"""Boosted trees without the fixed cost of scikit-learn's own predict.

Events of one key are decided on one after the other, so beside a busy key predictions may be of a row or two.
There scikit-learn takes a millisecond or two for its checks, its threads and a call a tree. Trees of up to 64
leaves become tables of masks, which are faster for any number of rows; larger ones are walked, as flat
arrays. (One row, 100 trees: 1,900 us and 190 us; they meet at a hundred rows.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tropism.models.tree_masks import Nodes, TreeMasks, tree_masks

CELLS_MAX = 8_000
"""Up to so many rows times trees, walking them here is faster."""

CATEGORY_VALUES = 255
"""Categories are numbers below this."""


@dataclass(frozen=True, slots=True)
class FlatTrees:
    """The nodes of all trees of a binary classifier, one behind the other; a leaf leads to itself.

    ``children`` holds two a node, left and right; ``inverse`` makes a probability of a sum. Outputs are those
    of scikit-learn to the last bit: the same comparisons, and leaves added in the same order.
    """

    roots: NDArray[np.intp]
    feature: NDArray[np.intp]
    threshold: NDArray[np.float64]
    missing_right: NDArray[np.bool_]
    children: NDArray[np.intp]
    value: NDArray[np.float64]
    depth: int
    baseline: float
    inverse: Callable[[NDArray[np.float64]], NDArray[np.float64]]

    def takes(self, rows: int) -> bool:
        """Say whether so few rows are sooner done here."""
        return rows * len(self.roots) <= CELLS_MAX

    def predict(self, matrix: NDArray[np.float64]) -> list[float]:
        """Return the probability of class 1 a row."""
        nodes = self._leaves(matrix)
        terms = np.empty((len(matrix), len(self.roots) + 1))
        terms[:, 0] = self.baseline
        terms[:, 1:] = self.value[nodes]
        # Not sum, which adds in pairs: the order of the additions decides the last bits.
        outputs: list[float] = self.inverse(np.cumsum(terms, axis=1)[:, -1]).tolist()
        return outputs

    def _leaves(self, matrix: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the leaf that each row comes to in each tree."""
        rows = np.arange(len(matrix))[:, None]
        nodes = np.repeat(self.roots[None, :], len(matrix), axis=0)
        missing = bool(np.isnan(matrix).any())
        for _ in range(self.depth):
            values = matrix[rows, self.feature[nodes]]
            right = values > self.threshold[nodes]
            if missing:
                right |= np.isnan(values) & self.missing_right[nodes]
            nodes = self.children[2 * nodes + right]
        return nodes


def flat_trees(estimator: Any) -> FlatTrees | TreeMasks | None:
    """Return a classifier's trees; None where it is no gradient boosting with two classes.

    Trees with more leaves than a mask has bits are None too if any of them asks for a category. It reads what
    scikit-learn keeps to itself: where a version of it keeps that otherwise, there is None as well.
    """
    try:
        if len(estimator.classes_) != 2:
            return None
        trees = [Nodes(tree.nodes, tree.raw_left_cat_bitsets) for (tree,) in estimator._predictors]  # noqa: SLF001 (see above)
        baseline = float(estimator._baseline_prediction.item())  # noqa: SLF001 (see above)
        inverse = estimator._loss.link.inverse  # noqa: SLF001 (see above)
        features, categories = _asked(estimator)
        found = tree_masks(trees, features, categories, baseline=baseline, inverse=inverse)
        if found is not None or categories:
            return found
        return _joined([tree.nodes for tree in trees], baseline, inverse)
    except (AttributeError, ValueError, TypeError, KeyError, IndexError):
        return None


def _asked(estimator: Any) -> tuple[list[int], dict[int, NDArray[np.float64]]]:
    """Return which column each feature of the nodes is, and what becomes of the values of categories.

    scikit-learn puts categories first, and numbers those that it has seen anew.
    """
    chosen = estimator.is_categorical_
    if chosen is None:
        return list(range(estimator.n_features_in_)), {}
    first, others = np.flatnonzero(chosen).tolist(), np.flatnonzero(~chosen).tolist()
    values = np.zeros((CATEGORY_VALUES, len(chosen)))
    values[:, first] = np.arange(CATEGORY_VALUES)[:, None]
    found = estimator._preprocess_X(values, reset=False)  # noqa: SLF001 (see above)
    return [*first, *others], {at: found[:, at] for at in range(len(first))}


def _joined(trees: list[NDArray[Any]], baseline: float, inverse: Any) -> FlatTrees | None:
    if not trees:
        return None
    sizes = [len(tree) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    nodes = np.concatenate(trees)
    base, own = np.repeat(roots, sizes), np.arange(len(nodes))
    leaf = nodes["is_leaf"].astype(bool)
    children = np.empty((len(nodes), 2), np.intp)
    children[:, 0] = np.where(leaf, own, nodes["left"].astype(np.intp) + base)
    children[:, 1] = np.where(leaf, own, nodes["right"].astype(np.intp) + base)
    return FlatTrees(
        roots=roots.astype(np.intp),
        feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.intp),
        threshold=nodes["num_threshold"].astype(np.float64),
        missing_right=~nodes["missing_go_to_left"].astype(bool),
        children=children.ravel(),
        value=nodes["value"].astype(np.float64),
        depth=int(nodes["depth"].max()),
        baseline=baseline,
        inverse=inverse,
    )
