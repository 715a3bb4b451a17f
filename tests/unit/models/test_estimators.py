"""Mixed columns become numbers in one way, whether they come as lists or as arrays."""

from functools import partial

import numpy as np
import pytest

from tropism.models.estimators import encoding_of, hist_gradient_boosting, logistic
from tropism.models.rows import Rows, TrainingRows

NAMES = ("place", "colour", "x")


def rows_of(count=400, places=40):
    place = [f"p{n % places:02d}" for n in range(count)]
    colour = [("red", "blue", None)[n % 3] for n in range(count)]
    x = [None if n % 7 == 0 else n / count for n in range(count)]
    outcomes = np.array([float(n % 3 == 0) for n in range(count)])
    return TrainingRows(NAMES, [place, colour, x], outcomes, np.arange(count), np.arange(count))


def test_none_and_unknown_categories_are_missing_and_the_most_frequent_is_first():
    encoding = encoding_of(Rows(("c", "x"), [["b", "a", "b", None], [1, None, True, 2.5]]))
    assert encoding.categories == {"c": {"b": 0.0, "a": 1.0}}
    np.testing.assert_array_equal(
        encoding.matrix(Rows(("c", "x"), [["a", None, "new"], [None, 3, False]])),
        [[1.0, np.nan], [np.nan, 3.0], [np.nan, 0.0]],
    )


def test_strings_are_categories_though_none_of_them_spells_a_number():
    """A column of them is not empty, whatever `float` would make of each."""
    encoding = encoding_of(Rows(("c", "d", "e"), [["nan", None], ["", "x"], [None, float("nan")]]))
    assert encoding.categories == {"c": {"nan": 0.0}, "d": {"": 0.0, "x": 1.0}}
    assert encoding.empty == {"e"}


def test_an_array_with_nan_says_what_a_list_with_none_does():
    rows = rows_of()
    arrays = [*rows.columns[:2], np.array(rows.columns[2], dtype=np.float64)]
    same = TrainingRows(NAMES, arrays, rows.outcomes, rows.decided_us, rows.known_us)
    one, other = (hist_gradient_boosting(each, 3, max_iter=5) for each in (rows, same))
    assert one.predict(rows.rows) == other.predict(same.rows) == other.predict(rows.rows)


@pytest.mark.parametrize(("most", "split"), [(40, [True, True]), (39, [False, True]), (1, [False, False])])
def test_only_features_of_few_categories_are_split_as_such(most, split):
    predictor = hist_gradient_boosting(rows_of(), 0, max_iter=2, split_categories_max=most)
    found = predictor.estimator.is_categorical_
    assert split == [False, False] if found is None else found[:2].tolist() == split


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("fit", [partial(hist_gradient_boosting, max_iter=3), logistic])
@pytest.mark.parametrize("nothing", [None, float("nan"), [1.0]], ids=str)
def test_a_feature_without_any_value_in_training_tells_nothing_whatever_comes_later(fit, nothing):
    rows = rows_of()
    columns = [rows.columns[0], [nothing] * len(rows), rows.columns[2]]
    predictor = fit(TrainingRows(NAMES, columns, rows.outcomes, rows.decided_us, rows.known_us), 3)
    later = Rows(NAMES, [["p01"] * 5, [None, "red", 7.0, [1.0], {}], [0.5] * 5])
    assert len(set(predictor.predict(later))) == 1


@pytest.mark.parametrize("fit", [partial(hist_gradient_boosting, max_iter=3), logistic])
def test_what_is_no_number_is_missing_in_a_column_of_numbers_and_unknown_among_categories(fit):
    predictor = fit(rows_of(), 3)
    odd = Rows(NAMES, [["p01"] * 6, ["red"] * 6, [None, "far", [1.0], {}, [], 10**400]])
    assert len(set(predictor.predict(odd))) == 1
    spelt = Rows(NAMES, [["p01"] * 2, ["red"] * 2, [0.25, "0.25"]])
    assert len(set(predictor.predict(spelt))) == 1
    unknown = Rows(NAMES, [["p01"] * 4, [None, "green", [1.0], 3.5], [0.5] * 4])
    assert len(set(predictor.predict(unknown))) == 1
