"""Special functions that the tests need, in pure Python: chi-square and Student tails, incomplete beta."""

import math

from tropism.core.errors import InvalidInputError

_PRECISION = 1e-16
_TINY = 1e-300  # keeps Lentz's denominators away from zero
_TERMS_MAX = 1_000_000  # both fractions need about sqrt(shape) terms


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Give P(X >= statistic) for a chi-square variable.

    Units: freedom = degrees of freedom, at least 1.
    Raises: InvalidInputError if freedom < 1 or the statistic is negative or NaN.
    """
    if freedom < 1 or not statistic >= 0.0:
        raise InvalidInputError(
            f"Cannot take the chi-square tail at {statistic!r}: it has {freedom} degrees of freedom. "
            "Give a statistic of at least 0 and at least 1 degree."
        )
    return gamma_tail(freedom / 2.0, statistic / 2.0)


def gamma_tail(shape: float, x: float) -> float:
    """Give the regularised upper incomplete gamma function Q(shape, x), for shape > 0 and x >= 0.

    Source: DLMF 8.11.4 (series) and 8.9.2 (continued fraction).
    """
    if x <= 0.0:
        return 1.0
    if math.isinf(x):
        return 0.0
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1.0:
        return max(0.0, 1.0 - front * _gamma_series(shape, x))
    return front * _gamma_fraction(shape, x)


def _gamma_series(shape: float, x: float) -> float:
    term = total = 1.0 / shape
    for step in range(1, _TERMS_MAX):
        term *= x / (shape + step)
        total += term
        if term < total * _PRECISION:
            break
    return total


def _gamma_fraction(shape: float, x: float) -> float:
    b = x + 1.0 - shape
    c, d = 1.0 / _TINY, 1.0 / b
    value = d
    for step in range(1, _TERMS_MAX):
        a = -step * (step - shape)
        b += 2.0
        d = 1.0 / _away_from_zero(a * d + b)
        c = _away_from_zero(b + a / c)
        value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


def student_tail(statistic: float, freedom: float) -> float:
    """Give P(T >= statistic) for Student's t: the standard normal where the degrees of freedom are infinite.

    Raises: InvalidInputError if freedom < 1 or the statistic is NaN.    Source: DLMF 8.17 and A&S 26.7.1.
    """
    if not freedom >= 1.0 or math.isnan(statistic):
        raise InvalidInputError(
            f"Cannot take Student's tail at {statistic!r}: it has {freedom!r} degrees of freedom. "
            "Give a statistic that is a number and at least 1 degree."
        )
    if math.isinf(freedom):
        return 0.5 * math.erfc(statistic / math.sqrt(2.0))
    share = freedom / (freedom + statistic * statistic)
    if share in {0.0, 1.0}:
        tail = 0.5 * share
    else:
        tail = 0.5 * math.exp(log_incomplete_beta(freedom / 2.0, 0.5, share))
    return tail if statistic >= 0.0 else 1.0 - tail


def log_beta(a: float, b: float) -> float:
    """Give the logarithm of the complete beta function B(a, b), for a, b > 0."""
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def log_incomplete_beta(a: float, b: float, x: float) -> float:
    """Give the logarithm of the regularised incomplete beta I_x(a, b), exact far out in either tail.

    Shapes: a, b > 0 and 0 < x < 1.    Source: DLMF 8.17.22 (continued fraction), by Lentz's method.
    """
    if x < (a + 1.0) / (a + b + 2.0):
        return _log_beta_left(a, b, x)
    return math.log1p(-math.exp(_log_beta_left(b, a, 1.0 - x)))


def _log_beta_left(a: float, b: float, x: float) -> float:
    front = a * math.log(x) + b * math.log1p(-x) - log_beta(a, b) - math.log(a)
    return front + math.log(_beta_fraction(a, b, x))


def _beta_fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, _TERMS_MAX):
        at = a + 2 * m
        even = m * (b - m) * x / ((at - 1.0) * at)
        odd = -(a + m) * (a + b + m) * x / (at * (at + 1.0))
        for numerator in (even, odd):
            d = 1.0 / _away_from_zero(1.0 + numerator * d)
            c = _away_from_zero(1.0 + numerator / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
