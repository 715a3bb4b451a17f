"""Would a loop pay? A plain answer, with an honest no, and an honest cannot tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tropism.web.facts import History, RowName, Scores
from tropism.web.words import count, decimal, finite, plural, signed

_OUTCOMES_MIN = 300  # below it, chance outweighs any loop
_PERIODS_MIN = 6  # fewer say nothing about how much periods differ
_BLOCKS_MOST = 12  # neighbouring periods are alike: as blocks they count as about independent
_WORTH = 0.01  # a log loss lower by less than one percent pays for no machinery
_ALIKE = (
    0.03  # a difference to the calendar below three percent is called none, if chance alone could make it
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, a sentence that says by how much, and what else one should know."""

    answer: Literal["yes", "no", "unclear"]
    sentence: str
    detail: str

    @property
    def badge(self) -> str:
        """The answer in two or three words."""
        return {"yes": "A loop would pay", "no": "A loop would not pay", "unclear": "Cannot tell"}[
            self.answer
        ]


@dataclass(frozen=True, slots=True)
class Gain:
    """How much lower one log loss is than another, as a share of it, with a 95 % range."""

    share: float
    low: float
    high: float


def judge(scores: Sequence[Scores], histories: Sequence[History]) -> Verdict:
    """Compare the loop with the model trained once, on the same outcomes, period by period."""
    by_row: dict[RowName, Scores] = {each.row: each for each in scores}
    outcomes = min((_outcomes(histories, row) for row in ("static", "tropism")), default=0)
    gain = gain_over(histories, "static") if outcomes >= _OUTCOMES_MIN else None
    if gain is None:
        return Verdict(
            "unclear",
            "Too little data to tell whether a loop would pay.",
            f"There are {plural(outcomes, 'scored outcome')} in {plural(_periods(histories), 'period')}; "
            f"it takes {_OUTCOMES_MIN} outcomes in {_PERIODS_MIN} periods at least. Bring more history, "
            "or shorter periods.",
        )
    detail = " ".join(filter(None, [_cost(by_row), _cron(by_row, histories), _baseline(by_row)]))
    if gain.low > 0 and gain.share >= _WORTH:
        return Verdict("yes", f"Yes: learning on lowers log loss by {_told(gain)}{_auc(by_row)}.", detail)
    if gain.high < 0:
        return Verdict("no", f"No: learning on raises log loss by {_told(_turned(gain))}.", detail)
    if gain.high < _WORTH:
        return Verdict(
            "no",
            f"No: a model trained once stays about as good; learning on changes log loss by {_change(gain)}.",
            detail,
        )
    return Verdict(
        "unclear",
        f"Too close to tell: learning on changes log loss by {_change(gain)}, which chance alone could do.",
        detail,
    )


def gain_over(histories: Sequence[History], other: RowName, row: RowName = "tropism") -> Gain | None:
    """Return how much lower a row's log loss is than another's, or None if there are too few periods.

    Periods are joined into at most twelve blocks, whose weighted differences give mean and spread; the range
    takes Student's quantile for the blocks (within one percent: 1.96 + 2.8 / freedom).
    """
    pairs = _paired(histories, row, other)
    if len(pairs) < _PERIODS_MIN:
        return None
    whole = sum(weight for weight, _, _ in pairs)
    base = sum(weight * theirs for weight, _, theirs in pairs) / whole
    mean = sum(weight * (theirs - own) for weight, own, theirs in pairs) / whole
    blocks = _blocks(pairs)
    freedom = len(blocks) - 1
    spread = sum((sum(w for w, _, _ in each) * (_mean(each) - mean)) ** 2 for each in blocks)
    error = math.sqrt(spread * len(blocks) / freedom) / whole
    reach = (1.96 + 2.8 / freedom) * error
    return Gain(mean / base, (mean - reach) / base, (mean + reach) / base) if base > 0 else None


def _paired(histories: Sequence[History], row: RowName, other: RowName) -> list[tuple[int, float, float]]:
    known = {each.row: {one.start_us: one for one in each.periods} for each in histories}
    own, theirs = known.get(row, {}), known.get(other, {})
    found = []
    for start in sorted(own.keys() & theirs.keys()):
        mine, yours = finite(own[start].log_loss), finite(theirs[start].log_loss)
        weight = min(own[start].outcomes, theirs[start].outcomes)
        if mine is not None and yours is not None and weight > 0:
            found.append((weight, mine, yours))
    return found


def _blocks(pairs: list[tuple[int, float, float]]) -> list[list[tuple[int, float, float]]]:
    blocks = min(_BLOCKS_MOST, len(pairs))
    edges = [round(k * len(pairs) / blocks) for k in range(blocks + 1)]
    return [pairs[a:b] for a, b in pairwise(edges)]


def _mean(pairs: list[tuple[int, float, float]]) -> float:
    return sum(w * (theirs - own) for w, own, theirs in pairs) / sum(w for w, _, _ in pairs)


def _outcomes(histories: Sequence[History], row: RowName) -> int:
    return sum(one.outcomes for each in histories if each.row == row for one in each.periods)


def _periods(histories: Sequence[History]) -> int:
    return len(_paired(histories, "tropism", "static"))


def _auc(by_row: dict[RowName, Scores]) -> str:
    own, once = _value(by_row, "tropism"), _value(by_row, "static")
    if own is None or once is None:
        return ""
    return f", and {'raises' if own >= once else 'lowers'} AUC by {decimal(abs(own - once))}"


def _value(by_row: dict[RowName, Scores], row: RowName) -> float | None:
    return finite(by_row[row].auc) if row in by_row else None


def _cost(by_row: dict[RowName, Scores]) -> str:
    loop = by_row.get("tropism")
    if loop is None or loop.trainings is None:
        return ""
    promoted = "" if loop.promotions is None else f", {count(loop.promotions)} of them worth promoting"
    return f"It took {plural(loop.trainings, 'training')}{promoted}."


def _cron(by_row: dict[RowName, Scores], histories: Sequence[History]) -> str:
    cron, gain = by_row.get("cron"), gain_over(histories, "cron")
    if cron is None or gain is None:
        return ""
    cost = "" if cron.trainings is None else f" with {plural(cron.trainings, 'training')}"
    if gain.low > 0:
        return (
            f"Training by the calendar{cost} does worse: the loop's log loss is {_share(gain.share)} lower."
        )
    if gain.high < 0:
        higher = _share(-gain.share)
        return f"Training by the calendar{cost} does better: the loop's log loss is {higher} higher."
    if abs(gain.share) < _ALIKE:
        return f"Training by the calendar comes to about the same{cost}."
    # A stretch of drift decides such a difference: large here, and yet a single case.
    side, share = ("lower", gain.share) if gain.share > 0 else ("higher", -gain.share)
    return (
        f"Against training by the calendar{cost}, the loop's log loss is {_share(share)} {side} here; other "
        "stretches of time could turn that round."
    )


def _baseline(by_row: dict[RowName, Scores]) -> str:
    loop, same = by_row.get("tropism"), by_row.get("no-change")
    own, repeated = finite(loop.accuracy if loop else None), finite(same.accuracy if same else None)
    if own is None or repeated is None or repeated < own:
        return ""
    return (
        f"Careful: repeating the last label is right in {_share(repeated)} of cases, the loop in "
        f"{_share(own)}: these features may say little beyond it."
    )


def _told(gain: Gain) -> str:
    return f"{_share(gain.share)} (95\u00a0% range {_share(gain.low)} to {_share(gain.high)})"


def _change(gain: Gain) -> str:
    turned = _turned(gain)
    reach = f"{_signed_share(turned.low)} to {_signed_share(turned.high)}"
    return f"{_signed_share(turned.share)} (95\u00a0% range {reach})"


def _turned(gain: Gain) -> Gain:
    """Return by how much log loss rises instead."""
    return Gain(-gain.share, -gain.high, -gain.low)


def _share(share: float) -> str:
    return f"{decimal(share * 100, 1)}\u00a0%"


def _signed_share(share: float) -> str:
    return f"{signed(share * 100, 1)}\u00a0%"
