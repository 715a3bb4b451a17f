"""False-discovery control agrees with SciPy for one look, and holds over many."""

import math
import random

import msgspec
import pytest
from scipy import integrate, special, stats

from tropism.core.errors import InvalidInputError
from tropism.models.discovery import OnlineDiscovery, benjamini_hochberg, calibrated


@pytest.mark.parametrize("seed", range(5))
def test_q_values_are_scipys(seed):
    rng = random.Random(seed)
    p_values = [round(rng.random() ** 3, 3) for _ in range(40)]
    assert benjamini_hochberg(p_values) == pytest.approx(stats.false_discovery_control(p_values).tolist())


def test_no_p_values_give_no_q_values():
    assert benjamini_hochberg([]) == []


def test_the_calibrator_is_the_mean_over_all_powers():
    for p in (1e-12, 0.003, 0.2, 0.9):
        mean, _ = integrate.quad(lambda power, p=p: power * p ** (power - 1), 0.0, 1.0)
        assert calibrated(p) == pytest.approx(mean, rel=1e-7)


def test_the_calibrator_is_smooth_where_its_formula_is_not_and_finite_at_zero():
    assert calibrated(1.0) == 0.5
    assert calibrated(math.exp(-0.0009)) == pytest.approx(calibrated(math.exp(-0.0011)), rel=1e-4)
    assert math.isfinite(calibrated(0.0))


def test_calibrated_evidence_is_at_most_one_on_average_under_the_null():
    """Split at 1e-6: below it the integral of the calibrator is 1 / -ln p in closed form, up to rounding."""
    body, _ = integrate.quad(calibrated, 1e-6, 1.0, limit=200)
    assert body + 1 / -math.log(1e-6) <= 1.0 + 1e-3


def test_levels_of_a_stream_without_discoveries_add_up_to_alpha():
    control, spent = OnlineDiscovery(alpha=0.05), 0.0
    for _ in range(20_000):
        spent += control.level
        control, _ = control.test(0.0)
    rest = 0.05 / special.zeta(1.5) * 2 / math.sqrt(20_000)
    assert spent + rest == pytest.approx(0.05, rel=1e-4)


def test_a_discovery_pays_for_later_ones():
    found, was_found = OnlineDiscovery(alpha=0.05).test(1000.0)
    missed, was_missed = OnlineDiscovery(alpha=0.05).test(1.0)
    assert (was_found, was_missed) == (True, False)
    assert found.level == pytest.approx(2 * missed.level)


def test_the_share_of_false_discoveries_over_many_looks_stays_below_alpha():
    """One test in five is real and strong; the others are null with p-values uniform, looked at without end."""
    shares = []
    for seed in range(300):
        rng, control, false, found = random.Random(seed), OnlineDiscovery(alpha=0.1), 0, 0
        for step in range(200):
            real = step % 5 == 0
            control, hit = control.test(calibrated(1e-9 if real else rng.random()))
            found += hit
            false += hit and not real
        shares.append(false / max(1, found))
        assert found >= 30
    assert sum(shares) / len(shares) <= 0.1


def test_the_state_survives_json():
    control, _ = OnlineDiscovery(alpha=0.01).test(1e9)
    assert msgspec.json.decode(msgspec.json.encode(control), type=OnlineDiscovery) == control


@pytest.mark.parametrize("p_value", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(p_value):
    with pytest.raises(InvalidInputError, match="Give a probability"):
        calibrated(p_value)
    with pytest.raises(InvalidInputError, match="Give a probability"):
        benjamini_hochberg([0.5, p_value])


def test_what_is_no_evidence_is_refused():
    with pytest.raises(InvalidInputError, match="Give the value of an e-process"):
        OnlineDiscovery().test(float("nan"))
    with pytest.raises(InvalidInputError, match="Choose 0 < alpha < 1"):
        OnlineDiscovery(alpha=0.0)
