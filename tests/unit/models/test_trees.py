"""Trees as masks and as flat arrays tell few rows what scikit-learn tells many, to the last bit."""

import pickle

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from tropism.models import tree_masks as tree_masks_module
from tropism.models.estimators import Classifier, hist_gradient_boosting, logistic
from tropism.models.rows import Rows, TrainingRows
from tropism.models.tree_masks import TreeMasks
from tropism.models.trees import FlatTrees, flat_trees

NAMES = ("a", "b", "c", "d")
TREES = 30


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """On busy cores, threads that wait for each other take seconds for what one does in a moment."""
    import sklearn.ensemble  # noqa: F401 (only of libraries that are there can threads be limited)

    with threadpool_limits(1):
        yield


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
def fitted(request, _one_thread):
    return hist_gradient_boosting(training(missing=request.param), 7, max_iter=TREES)


@pytest.mark.parametrize("rows", [1, 2, 7, 50])
def test_outputs_are_those_of_scikit_learn_to_the_last_bit(fitted, rows):
    """Whatever is missing or beyond all thresholds: replay must not tell how many were asked at once."""
    matrix = table(rows, 100 + rows, missing=0.3)
    flat = flat_trees(fitted.estimator)
    assert flat is not None
    assert flat.predict(matrix) == fitted.estimator.predict_proba(matrix)[:, 1].tolist()


def test_few_rows_and_many_are_told_the_same(fitted):
    """A row's output is the same alone and among a thousand."""
    matrix = table(1_000, 3, missing=0.1)
    together = fitted.predict(Rows(NAMES, list(matrix.T)))
    assert [fitted.predict(Rows(NAMES, [[v] for v in row]))[0] for row in matrix[:40]] == together[:40]


def test_no_rows_have_no_outputs(fitted):
    """An empty table is told nothing."""
    assert flat_trees(fitted.estimator).predict(np.empty((0, len(NAMES)))) == []


def test_a_version_that_was_asked_has_the_bytes_of_one_that_was_not(fitted):
    """An artifact is named by the digest of its bytes."""
    fresh = pickle.loads(pickle.dumps(fitted, protocol=5))  # noqa: S301 (our own bytes)
    before = pickle.dumps(fresh, protocol=5)
    fresh.predict(Rows(NAMES, [[0.5]] * 4))
    assert isinstance(fresh._trees, TreeMasks)
    assert pickle.dumps(fresh, protocol=5) == before
    plain = Classifier(fresh.encoding, fresh.estimator)
    assert plain.__reduce_ex__(5)[2] == vars(plain)


def test_what_is_no_boosting_is_left_to_scikit_learn():
    """Other estimators have no trees here, and the same outputs as ever."""
    assert flat_trees(logistic(training(), 0).estimator) is None
    assert flat_trees(object()) is None


def mixed(rows, seed, *, values, missing=0.0):
    """Return numbers and two categories, the second between the numbers, with some missing and some unknown."""
    random = np.random.default_rng(seed)
    numbers = table(rows, seed, missing=missing)
    kinds = [f"k{n}" for n in random.integers(0, values, rows)]
    colours = random.choice(["red", "green", "blue", "new" if seed else "red"], rows).tolist()
    for n in np.flatnonzero(random.random(rows) < missing):
        kinds[n] = None
    columns = [kinds, numbers[:, 0].tolist(), colours, numbers[:, 1].tolist()]
    outcomes = (np.array([hash_of(k) for k in kinds]) + np.nan_to_num(numbers[:, 0]) > 1.0).astype(float)
    return TrainingRows(("kind", "a", "colour", "b"), columns, outcomes, np.arange(rows), np.arange(rows))


def hash_of(kind):
    return 0.5 if kind is None else int(kind[1:]) * 7 % 11 / 11


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("split_max", [254, 5])
@pytest.mark.parametrize("values", [3, 40, 300])
def test_categories_are_told_as_scikit_learn_tells_them(values, split_max, missing):
    """Known, unknown, rare and missing ones; split as sets, or by their rank where there are too many."""
    fitted = hist_gradient_boosting(
        mixed(900, 0, values=values, missing=missing), 1, max_iter=15, split_categories_max=split_max
    )
    rows = mixed(200, 5, values=values + 20, missing=0.3).rows
    flat, matrix = flat_trees(fitted.estimator), fitted.encoding.matrix(rows)
    assert isinstance(flat, TreeMasks)
    assert flat.predict(matrix) == fitted.estimator.predict_proba(matrix)[:, 1].tolist()
    assert flat.predict(matrix[:1]) == flat.predict(matrix)[:1]


@pytest.mark.parametrize(
    ("leaves", "kind"), [(32, TreeMasks), (33, TreeMasks), (64, TreeMasks), (65, FlatTrees)]
)
def test_trees_of_up_to_sixty_four_leaves_become_masks_and_larger_ones_are_walked(leaves, kind):
    """Whatever they are made into, the outputs are the same: also where every bit of a mask is a leaf."""
    rows = training(rows=3_000, missing=0.1)
    fitted = hist_gradient_boosting(rows, 3, max_iter=4, max_leaf_nodes=leaves, min_samples_leaf=2)
    assert max(tree.get_n_leaf_nodes() for (tree,) in fitted.estimator._predictors) == leaves
    flat, matrix = flat_trees(fitted.estimator), table(300, 8, missing=0.2)
    assert type(flat) is kind
    assert flat.predict(matrix) == fitted.estimator.predict_proba(matrix)[:, 1].tolist()


def test_large_trees_that_ask_for_categories_are_left_to_scikit_learn():
    """Neither masks nor walking takes them, so nothing is told but what scikit-learn tells."""
    rows = mixed(3_000, 0, values=40)
    odd = np.array([round(a * 100) % 2 for a in rows.columns[1]], float)
    jagged = TrainingRows(rows.names, rows.columns, odd, rows.decided_us, rows.known_us)
    fitted = hist_gradient_boosting(jagged, 3, max_iter=2, max_leaf_nodes=90, min_samples_leaf=2)
    assert flat_trees(fitted.estimator) is None
    assert 0 < fitted.predict(rows.part(0, 1).rows)[0] < 1


def test_tables_that_would_be_too_large_are_not_made(monkeypatch):
    """Memory is bounded: such trees are walked."""
    monkeypatch.setattr(tree_masks_module, "TABLE_BYTES_MAX", 100)
    assert isinstance(flat_trees(hist_gradient_boosting(training(), 7, max_iter=3).estimator), FlatTrees)


def test_a_tree_of_one_leaf_is_a_constant():
    """Where nothing splits, every row is told the baseline and the leaves' values."""
    rows = training(rows=20)
    stump = hist_gradient_boosting(rows, 0, max_iter=2, min_samples_leaf=20)
    flat = flat_trees(stump.estimator)
    matrix = table(3, 1)
    assert flat.predict(matrix) == stump.estimator.predict_proba(matrix)[:, 1].tolist()
