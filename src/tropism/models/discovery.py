"""False-discovery control: of all the alarms raised, on average at most a stated share is false."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from tropism.core.errors import InvalidInputError
from tropism.models.betting import check_level

_P_MIN = 1e-300  # below this a p-value is a rounding of zero
_ZETA = 2.612375348685488  # the sum of t^-1.5, so that the shares of alpha add up to 1


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Give the adjusted p-value (q-value) of each test of one look: reject those at most the wanted rate.

    Shapes: n p-values -> n q-values, same order.
    Raises: InvalidInputError if a p-value is outside [0, 1].    Source: Benjamini & Hochberg, JRSS-B 1995.
    """
    order = sorted(range(len(p_values)), key=lambda i: (_probability(p_values[i]), i), reverse=True)
    adjusted, smallest = [1.0] * len(p_values), 1.0
    for above, index in enumerate(order):
        rank = len(p_values) - above
        smallest = min(smallest, p_values[index] * len(p_values) / rank)
        adjusted[index] = smallest
    return adjusted


def calibrated(p_value: float) -> float:
    """Turn a p-value into an e-value: the average of k p^(k-1) over k in (0, 1), needing no choice of k.

    Raises: InvalidInputError if the p-value is outside [0, 1].
    Source: Vovk & Wang, Annals of Statistics 2021.
    """
    p = max(_probability(p_value), _P_MIN)
    log_p = math.log(p)
    if log_p > -1e-3:
        return 0.5 - log_p / 6.0  # the formula below is 0 / 0 at p = 1; this is its expansion there
    return (1.0 - p + p * log_p) / (p * log_p * log_p)


@dataclass(frozen=True, slots=True)
class OnlineDiscovery:
    """e-LOND: control over a stream of tests without end, however they depend on each other.

    Test t gets the level alpha t^-1.5 / zeta(1.5) (discoveries + 1): each discovery pays for later ones.
    The decision to run a test, and its place in the order, must not look at its own e-value.
    Raises: InvalidInputError unless 0 < alpha < 1.    Source: Xu & Ramdas, AISTATS 2024.
    """

    alpha: float = 0.05
    tests: int = 0
    discoveries: int = 0

    def __post_init__(self) -> None:
        check_level(self.alpha)

    @property
    def level(self) -> float:
        """The level of the next test: it is a discovery if its e-value reaches 1 / level."""
        return self.alpha * math.pow(self.tests + 1, -1.5) / _ZETA * (self.discoveries + 1)

    def test(self, e_value: float) -> tuple[Self, bool]:
        """Return the control after one more test, and whether it is a discovery.

        Raises: InvalidInputError if the e-value is negative or NaN.
        """
        if not e_value >= 0.0:
            raise InvalidInputError(
                f"Cannot test e-value {e_value!r}: it is not at least 0. Give the value of an e-process."
            )
        found = e_value * self.level >= 1.0
        return replace(self, tests=self.tests + 1, discoveries=self.discoveries + found), found


def _probability(p_value: float) -> float:
    if not 0.0 <= p_value <= 1.0:
        raise InvalidInputError(f"Cannot use p-value {p_value!r}: it is outside [0, 1]. Give a probability.")
    return p_value
