"""Drift is measured as SciPy measures it, and reported only when it is both large and beyond chance."""

import math
import random

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from tropism.core.errors import InvalidInputError
from tropism.models.discovery import OnlineDiscovery
from tropism.models.drift import (
    chi_square_p_value,
    drift_report,
    jensen_shannon,
    population_stability,
    watch_drift,
)
from tropism.models.sketch.features import feature_sketch

NAMES = ("stable", "moved", "carrier", "new-carrier")


def table(seed, rows, *, drifted=False):
    rng = random.Random(seed)
    shift = 1.0 if drifted else 0.0
    carriers = "ABCZ" if drifted else "ABC"
    return [
        [rng.gauss(0, 1) for _ in range(rows)],
        [rng.gauss(shift, 1) for _ in range(rows)],
        rng.choices("ABC", k=rows),
        rng.choices(carriers, k=rows),
    ]


@pytest.fixture(scope="module")
def reference():
    return feature_sketch(NAMES, table(0, 5000))


def counts(seed, size=8):
    rng = np.random.default_rng(seed)
    return rng.integers(20, 500, size).tolist(), rng.integers(20, 500, size).tolist()


@pytest.mark.parametrize("seed", range(4))
def test_the_p_value_is_scipys_where_no_cell_is_rare(seed):
    before, after = counts(seed)
    close = [b + 5 * (i % 3) for i, b in enumerate(before)]
    for one, other in ((before, after), (before, close)):
        expected = stats.chi2_contingency([one, other], correction=False).pvalue
        assert chi_square_p_value(one, other) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("seed", range(4))
def test_the_jensen_shannon_divergence_is_scipys(seed):
    before, after = counts(seed)
    expected = distance.jensenshannon(before, after, base=2) ** 2
    assert jensen_shannon(before, after) == pytest.approx(expected, rel=1e-9)


def test_rare_cells_are_pooled_before_they_can_alarm():
    """One row of a new kind among 400: unpooled, its cell alone would carry a third of the statistic."""
    pooled = chi_square_p_value([200, 200, 1, 0], [200, 198, 0, 2])
    expected = stats.chi2_contingency([[200, 201], [200, 200]], correction=False).pvalue
    assert pooled == pytest.approx(expected, rel=1e-9)


def test_enough_rare_cells_make_a_cell_of_their_own():
    pooled = chi_square_p_value([100, 4, 4, 4], [100, 0, 0, 0])
    expected = stats.chi2_contingency([[100, 12], [100, 0]], correction=False).pvalue
    assert pooled == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("rare", "kept"),
    [((7, 1), [[200, 67], [200, 81]]), ((9, 1), [[200, 60, 9], [200, 80, 1]])],
    ids=["four expected: into the smallest other", "five expected: left alone"],
)
def test_a_cell_is_rare_below_five_expected_rows(rare, kept):
    one, other = [200, 60, rare[0]], [200, 80, rare[1]]
    other[0] += sum(one) - sum(other)  # equal sides, so that half of the cell is expected on each
    kept[1][0] = other[0]
    expected = stats.chi2_contingency(kept, correction=False).pvalue
    assert chi_square_p_value(one, other) == pytest.approx(expected, rel=1e-9)


def test_one_cell_alone_allows_no_test():
    assert chi_square_p_value([50, 0], [60, 0]) is None


def test_the_stability_index_is_its_formula_with_half_a_row_more_in_each_cell():
    p, q = (30.5 / 41, 10.5 / 41), (10.5 / 21, 10.5 / 21)
    expected = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert population_stability([30, 10, 0], [10, 10, 0]) == pytest.approx(expected, rel=1e-12)


def test_without_rows_on_either_side_every_measure_is_absent():
    for measure in (population_stability, jensen_shannon, chi_square_p_value):
        assert measure([0, 0], [3, 4]) is None
        assert measure([3, 4], [0, 0]) is None


def test_what_has_moved_is_found_and_comes_first(reference):
    report = drift_report(reference, reference.emptied().observe(table(1, 1000, drifted=True)))
    assert {each.feature for each in report if each.drifted} == {"moved", "new-carrier"}
    assert [each.drifted for each in report] == [True, True, False, False]
    assert report[0].psi > report[1].psi > 0.1
    assert all(each.q_value >= each.p_value for each in report)
    assert (report[0].rows_reference, report[0].rows_current) == (5000, 1000)


def test_below_the_minimum_of_rows_every_measure_is_absent(reference):
    few = reference.emptied().observe(table(1, 199, drifted=True))
    for each in drift_report(reference, few):
        measures = (each.psi, each.jensen_shannon, each.p_value, each.q_value, each.drifted)
        assert measures == (None,) * 5


def test_a_significant_trifle_is_no_drift():
    rng = np.random.default_rng(1)
    reference = feature_sketch(["x"], [rng.normal(0, 1, 100_000)])
    (found,) = drift_report(reference, reference.emptied().observe([rng.normal(0.05, 1, 100_000)]))
    assert found.p_value < 1e-6
    assert found.drifted is False


def test_without_drift_single_looks_seldom_find_any():
    """Significance alone (psi_min 0), 200 looks at 5 null features: at most 5 % of the looks find anything."""
    rng = np.random.default_rng(7)
    names = [f"f{i}" for i in range(5)]
    reference = feature_sketch(names, rng.normal(size=(5, 20_000)))
    empty, looks = reference.emptied(), 0
    for _ in range(200):
        report = drift_report(reference, empty.observe(rng.normal(size=(5, 400))), psi_min=0.0)
        looks += any(each.drifted for each in report)
    assert looks / 200 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)


def test_watching_for_long_finds_nothing_where_nothing_is():
    rng = np.random.default_rng(8)
    reference = feature_sketch(["x", "y"], rng.normal(size=(2, 20_000)))
    control, empty = OnlineDiscovery(alpha=0.05), reference.emptied()
    for _ in range(300):
        current = empty.observe(rng.normal(size=(2, 400)))
        control, _ = watch_drift(control, reference, current, psi_min=0.0)
    assert (control.tests, control.discoveries) == (600, 0)


def test_watching_finds_a_real_drift_late_in_the_watch(reference):
    current = reference.emptied().observe(table(3, 1000, drifted=True))
    control, report = watch_drift(OnlineDiscovery(tests=5000), reference, current)
    assert {each.feature for each in report if each.drifted} == {"moved", "new-carrier"}
    assert all(each.q_value is None for each in report)
    assert (control.tests, control.discoveries) == (5004, 2)


def test_a_feature_that_cannot_be_tested_costs_no_test(reference):
    control, report = watch_drift(OnlineDiscovery(), reference, reference.emptied())
    assert control.tests == 0
    assert [each.drifted for each in report] == [None] * 4


def test_sketches_of_other_features_are_refused(reference):
    with pytest.raises(InvalidInputError, match="Build both from one reference"):
        drift_report(reference, feature_sketch(["x"], [[1.0]]))
