"""Own special functions agree with SciPy's to twelve digits, tails included."""

import math

import pytest
from scipy import special, stats

from tropism.core.errors import InvalidInputError
from tropism.models.special import chi_square_tail, gamma_tail, log_beta, log_incomplete_beta, student_tail


@pytest.mark.parametrize("freedom", [1, 2, 5, 13, 60, 400])
@pytest.mark.parametrize("statistic", [0.0, 0.01, 0.5, 3.0, 12.0, 59.0, 61.0, 350.0, 900.0])
def test_chi_square_tail_is_scipys(freedom, statistic):
    expected = stats.chi2.sf(statistic, freedom)
    assert chi_square_tail(statistic, freedom) == pytest.approx(expected, rel=1e-11, abs=1e-300)


def test_gamma_tail_ends_at_zero():
    assert gamma_tail(3.0, math.inf) == 0.0


@pytest.mark.parametrize(("a", "b"), [(1, 1), (1, 6), (31, 11), (90, 100), (0.5, 2.5)])
@pytest.mark.parametrize("x", [0.1, 0.5, 0.9])
def test_incomplete_beta_is_scipys(a, b, x):
    expected = special.betainc(a, b, x)
    assert math.exp(log_incomplete_beta(a, b, x)) == pytest.approx(expected, rel=1e-9)


def test_incomplete_beta_keeps_its_digits_where_the_probability_underflows():
    """For integers the incomplete beta is a binomial tail, which whole numbers give exactly."""
    a, b = 3000, 5
    tail = sum(math.comb(a + b - 1, k) for k in range(a, a + b))
    assert log_incomplete_beta(a, b, 0.5) == pytest.approx(
        math.log(tail) - (a + b - 1) * math.log(2), rel=1e-12
    )


def test_log_beta_is_scipys():
    assert log_beta(70.0, 3.5) == pytest.approx(special.betaln(70.0, 3.5), rel=1e-13)


@pytest.mark.parametrize(("statistic", "freedom"), [(-1.0, 3), (float("nan"), 3), (1.0, 0)])
def test_impossible_statistics_are_refused(statistic, freedom):
    with pytest.raises(InvalidInputError, match="Give a statistic"):
        chi_square_tail(statistic, freedom)


@pytest.mark.parametrize("freedom", [1, 2, 7, 30, 400, math.inf])
@pytest.mark.parametrize("statistic", [-1e200, -40.0, -3.0, -0.1, 0.0, 1e-9, 0.1, 2.5, 3.5, 12.0, 1e200])
def test_student_tail_is_scipys(statistic, freedom):
    expected = stats.norm.sf(statistic) if freedom == math.inf else stats.t.sf(statistic, freedom)
    assert student_tail(statistic, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-190)


@pytest.mark.parametrize(("statistic", "freedom"), [(float("nan"), 3), (1.0, 0), (1.0, float("nan"))])
def test_impossible_students_are_refused(statistic, freedom):
    with pytest.raises(InvalidInputError, match="Give a statistic"):
        student_tail(statistic, freedom)
