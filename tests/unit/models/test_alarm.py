"""The alarm comes late when nothing is wrong and soon when the losses rise."""

import math
import random
import statistics
import time

import msgspec
import pytest

from tropism.core.errors import InvalidInputError
from tropism.models.alarm import DegradationAlarm


def errors(seed, rows, share):
    rng = random.Random(seed)
    return [float(rng.random() < share) for _ in range(rows)]


def graded(seed, rows):
    """Losses in [0, 1] with mean .2, neither 0/1 nor symmetric."""
    rng = random.Random(seed)
    return [rng.random() ** 4 for _ in range(rows)]


def delays(share, *, tolerance=0.0, runs=60):
    return [
        DegradationAlarm(0.1, tolerance).observe_many(errors(seed, 5000, share)).raised_at or math.inf
        for seed in range(runs)
    ]


@pytest.mark.parametrize(
    ("reference", "losses"),
    [(0.1, lambda seed: errors(seed, 4_000, 0.1)), (0.2, lambda seed: graded(seed, 4_000))],
    ids=["0/1 losses", "graded losses"],
)
def test_without_degradation_the_mean_run_to_an_alarm_is_at_least_the_run_length(reference, losses):
    """Runs are cut off, which can only shorten the mean."""
    alarm = DegradationAlarm(reference, run_length=300.0)
    runs = [alarm.observe_many(stream).raised_at or len(stream) for stream in map(losses, range(150))]
    assert statistics.mean(runs) >= 300.0


def test_the_same_measurement_catches_a_reference_that_is_too_low():
    alarm = DegradationAlarm(0.05, run_length=300.0)
    runs = [alarm.observe_many(errors(seed, 10_000, 0.1)).raised_at or 10_000 for seed in range(50)]
    assert statistics.mean(runs) < 300.0


@pytest.mark.parametrize(
    ("share", "tolerance", "median_max"),
    [(0.15, 0.0, 700), (0.2, 0.0, 190), (0.3, 0.0, 75), (0.2, 0.01, 260), (0.3, 0.01, 85)],
)
def test_a_rise_from_ten_percent_is_seen_sooner_than_by_adwin(share, tolerance, median_max):
    """ADWIN at delta .002 needs a median of 1192, 280 and 120 rows for 15, 20 and 30 % of errors."""
    assert statistics.median(delays(share, tolerance=tolerance)) <= median_max


def test_a_loss_within_the_tolerance_is_no_degradation():
    alarm = DegradationAlarm(0.1, 0.05).observe_many(errors(1, 50_000, 0.12))
    assert not alarm.raised


def test_the_statistic_follows_its_recursion_for_every_stake():
    alarm = DegradationAlarm(0.2).observe_many([0.5, 0.1])
    expected = 0.0
    for fraction in (0.03, 0.06, 0.12, 0.24, 0.48):
        first = 1 + fraction / 0.2 * (0.5 - 0.2)
        expected += (first + 1) * (1 + fraction / 0.2 * (0.1 - 0.2)) / 5
    assert alarm.statistic == pytest.approx(expected, rel=1e-13)


def test_a_raised_alarm_stays_raised_at_its_moment_until_restarted():
    alarm = DegradationAlarm(0.1, run_length=100.0).observe_many([1.0] * 20)
    later = alarm.observe_many([0.0] * 5000)
    assert alarm.raised
    assert (later.raised_at, later.statistic) == (alarm.raised_at, alarm.statistic)
    assert later.count == 5020
    assert later.restarted() == DegradationAlarm(0.1, run_length=100.0)


def test_the_state_survives_json_to_the_last_bit():
    alarm = DegradationAlarm(0.1, 0.01).observe_many(errors(2, 700, 0.12))
    assert msgspec.json.decode(msgspec.json.encode(alarm), type=DegradationAlarm) == alarm


@pytest.mark.parametrize("loss", [-0.1, 1.1, float("nan")])
def test_a_loss_out_of_bounds_is_refused(loss):
    with pytest.raises(InvalidInputError, match=r"^Cannot observe loss .*Declare the bound"):
        DegradationAlarm(0.1).observe(loss)


@pytest.mark.parametrize(
    ("reference", "tolerance", "run_length"),
    [(0.0, 0.0, 1e5), (0.9, 0.1, 1e5), (0.1, 0.0, 1.0), (float("nan"), 0.0, 1e5), (0.1, 0.0, math.inf)],
)
def test_an_alarm_that_could_never_or_always_go_off_is_refused(reference, tolerance, run_length):
    with pytest.raises(InvalidInputError, match=r"^Cannot watch .*Choose 0 < reference"):
        DegradationAlarm(reference, tolerance, run_length=run_length)


def test_an_observation_costs_at_most_a_few_microseconds():
    """Measured .3 us on the reference machine; the bound leaves room for a busy one."""
    losses = errors(1, 100_000, 0.1)
    start = time.perf_counter()
    DegradationAlarm(0.1, 0.02).observe_many(losses)
    assert (time.perf_counter() - start) / 100_000 < 5e-6
