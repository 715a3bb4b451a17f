"""Trees as flat arrays tell few rows what scikit-learn tells many, to the last bit."""

import pickle

import numpy as np
import pytest

from tropism.models.estimators import Classifier, hist_gradient_boosting, logistic
from tropism.models.rows import Rows, TrainingRows
from tropism.models.trees import FlatTrees, flat_trees

NAMES = ("a", "b", "c", "d")
TREES = 30


def table(rows, seed, *, missing=0.0):
    """Return random numbers, some of them missing, infinite or exactly on a grid of thresholds."""
    random = np.random.default_rng(seed)
    found = random.random((rows, len(NAMES))).round(2)
    found[random.random(found.shape) < missing] = np.nan
    found[random.random(found.shape) < missing / 10] = np.inf
    return found


def training(seed=0, *, missing=0.0, rows=600):
    columns = table(rows, seed, missing=missing)
    outcomes = (np.nansum(columns[:, :2], axis=1) > 1.0).astype(float)
    return TrainingRows(NAMES, list(columns.T), outcomes, np.arange(rows), np.arange(rows))


@pytest.fixture(scope="module", params=[0.0, 0.2], ids=["whole", "missing"])
def fitted(request):
    return hist_gradient_boosting(training(missing=request.param), 7, max_iter=TREES)


@pytest.mark.parametrize("rows", [1, 2, 7, 50])
def test_outputs_are_those_of_scikit_learn_to_the_last_bit(fitted, rows):
    """Whatever is missing or beyond all thresholds: replay must not tell how many were asked at once."""
    matrix = table(rows, 100 + rows, missing=0.3)
    flat = flat_trees(fitted.estimator)
    assert flat is not None
    assert flat.predict(matrix) == fitted.estimator.predict_proba(matrix)[:, 1].tolist()


def test_few_rows_and_many_are_told_the_same(fitted):
    """A row's output is the same alone and among a thousand, which go to scikit-learn."""
    matrix = table(1_000, 3, missing=0.1)
    together = fitted.predict(Rows(NAMES, list(matrix.T)))
    assert not flat_trees(fitted.estimator).takes(len(matrix))
    assert [fitted.predict(Rows(NAMES, [[v] for v in row]))[0] for row in matrix[:40]] == together[:40]


def test_no_rows_have_no_outputs(fitted):
    """An empty table is told nothing."""
    assert flat_trees(fitted.estimator).predict(np.empty((0, len(NAMES)))) == []


def test_a_version_that_was_asked_has_the_bytes_of_one_that_was_not(fitted):
    """An artifact is named by the digest of its bytes."""
    fresh = pickle.loads(pickle.dumps(fitted, protocol=5))  # noqa: S301 (our own bytes)
    before = pickle.dumps(fresh, protocol=5)
    fresh.predict(Rows(NAMES, [[0.5]] * 4))
    assert isinstance(fresh._trees, FlatTrees)
    assert pickle.dumps(fresh, protocol=5) == before
    plain = Classifier(fresh.encoding, fresh.estimator)
    assert plain.__reduce_ex__(5)[2] == vars(plain)


def test_what_is_no_boosting_of_numbers_is_left_to_scikit_learn():
    """Categories, other estimators and more than two classes: no flat trees, and the same outputs as ever."""
    rows = training()
    assert flat_trees(logistic(rows, 0).estimator) is None
    assert flat_trees(object()) is None
    named = TrainingRows(
        ("a", "k"), [rows.columns[0], ["x", "y"] * 300], rows.outcomes, *[np.arange(600)] * 2
    )
    of_categories = hist_gradient_boosting(named, 0, max_iter=3)
    assert flat_trees(of_categories.estimator) is None
    assert 0 < of_categories.predict(Rows(("a", "k"), [[0.5], ["x"]]))[0] < 1


def test_a_tree_of_one_leaf_is_a_constant():
    """Where nothing splits, every row is told the baseline and the leaves' values."""
    rows = training(rows=20)
    stump = hist_gradient_boosting(rows, 0, max_iter=2, min_samples_leaf=20)
    flat = flat_trees(stump.estimator)
    matrix = table(3, 1)
    assert flat.predict(matrix) == stump.estimator.predict_proba(matrix)[:, 1].tolist()
