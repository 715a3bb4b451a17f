"""Broken data is found, named with its feature and value, and healthy data is let through."""

import random

import pytest

from tropism.core.errors import InvalidInputError
from tropism.models.quality import QualityFinding, QualityLimits, quality_findings
from tropism.models.sketch.features import feature_sketch

NAMES = ("delay", "carrier", "month")


def table(seed, rows):
    rng = random.Random(seed)
    return [
        [rng.gauss(0, 10) if rng.random() > 0.1 else None for _ in range(rows)],
        rng.choices("ABCD", k=rows),
        [float(rng.randint(1, 2)) for _ in range(rows)],
    ]


@pytest.fixture(scope="module")
def reference():
    return feature_sketch(NAMES, table(0, 5000))


def broken(reference, **columns):
    """Findings on a window of 500 rows in which some columns are replaced."""
    healthy = dict(zip(NAMES, table(1, 500), strict=True))
    return quality_findings(reference, reference.emptied().observe(list((healthy | columns).values())))


def test_healthy_windows_have_no_findings(reference):
    for seed in range(1, 40):
        window = reference.emptied().observe(table(seed, 200))
        assert quality_findings(reference, window) == ()


def test_a_jump_of_the_missing_share_is_found(reference):
    delays = [None] * 150 + [1.0, 2.0] * 175
    (finding,) = broken(reference, delay=delays)
    assert (finding.feature, finding.fact, finding.value) == ("delay", "missing_share", 0.3)
    assert finding.limit == pytest.approx(reference.features[0].missing / 5000 + 0.05)


def test_unseen_categories_are_found(reference):
    (finding,) = broken(reference, carrier=["new"] * 100 + ["A", "B"] * 200)
    assert finding == QualityFinding("carrier", "unseen_share", 0.2, 0.05)


def test_values_out_of_range_are_found(reference):
    (finding,) = broken(reference, delay=[1e6] * 60 + [-1e6] * 60 + [0.0, 1.0] * 190)
    assert finding == QualityFinding("delay", "out_of_range_share", 0.24, 0.05)


def test_a_numeric_feature_that_stands_still_is_found(reference):
    (finding,) = broken(reference, delay=[3.0] * 450 + [None] * 50)
    assert (finding.feature, finding.fact) == ("delay", "constant")
    assert finding.value < finding.limit


def test_a_category_that_stands_still_is_found(reference):
    (finding,) = broken(reference, carrier=["A"] * 500)
    assert (finding.feature, finding.fact) == ("carrier", "constant")
    assert finding.value == pytest.approx(0.25, abs=0.03)


def test_different_values_in_one_bin_are_not_constant(reference):
    assert broken(reference, delay=[0.0, 0.001] * 250) == ()


def test_a_rare_flag_that_does_not_occur_is_not_constant():
    flags = feature_sketch(["flag"], [[1.0] * 25 + [0.0] * 4975])
    assert quality_findings(flags, flags.emptied().observe([[0.0] * 500])) == ()


def test_a_feature_that_may_stand_still_does(reference):
    window = reference.emptied().observe([*table(1, 500)[:2], [2.0] * 500])
    (finding,) = quality_findings(reference, window)
    assert (finding.feature, finding.fact) == ("month", "constant")
    allowed = QualityLimits(may_be_constant=frozenset({"month"}))
    assert quality_findings(reference, window, limits=allowed) == ()


def test_a_feature_that_is_all_missing_is_found_once(reference):
    (finding,) = broken(reference, delay=[None] * 500)
    assert (finding.fact, finding.value) == ("missing_share", 1.0)


def test_small_windows_are_not_judged_by_their_shares(reference):
    window = reference.emptied().observe([[None] * 199, ["new"] * 199, [9.0] * 199])
    assert quality_findings(reference, window) == ()


def test_limits_that_are_no_shares_are_refused():
    with pytest.raises(InvalidInputError, match=r"^Cannot limit quality .*Give shares of rows"):
        QualityLimits(missing_share_rise=5.0)


@pytest.mark.parametrize("name", ["rows_min", "findings_last"])
def test_counts_below_one_are_refused(name):
    with pytest.raises(InvalidInputError, match=rf"^Cannot limit quality: {name} is 0\. Choose 1 or more"):
        QualityLimits(**{name: 0})
