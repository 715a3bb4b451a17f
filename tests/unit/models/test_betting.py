"""The betting test errs at most alpha of the time however often one looks, and decides about as soon as can be."""

import math
import random
import statistics
import time

import msgspec
import pytest

from tropism.core.errors import InvalidInputError
from tropism.models.betting import BettingTest

ALPHA = 0.05
STREAMS = 300
SLACK = 3 * math.sqrt(ALPHA * (1 - ALPHA) / STREAMS)


def hard_losses(seed, rows, *, disagree=0.1, gain=0.0):
    """Differences of 0/1 losses: the challenger wins `gain` more often than it loses."""
    weights = ((disagree + gain) / 2, (disagree - gain) / 2, 1 - disagree)
    return random.Random(seed).choices((1.0, -1.0, 0.0), weights, k=rows)


def brier_losses(seed, rows, *, champion, challenger):
    """Differences of Brier losses of two models that see the truth through noise of so many logits."""
    rng = random.Random(seed)
    for _ in range(rows):
        logit = rng.gauss(-1.2, 1.0)
        late = rng.random() < share(logit)
        one, other = share(logit + rng.gauss(0, champion)), share(logit + rng.gauss(0, challenger))
        yield (late - one) ** 2 - (late - other) ** 2


def share(logit):
    return 1 / (1 + math.exp(-logit))


def rows_to_decide(stream):
    """Rounded up to a multiple of ten, which is enough here and ten times as fast."""
    test, stream = BettingTest(), list(stream)
    for row in range(0, len(stream), 10):
        test = test.observe_many(stream[row : row + 10])
        if test.rejects(ALPHA):
            return row + 10
    return math.inf


def peeked_z_test(stream):
    """Whether a z-test looked at after every hundred rows has ever said yes: what the betting test replaces."""
    total = squares = 0.0
    for rows, difference in enumerate(stream, 1):
        total += difference
        squares += difference * difference
        if rows % 100 == 0 and total > 1.645 * math.sqrt(squares - total * total / rows):
            return True
    return False


def test_between_equal_models_it_errs_at_most_alpha_of_the_time():
    streams = [hard_losses(seed, 5000) for seed in range(STREAMS)]
    wrong = sum(BettingTest().observe_many(stream).rejects(ALPHA) for stream in streams)
    assert wrong / STREAMS <= ALPHA + SLACK


def test_the_same_streams_catch_a_test_that_must_not_be_peeked_at():
    wrong = sum(peeked_z_test(hard_losses(seed, 3000)) for seed in range(100))
    assert wrong / 100 > ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 100)


def test_between_equal_graded_models_it_errs_at_most_alpha_of_the_time():
    streams = (brier_losses(seed, 1000, champion=0.5, challenger=0.5) for seed in range(STREAMS))
    wrong = sum(BettingTest().observe_many(stream).rejects(ALPHA) for stream in streams)
    assert wrong / STREAMS <= ALPHA + SLACK


@pytest.mark.parametrize("margin", [-0.02, 0.02], ids=["a gain is required", "a loss is tolerated"])
def test_at_the_very_edge_of_the_margin_it_errs_at_most_alpha_of_the_time(margin):
    streams = [hard_losses(seed, 3000, gain=-margin) for seed in range(STREAMS)]
    wrong = sum(BettingTest(margin=margin).observe_many(stream).rejects(ALPHA) for stream in streams)
    assert wrong / STREAMS <= ALPHA + SLACK


@pytest.mark.parametrize(
    ("gain", "rows", "median_max"),
    [(0.05, 2_000, 360), (0.02, 8_000, 1_850), (0.01, 20_000, 7_100)],
)
def test_a_real_gain_is_found_in_the_median_rows_of_the_reference_measurements(gain, rows, median_max):
    """Reference: 10 % disagreement, betting e-process with a plug-in: 225, 1,682 and 7,100 rows; fixed n 241, 1,539, 6,200."""
    decided = [rows_to_decide(hard_losses(seed, rows, gain=gain)) for seed in range(31)]
    assert statistics.median(decided) <= median_max


def test_a_better_graded_model_is_found_in_a_few_thousand_rows():
    """The mean gain is .005 at a standard deviation of .094: with the best fixed stake, 2,071 rows."""
    decided = [rows_to_decide(brier_losses(seed, 8_000, champion=0.5, challenger=0.3)) for seed in range(21)]
    assert statistics.median(decided) <= 3_000


def test_a_model_as_good_passes_for_non_inferior():
    passed = sum(
        BettingTest(margin=0.03).observe_many(hard_losses(seed, 3000)).rejects(ALPHA) for seed in range(40)
    )
    assert passed >= 36


def test_once_rejected_it_stays_rejected_though_the_evidence_fades():
    test = BettingTest().observe_many([1.0] * 20)
    faded = test.observe_many([-1.0] * 60)
    assert test.rejects(ALPHA)
    assert faded.rejects(ALPHA)
    assert faded.e_value < 1.0


def test_evidence_starts_at_one_and_is_the_wealth_of_a_mixture_of_stakes():
    assert BettingTest().e_value == 1.0
    stakes = (0.05, 0.1, 0.2, 0.4, 0.8)
    expected = sum(math.prod(1 + s * d for d in (0.5, -0.25)) for s in stakes) / 5
    assert BettingTest().observe_many([0.5, -0.25]).e_value == pytest.approx(expected, rel=1e-14)


def test_neither_endless_gains_nor_endless_losses_leave_the_floats():
    rich, poor = (BettingTest().observe_many([d] * 20_000) for d in (1.0, -1.0))
    assert 1e200 <= rich.e_value < 1e210
    assert 0.0 <= poor.e_value < 1e-300
    assert poor.peak == 1.0
    assert (rich.count, poor.count) == (20_000, 20_000)


def test_the_state_survives_json_to_the_last_bit():
    test = BettingTest(margin=0.01, bound=2.0).observe_many(hard_losses(1, 500, gain=0.03))
    assert msgspec.json.decode(msgspec.json.encode(test), type=BettingTest) == test


@pytest.mark.parametrize("difference", [1.0001, -1.0001, float("nan")])
def test_a_difference_beyond_the_bound_is_refused(difference):
    with pytest.raises(InvalidInputError, match=r"^Cannot observe difference .*Declare the bound"):
        BettingTest().observe(difference)


@pytest.mark.parametrize(("margin", "bound"), [(1.0, 1.0), (0.0, 0.0), (float("nan"), 1.0), (0.0, math.inf)])
def test_a_margin_that_leaves_nothing_to_test_is_refused(margin, bound):
    with pytest.raises(InvalidInputError, match=r"^Cannot test differences .*Choose a finite bound"):
        BettingTest(margin=margin, bound=bound)


@pytest.mark.parametrize("alpha", [0.0, 1.0, float("nan")])
def test_a_level_that_is_no_error_rate_is_refused(alpha):
    with pytest.raises(InvalidInputError, match=r"Choose 0 < alpha < 1"):
        BettingTest().rejects(alpha)


def test_an_observation_costs_at_most_a_few_microseconds():
    """Measured .4 to .5 us on the reference machine; the bound leaves room for a busy one."""
    differences = hard_losses(1, 100_000)
    start = time.perf_counter()
    BettingTest().observe_many(differences)
    assert (time.perf_counter() - start) / 100_000 < 5e-6
