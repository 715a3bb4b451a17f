"""Metrics agree with scikit-learn where it has them, and with their definition by hand where it has not."""

import time

import numpy as np
import pytest
from sklearn import metrics as oracle

from tropism.core.errors import InvalidInputError
from tropism.models.metrics import (
    brier,
    calibration_curve,
    capture_at,
    expected_calibration_error,
    log_loss,
    roc_auc,
    score,
)


def decisions(seed, size=5000, decimals=15):
    rng = np.random.default_rng(seed)
    outputs = np.round(rng.random(size), decimals)
    return outputs, (rng.random(size) < outputs).astype(int)


@pytest.mark.parametrize("decimals", [15, 2, 1, 0], ids=lambda d: f"{d} decimals")
@pytest.mark.parametrize("seed", [1, 2])
def test_scores_agree_with_scikit_learn_however_many_ties(seed, decimals):
    outputs, labels = decisions(seed, decimals=decimals)
    scores = score(outputs, labels)
    assert scores.roc_auc == pytest.approx(oracle.roc_auc_score(labels, outputs), abs=1e-12)
    assert scores.brier == pytest.approx(oracle.brier_score_loss(labels, outputs), abs=1e-12)
    clipped = np.clip(outputs, 1e-15, 1 - 1e-15)
    assert scores.log_loss == pytest.approx(oracle.log_loss(labels, clipped), abs=1e-12)


def test_score_holds_what_the_single_metrics_give():
    outputs, labels = decisions(3)
    scores = score(outputs, labels, capture_fraction=0.2, bins=7)
    assert (scores.count, scores.positives) == (len(labels), labels.sum())
    assert scores.roc_auc == roc_auc(outputs, labels)
    assert scores.log_loss == log_loss(outputs, labels)
    assert scores.brier == brier(outputs, labels)
    assert scores.capture == capture_at(outputs, labels, fraction=0.2)
    assert scores.capture_fraction == 0.2
    assert scores.calibration_error == expected_calibration_error(outputs, labels, bins=7)


def test_without_rows_every_metric_is_absent():
    scores = score([], [])
    assert (scores.count, scores.positives) == (0, 0)
    absent = (scores.roc_auc, scores.log_loss, scores.brier, scores.calibration_error, scores.capture)
    assert absent == (None,) * 5
    assert calibration_curve([], []) == ()


@pytest.mark.parametrize("label", [0, 1])
def test_with_one_class_only_what_needs_both_is_absent(label):
    scores = score([0.25, 0.75], [label, label])
    assert scores.roc_auc is None
    assert (scores.capture is None) == (label == 0)
    assert scores.brier == pytest.approx((0.0625 + 0.5625) / 2)
    assert scores.log_loss == pytest.approx(-(np.log(0.25) + np.log(0.75)) / 2)


def test_capture_is_the_share_of_positives_in_the_top_fraction():
    outputs = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0]
    labels = [1, 0, 1, 0, 0, 0, 1, 0, 0, 1]
    assert capture_at(outputs, labels, fraction=0.1) == 0.25
    assert capture_at(outputs, labels, fraction=0.3) == 0.5
    assert capture_at(outputs, labels, fraction=1.0) == 1.0


def test_capture_of_tied_outputs_is_the_mean_over_all_orders():
    assert capture_at([0.5] * 8, [1, 0, 0, 1, 0, 0, 0, 0], fraction=0.25) == 0.25
    assert capture_at([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], fraction=0.5) == 0.75


def test_calibration_bins_have_equal_mass_when_outputs_differ():
    outputs, labels = decisions(4, size=1000)
    curve = calibration_curve(outputs, labels, bins=8)
    assert [each.count for each in curve] == [125] * 8
    ordered = np.argsort(outputs)
    for each, rows in zip(curve, np.split(ordered, 8), strict=True):
        assert each.mean_output == pytest.approx(outputs[rows].mean())
        assert each.positive_share == pytest.approx(labels[rows].mean())


def test_calibration_error_is_the_mean_gap_weighted_by_rows():
    outputs = [0.0, 0.0, 0.0, 1.0]
    assert expected_calibration_error(outputs, [0, 0, 1, 1], bins=10) == pytest.approx(0.75 / 3)
    assert expected_calibration_error([0.5] * 4, [1, 1, 1, 1], bins=3) == 0.5


def test_a_certain_output_that_is_wrong_costs_a_finite_loss():
    assert log_loss([0.0], [1]) == pytest.approx(34.54, abs=0.01)


@pytest.mark.parametrize(
    ("outputs", "labels", "fact"),
    [
        ([0.5], [1, 0], "shapes differ"),
        ([1.5], [1], "output 1.5"),
        ([float("nan")], [1], "output nan"),
        ([0.5], [2], "neither 0 nor 1"),
        ([0.5], [float("nan")], "neither 0 nor 1"),
        ([[0.5]], [[1]], "more than one dimension"),
    ],
)
def test_wrong_input_is_refused_with_its_fact_and_a_remedy(outputs, labels, fact):
    with pytest.raises(InvalidInputError, match=f"^Cannot score .*{fact}.*\\. (Give|Leave) "):
        score(outputs, labels)


@pytest.mark.parametrize("fraction", [0.0, 1.1, float("nan")])
def test_a_fraction_that_is_no_share_is_refused(fraction):
    with pytest.raises(InvalidInputError, match="Choose 0 < fraction <= 1"):
        capture_at([0.5], [1], fraction=fraction)


def test_no_bins_are_refused():
    with pytest.raises(InvalidInputError, match="Choose 1 or more"):
        calibration_curve([0.5], [1], bins=0)


def test_a_year_of_flights_is_scored_well_within_a_second():
    outputs, labels = decisions(5, size=340_000)
    start = time.perf_counter()
    score(outputs, labels)
    assert time.perf_counter() - start < 1.0
