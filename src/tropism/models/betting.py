"""An anytime-valid test on paired bounded losses: look as often as you like, the error stays below alpha.

Each pair gives a difference d = loss of the champion - loss of the challenger. A gambler who stakes a share
of the wealth on "d is above -margin" can only grow rich if that is so: under the null the wealth is a
nonnegative supermartingale, hence P(it ever reaches 1 / alpha) <= alpha (Ville).

The bets are a fixed mixture of five stakes and not a plug-in (aGRAPA), because measured it decides sooner
where deciding takes long. Median rows on 0/1 losses, 10 % disagreement, 300 streams: gain of 1 point 6,730
(98 % found in 20,000) against 8,249 (94 %), 2 points 1,760 against 1,987; the price is 270 against 239 at
5 points, and 5 to 8 % on Brier differences. Five geometric stakes did as well as eight, and the state stays
five floats.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from tropism.core.errors import InvalidInputError

_FRACTIONS = (0.05, 0.1, 0.2, 0.4, 0.8)  # stakes, as shares of the largest that can never go broke
_ENOUGH = 1e200  # the process stops here: beyond any alpha, and far from overflow


@dataclass(frozen=True, slots=True)
class BettingTest:
    """Evidence against H0: E[d | past] <= -margin, for differences d in [-bound, bound].

    Units: those of the loss. margin > 0 asks for non-inferiority, 0 for superiority, < 0 for so large a gain.
    To test whether the challenger is worse, observe the negated differences.
    Raises: InvalidInputError if bound is not positive or margin is not below it.
    Source: Waudby-Smith & Ramdas, JRSS-B 2023; per-step null, see Choe & Ramdas 2023 for the average one.
    """

    margin: float = 0.0
    bound: float = 1.0
    count: int = 0
    wealths: tuple[float, float, float, float, float] = (0.2, 0.2, 0.2, 0.2, 0.2)
    peak: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.bound < float("inf") or not -float("inf") < self.margin < self.bound:
            raise InvalidInputError(
                f"Cannot test differences within {self.bound!r}: the margin is {self.margin!r}. "
                "Choose a finite bound above 0 and a margin below it."
            )

    @property
    def e_value(self) -> float:
        """The evidence now: at most 1 in expectation under the null; stops growing at 1e200."""
        w1, w2, w3, w4, w5 = self.wealths
        return w1 + w2 + w3 + w4 + w5

    def rejects(self, alpha: float) -> bool:
        """Whether the evidence has at any moment reached 1 / alpha; once true, it stays true."""
        return self.peak * check_level(alpha) >= 1.0

    def observe(self, difference: float) -> Self:
        """Return the evidence after one more pair."""
        return self.observe_many((difference,))

    def observe_many(self, differences: Iterable[float]) -> Self:
        """Return the evidence after these pairs: bit for bit what one by one would give.

        Raises: InvalidInputError if a difference is NaN or beyond the bound.
        """
        count, peak, bound, margin = self.count, self.peak, self.bound, self.margin
        s1, s2, s3, s4, s5 = (fraction / (bound - margin) for fraction in _FRACTIONS)
        w1, w2, w3, w4, w5 = self.wealths  # five names, not a loop: four times as fast
        evidence = w1 + w2 + w3 + w4 + w5
        for difference in differences:
            if not -bound <= difference <= bound:
                raise _beyond(difference, bound)
            count += 1
            if evidence >= _ENOUGH:
                continue
            gain = difference + margin
            w1 *= 1.0 + s1 * gain
            w2 *= 1.0 + s2 * gain
            w3 *= 1.0 + s3 * gain
            w4 *= 1.0 + s4 * gain
            w5 *= 1.0 + s5 * gain
            evidence = w1 + w2 + w3 + w4 + w5
            if evidence > peak:  # noqa: PLR1730 (a call to max() costs a third more)
                peak = evidence
        return replace(self, count=count, wealths=(w1, w2, w3, w4, w5), peak=peak)


def check_level(alpha: float) -> float:
    """Return alpha if it is an error rate.

    Raises: InvalidInputError unless 0 < alpha < 1.
    """
    if not 0.0 < alpha < 1.0:
        raise InvalidInputError(
            f"Cannot test at level {alpha!r}: it is not an error rate. Choose 0 < alpha < 1."
        )
    return alpha


def _beyond(difference: float, bound: float) -> InvalidInputError:
    return InvalidInputError(
        f"Cannot observe difference {difference!r}: it is outside [-{bound}, {bound}]. "
        "Declare the bound of the loss, or correct the loss."
    )
