"""Laws of the sequential tests: batch boundaries never matter, and their states are values."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from tropism.models.alarm import DegradationAlarm
from tropism.models.betting import BettingTest
from tropism.models.mcnemar import McNemarTest

LAW = settings(deadline=None, max_examples=100, derandomize=True)
DIFFERENCES = st.floats(-1.0, 1.0)
CUTS = st.lists(st.integers(0, 60), max_size=5)


def batches(stream, cuts):
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def in_batches(test, stream, cuts):
    for batch in batches(stream, cuts):
        test = test.observe_many(batch)
    return test


def one_by_one(test, stream):
    for each in stream:
        test = test.observe(each)
    return test


@LAW
@given(st.lists(DIFFERENCES, max_size=60), CUTS, st.sampled_from([-0.1, 0.0, 0.3]))
def test_betting_gives_the_same_bits_one_by_one_and_in_any_batches(stream, cuts, margin):
    test = BettingTest(margin=margin)
    assert in_batches(test, stream, cuts) == one_by_one(test, stream) == test.observe_many(stream)


@LAW
@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=60), CUTS)
def test_mcnemar_gives_the_same_bits_one_by_one_and_in_any_batches(stream, cuts):
    test = McNemarTest()
    assert in_batches(test, stream, cuts) == one_by_one(test, stream) == test.observe_many(stream)


@LAW
@given(st.lists(st.floats(0.0, 1.0), max_size=60), CUTS, st.sampled_from([5.0, 100.0, 1e5]))
def test_the_alarm_gives_the_same_bits_one_by_one_and_in_any_batches(stream, cuts, run_length):
    alarm = DegradationAlarm(0.2, 0.01, run_length=run_length)
    assert in_batches(alarm, stream, cuts) == one_by_one(alarm, stream) == alarm.observe_many(stream)


@LAW
@given(st.lists(DIFFERENCES, max_size=40), DIFFERENCES, DIFFERENCES)
def test_a_fair_next_difference_leaves_the_expected_evidence_as_it_is(stream, one, other):
    """A two-point distribution with mean zero: the wealth is a martingale, whatever was bet."""
    low, high = min(-abs(one), -1e-3), max(abs(other), 1e-3)
    chance_of_high = -low / (high - low)
    test = BettingTest().observe_many(stream)
    up, down = test.observe(high).e_value, test.observe(low).e_value
    expected = chance_of_high * up + (1 - chance_of_high) * down
    assert abs(expected - test.e_value) <= 1e-12 * (up + down)


@LAW
@given(st.lists(st.floats(0.0, 1.0), max_size=40), st.floats(0.2, 1.0))
def test_at_its_reference_the_expected_alarm_statistic_grows_by_at_most_one(stream, high):
    alarm = DegradationAlarm(0.2, run_length=1e9).observe_many(stream)
    chance_of_high = 0.2 / high
    up, down = alarm.observe(high).statistic, alarm.observe(0.0).statistic
    expected = chance_of_high * up + (1 - chance_of_high) * down
    assert expected <= (alarm.statistic + 1.0) * (1 + 1e-12)


@LAW
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_the_peak_of_mcnemar_is_the_highest_evidence_ever_seen(pairs):
    """The shortcut that skips hopeless pairs must not change the peak."""
    test, highest = McNemarTest(), 0.0
    for champion, challenger in pairs:
        test = test.observe(challenger - champion)
        highest = max(highest, test.log_e_value)
    assert abs(test.log_peak - highest) <= 1e-12 * max(1.0, highest)
