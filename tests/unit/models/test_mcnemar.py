"""The McNemar test agrees with its formula in SciPy, and errs at most alpha of the time however often one looks."""

import math
import random

import msgspec
import pytest
from scipy import integrate, special, stats

from tropism.core.errors import InvalidInputError
from tropism.models.mcnemar import McNemarTest, log_evidence

ALPHA = 0.05
STREAMS = 300


def pairs(seed, rows, *, gain=0.0):
    weights = (0.05 + gain / 2, 0.05 - gain / 2, 0.9)
    return random.Random(seed).choices((1, -1, 0), weights, k=rows)


@pytest.mark.parametrize(
    ("wins", "losses"), [(0, 0), (5, 0), (0, 5), (30, 10), (400, 380), (380, 400), (9000, 8000)]
)
def test_the_evidence_is_the_formula_computed_with_scipy(wins, losses):
    tail = stats.binom.logcdf(wins, wins + losses + 1, 0.5)  # 1 - I_1/2(1 + w, 1 + l)
    expected = (wins + losses + 1) * math.log(2) + special.betaln(1 + wins, 1 + losses) + tail
    assert log_evidence(wins, losses) == pytest.approx(expected, abs=1e-8)


def test_the_evidence_is_the_mean_likelihood_ratio_over_better_chances():
    mean, _ = integrate.quad(lambda chance: 2 * (2 * chance) ** 12 * (2 - 2 * chance) ** 5, 0.5, 1.0)
    assert log_evidence(12, 5) == pytest.approx(math.log(mean), abs=1e-10)


def test_the_expected_evidence_of_the_next_pair_is_the_evidence_now():
    for wins, losses in [(0, 0), (3, 9), (50, 20)]:
        ahead = (math.exp(log_evidence(wins + 1, losses)) + math.exp(log_evidence(wins, losses + 1))) / 2
        assert ahead == pytest.approx(math.exp(log_evidence(wins, losses)), rel=1e-12)


def test_between_equal_classifiers_it_errs_at_most_alpha_of_the_time():
    wrong = sum(McNemarTest().observe_many(pairs(seed, 3000)).rejects(ALPHA) for seed in range(STREAMS))
    assert wrong / STREAMS <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / STREAMS)


def test_a_better_classifier_is_found():
    found = sum(McNemarTest().observe_many(pairs(seed, 6000, gain=0.02)).rejects(ALPHA) for seed in range(40))
    assert found >= 36


def test_once_rejected_it_stays_rejected_though_the_evidence_fades():
    faded = McNemarTest().observe_many([1] * 20 + [-1] * 40)
    assert faded.rejects(ALPHA)
    assert faded.e_value < 1.0


def test_overwhelming_evidence_stays_a_float():
    test = McNemarTest().observe_many([1] * 3000)
    assert math.isfinite(test.e_value)
    assert test.log_e_value == pytest.approx(3001 * math.log(2) - math.log(3001), rel=1e-12)


def test_agreeing_pairs_count_and_say_nothing():
    assert McNemarTest().observe_many([0] * 9) == McNemarTest(count=9)


def test_the_state_survives_json():
    test = McNemarTest().observe_many(pairs(3, 300))
    assert msgspec.json.decode(msgspec.json.encode(test), type=McNemarTest) == test


def test_a_graded_difference_is_refused():
    with pytest.raises(InvalidInputError, match=r"^Cannot observe difference 0\.5: .*Use BettingTest"):
        McNemarTest().observe(0.5)
