"""Laws of the metrics: the order of the rows changes no bit, and each is what its definition says by brute force."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tropism.models.discovery import benjamini_hochberg
from tropism.models.metrics import calibration_curve, capture_at, roc_auc, score

LAW = settings(deadline=None, max_examples=100, derandomize=True)
ROWS = st.lists(
    st.tuples(st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.25, 0.5, 1.0])), st.booleans()),
    min_size=1,
    max_size=40,
)


@LAW
@given(ROWS, st.randoms())
def test_the_order_of_the_rows_changes_no_bit(rows, rng):
    shuffled = rows.copy()
    rng.shuffle(shuffled)
    assert score(*zip(*rows, strict=True)) == score(*zip(*shuffled, strict=True))


@LAW
@given(ROWS)
def test_auc_is_the_share_of_pairs_ranked_right_ties_counting_half(rows):
    positive = [x for x, label in rows if label]
    negative = [x for x, label in rows if not label]
    wins = sum((p > n) + (p == n) / 2 for p, n in itertools.product(positive, negative))
    pairs = len(positive) * len(negative)
    assert roc_auc(*zip(*rows, strict=True)) == (wins / pairs if pairs else None)


@LAW
@given(ROWS)
def test_turning_outputs_and_labels_over_changes_no_auc(rows):
    outputs, labels = zip(*((round(x, 3), label) for x, label in rows), strict=True)
    turned = roc_auc([1 - x for x in outputs], [not label for label in labels])
    assert turned == roc_auc(outputs, labels)


@LAW
@given(ROWS, st.integers(1, 40))
def test_capture_is_the_share_of_positives_above_the_cut_when_outputs_differ(rows, top):
    distinct = list(dict(rows).items())
    top = min(top, len(distinct))
    ranked = sorted(distinct, key=lambda row: -row[0])
    positives = sum(label for _, label in ranked)
    found = capture_at(*zip(*distinct, strict=True), fraction=top / len(distinct))
    if positives:
        assert found == pytest.approx(sum(label for _, label in ranked[:top]) / positives, abs=1e-9)
    else:
        assert found is None


@LAW
@given(ROWS, st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_capture_never_falls_as_the_fraction_grows(rows, one, other):
    columns = tuple(zip(*rows, strict=True))
    less, more = (capture_at(*columns, fraction=f) for f in sorted((one, other)))
    assert less is None or less <= more + 1e-12


@LAW
@given(ROWS, st.integers(1, 12))
def test_calibration_bins_hold_every_row_once_in_ascending_order(rows, bins):
    curve = calibration_curve(*zip(*rows, strict=True), bins=bins)
    assert sum(each.count for each in curve) == len(rows)
    assert len(curve) <= bins
    assert math.isclose(
        sum(each.count * each.positive_share for each in curve), sum(label for _, label in rows), abs_tol=1e-9
    )
    means = [each.mean_output for each in curve]
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(means))


@LAW
@given(st.lists(st.floats(0.0, 1.0), max_size=30), st.sampled_from([0.01, 0.05, 0.2]))
def test_q_values_reject_exactly_what_the_step_up_procedure_rejects(p_values, rate):
    ranked = sorted(p_values)
    passed = [p for rank, p in enumerate(ranked, 1) if p * len(ranked) / rank <= rate]
    cut = max(passed, default=-1.0)
    assert [q <= rate for q in benjamini_hochberg(p_values)] == [p <= cut for p in p_values]
