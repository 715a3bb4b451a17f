"""scikit-learn estimators on rows of mixed features."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tropism.core.errors import InvalidInputError
from tropism.models.rows import Predictor, Rows, TrainingRows, number_of
from tropism.models.tree_masks import TreeMasks
from tropism.models.trees import FlatTrees, flat_trees

CATEGORIES_MAX = 254
"""How many values a category may have; rarer ones are taken together as missing."""


ALONE_ROWS_MAX = 10_000
"""Up to so many rows one thread is fastest: on busy cores, threads that wait for each other cost 0.1 s."""


@cache
def _threads() -> Any:
    """Return what limits native threads, made once a process: finding the libraries takes milliseconds."""
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415 (comes with scikit-learn)

    return ThreadpoolController()


@dataclass(frozen=True)
class Encoding:
    """How columns become numbers: categories by rank of frequency, everything else as it is.

    Unknown categories, None and what is no number are NaN, which gradient boosting takes as missing. A
    feature without any value in training tells nothing: it is 0, whatever comes later.
    """

    names: tuple[str, ...]
    categories: dict[str, dict[str, float]] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()

    def matrix(self, rows: Rows) -> NDArray[np.float64]:
        """Return n rows by f features as floats."""
        columns = [self._numbers(name, column) for name, column in zip(rows.names, rows.columns, strict=True)]
        return np.column_stack(columns) if columns else np.empty((0, 0))

    def _numbers(self, name: str, column: Sequence[Any]) -> NDArray[np.float64]:
        if name in self.empty:
            return np.zeros(len(column))
        known = self.categories.get(name)
        try:
            # None becomes NaN.
            found = np.array(column if known is None else list(map(known.get, column)), dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            found = np.empty(0)
        if found.shape == (len(column),):
            return found
        number = number_of if known is None else partial(_rank, known)
        return np.array([number(value) for value in column], dtype=np.float64)

    @property
    def categorical(self) -> list[int]:
        """Which features are categories, by index."""
        return [index for index, name in enumerate(self.names) if name in self.categories]


def encoding_of(rows: Rows) -> Encoding:
    """Return the encoding of rows: a column with a string in it is a category."""
    categories = {
        name: _ranks(column)
        for name, column in zip(rows.names, rows.columns, strict=True)
        if _is_category(column)
    }
    # Of categories it is not asked: no string is a number, so one look would be at every value.
    empty = {
        name
        for name, column in zip(rows.names, rows.columns, strict=True)
        if name not in categories and _is_empty(column)
    }
    return Encoding(rows.names, categories, frozenset(empty))


def _rank(known: dict[str, float], value: Any) -> float:
    return known.get(value, math.nan) if isinstance(value, str) else math.nan


def _is_empty(column: Any) -> bool:
    if isinstance(column, np.ndarray) and column.dtype.kind in "fiub":
        return bool(np.isnan(column).all())
    return all(math.isnan(number_of(value)) for value in column)  # stops at the first number


def _is_category(column: Any) -> bool:
    if isinstance(column, np.ndarray) and column.dtype != object:
        return bool(column.dtype.kind == "U")  # said by the array: no need to look at every value
    return any(issubclass(kind, str) for kind in set(map(type, column)))


def _ranks(column: Sequence[Any]) -> dict[str, float]:
    counts = Counter(column)
    counts.pop(None, None)
    ranked = sorted(counts, key=lambda value: (-counts[value], str(value)))[:CATEGORIES_MAX]
    return {value: float(rank) for rank, value in enumerate(ranked)}


@dataclass(frozen=True)
class Classifier:
    """A fitted scikit-learn classifier of a binary outcome, with the encoding it was fitted on."""

    encoding: Encoding
    estimator: Any

    def predict(self, rows: Rows) -> Sequence[float]:
        """Return the probability of outcome 1 a row."""
        matrix = self.encoding.matrix(rows)
        trees = self._trees
        if trees is not None and trees.takes(len(matrix)):
            return trees.predict(matrix)
        if len(matrix) > ALONE_ROWS_MAX:
            return self._outputs(matrix)
        with _threads().limit(limits=1, user_api="openmp"):
            return self._outputs(matrix)

    @cached_property
    def _trees(self) -> FlatTrees | TreeMasks | None:
        return flat_trees(self.estimator)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a version is made of: its bytes say nothing of whether it was asked already."""
        return {"encoding": self.encoding, "estimator": self.estimator}

    def _outputs(self, matrix: NDArray[np.float64]) -> list[float]:
        outputs: list[float] = self.estimator.predict_proba(matrix)[:, 1].tolist()
        return outputs


def hist_gradient_boosting(
    rows: TrainingRows, seed: int, *, split_categories_max: int = CATEGORIES_MAX, **options: Any
) -> Predictor:
    """Fit histogram gradient boosting; categories are split as such, None is missing.

    A feature of more categories than ``split_categories_max`` is split by their rank of frequency instead:
    among a hundred, some look good by chance in every leaf.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: PLC0415 (0.6 s, wanted only here)

    encoding = encoding_of(rows.rows)
    settings: dict[str, Any] = {"early_stopping": False, "random_state": seed % 2**31, **options}
    settings["categorical_features"] = [
        index
        for index in encoding.categorical
        if len(encoding.categories[encoding.names[index]]) <= split_categories_max
    ] or None
    estimator = HistGradientBoostingClassifier(**settings)
    estimator.fit(encoding.matrix(rows.rows), _classes(rows))
    return Classifier(encoding, estimator)


def logistic(rows: TrainingRows, seed: int, **options: Any) -> Predictor:
    """Fit a logistic regression on standardised numbers and one-hot categories, the median for None."""
    from sklearn.compose import ColumnTransformer  # noqa: PLC0415 (as above)
    from sklearn.impute import SimpleImputer  # noqa: PLC0415 (as above)
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 (as above)
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415 (as above)
    from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: PLC0415 (as above)

    encoding = encoding_of(rows.rows)
    numeric = [index for index in range(len(rows.names)) if index not in encoding.categorical]
    prepared = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numeric),
            ("categories", OneHotEncoder(handle_unknown="ignore"), encoding.categorical),
        ]
    )
    settings = {"max_iter": 1000, "random_state": seed % 2**31, **options}
    estimator = make_pipeline(prepared, LogisticRegression(**settings))
    estimator.fit(encoding.matrix(rows.rows), _classes(rows))
    return Classifier(encoding, estimator)


def _classes(rows: TrainingRows) -> NDArray[np.int64]:
    wrong = set(np.unique(rows.outcomes)) - {0.0, 1.0}
    if wrong:
        raise InvalidInputError(
            f"Cannot fit a classifier: outcome {min(wrong):g} is neither 0 nor 1. "
            f"Let the outcome's value be one."
        )
    return rows.outcomes.astype(np.int64)
