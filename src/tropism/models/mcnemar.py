"""An anytime-valid McNemar test: which of two classifiers is right when exactly one of them is.

Pairs on which both are right or both are wrong say nothing. Under H0 each of the others is a win for the
challenger with chance at most 1/2. The evidence averages the likelihood ratio over every better chance,
uniformly on (1/2, 1]: E = 2^(w+l+1) B(1+w, 1+l) (1 - I_1/2(1+w, 1+l)).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from tropism.core.errors import InvalidInputError
from tropism.models.betting import check_level
from tropism.models.special import log_beta, log_incomplete_beta

_LOG_FLOAT_MAX = 700.0


@dataclass(frozen=True, slots=True)
class McNemarTest:
    """Evidence against H0: where they differ, the challenger is right at most half the time.

    Units: count = pairs seen, wins = challenger alone right, losses = champion alone right.
    Source: McNemar 1947 as the mixture e-process of Ramdas et al., Statistical Science 2023.
    """

    count: int = 0
    wins: int = 0
    losses: int = 0
    log_peak: float = 0.0

    @property
    def log_e_value(self) -> float:
        """The natural logarithm of the evidence now."""
        return log_evidence(self.wins, self.losses)

    @property
    def e_value(self) -> float:
        """The evidence now, cut off at e^700."""
        return math.exp(min(self.log_e_value, _LOG_FLOAT_MAX))

    def rejects(self, alpha: float) -> bool:
        """Whether the evidence has at any moment reached 1 / alpha; once true, it stays true."""
        return self.log_peak >= -math.log(check_level(alpha))

    def observe(self, difference: int) -> Self:
        """Return the evidence after one more pair: 1: challenger alone right, -1: champion, 0: neither."""
        return self.observe_many((difference,))

    def observe_many(self, differences: Iterable[int]) -> Self:
        """Return the evidence after these pairs: bit for bit what one by one would give.

        Raises: InvalidInputError if a difference is none of -1, 0, 1.
        """
        count, wins, losses, log_peak = self.count, self.wins, self.losses, self.log_peak
        for difference in differences:
            if difference == 1:
                wins += 1
                if _log_evidence_max(wins, losses) > log_peak:
                    log_peak = max(log_peak, log_evidence(wins, losses))
            elif difference == -1:
                losses += 1  # a loss never raises the evidence, so the peak needs no look
            elif difference != 0:
                raise InvalidInputError(
                    f"Cannot observe difference {difference!r}: hard labels differ by -1, 0 or 1. "
                    "Use BettingTest for graded losses."
                )
            count += 1
        return replace(self, count=count, wins=wins, losses=losses, log_peak=log_peak)


def log_evidence(wins: int, losses: int) -> float:
    """Give the natural logarithm of the McNemar e-value after so many discordant pairs."""
    a, b = 1.0 + wins, 1.0 + losses
    return (a + b - 1.0) * math.log(2.0) + log_beta(a, b) + log_incomplete_beta(b, a, 0.5)


def _log_evidence_max(wins: int, losses: int) -> float:
    # The mixture never beats its best member, which costs two logarithms and not two continued fractions.
    if wins <= losses:
        return 0.0
    count = wins + losses
    against = losses * math.log(2.0 * losses / count) if losses else 0.0
    return wins * math.log(2.0 * wins / count) + against
