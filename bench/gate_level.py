"""How often the gate is wrong where outcomes fail together: betting on blocks of time, against on each."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from tropism.core.time import MICROSECONDS
from tropism.models.betting import BettingTest
from tropism.models.events import OutcomeLearned
from tropism.models.evidence import learn
from tropism.models.policy import Gate, Policy
from tropism.models.state import Arm, LoopState

STREAMS = 200
DAYS = 14
OUTCOMES_A_DAY = 900
DEVIATION = 0.075
SHARED = 0.017
SHARED_HOURS = 6.0
GATE = Gate(margin=0.0)
BLOCK_HOURS = (2, 3, 6, 12)
METHOD = (
    f"{STREAMS} streams of {DAYS} days of {OUTCOMES_A_DAY} paired differences of Brier scores, of standard "
    f"deviation {DEVIATION}: {SHARED:.1%} of the variance is a weather that all share and that fades within "
    f"{SHARED_HOURS:g} h (chosen by the autocorrelation between two models of the flights). Signs flipped a "
    f"day at a time: neither side is better on average. Wrong promotions at level {GATE.alpha:g}, margin 0; "
    f"ours bets on blocks of {GATE.block}, the peer on each outcome. `together`: other lengths too; "
    f"`independent`: the same with signs flipped an outcome at a time."
)

DAY_SECONDS = 86_400
STATE = LoopState(
    champion=Arm(1, "champion", 0, 0),
    challenger=Arm(2, "challenger", 0, 0),
    gate=BettingTest(0.0, GATE.bound),
)


def measure() -> dict[str, object]:
    together = _wrong(by_day=True)
    alone = _wrong(by_day=False)
    ours, peer = together[f"blocks of {GATE.block}"], together["outcomes"]
    return {
        "ours": ours,
        "peer": peer,
        "ratio": ours / max(peer, 1),
        "together": together,
        "independent": alone,
        "unit": f"wrong promotions of {STREAMS}",
        "method": METHOD,
    }


def _wrong(*, by_day: bool) -> dict[str, int]:
    """Return on how many streams each way to bet would have promoted."""
    random = np.random.default_rng(0)
    found: Counter[str] = Counter({"outcomes": 0})
    for _ in range(STREAMS):
        seconds, differences = _stream(random, by_day=by_day)
        found["outcomes"] += _by_outcomes(differences)
        learned = _learned(seconds, differences)
        for hours in BLOCK_HOURS:
            gate = replace(GATE, block=timedelta(hours=hours))
            found[f"blocks of {gate.block}"] += _by_blocks(learned, gate)
    return dict(found)


def _stream(random: np.random.Generator, *, by_day: bool) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return when outcomes come, in seconds, and by how much the challenger does better on each."""
    count = DAYS * OUTCOMES_A_DAY
    seconds = np.sort(random.integers(0, DAYS * DAY_SECONDS, count))
    # An Ornstein-Uhlenbeck process, seen at the outcomes.
    fading = np.exp(-np.diff(seconds, prepend=seconds[0]) / (SHARED_HOURS * 3600.0))
    shocks = random.normal(size=count) * np.sqrt(1.0 - fading**2)
    weather = np.empty(count)
    now = random.normal()
    for place, (share, shock) in enumerate(zip(fading.tolist(), shocks.tolist(), strict=True)):
        now = share * now + shock
        weather[place] = now
    own = random.normal(size=count)
    differences = DEVIATION * (np.sqrt(SHARED) * weather + np.sqrt(1.0 - SHARED) * own)
    signs = random.choice([-1.0, 1.0], size=DAYS if by_day else count)
    signs = signs[seconds // DAY_SECONDS] if by_day else signs
    return seconds, np.clip(signs * differences, -0.45, 0.45)


def _learned(
    seconds: NDArray[np.int64], differences: NDArray[np.float64]
) -> list[tuple[int, OutcomeLearned]]:
    """Return outcomes whose paired squared errors have these differences."""
    champion, challenger = np.sqrt(0.25 + differences / 2.0), np.sqrt(0.25 - differences / 2.0)
    return [
        (at * MICROSECONDS, _outcome(at * MICROSECONDS, mine, its))
        for at, mine, its in zip(seconds.tolist(), champion.tolist(), challenger.tolist(), strict=True)
    ]


def _by_blocks(learned: list[tuple[int, OutcomeLearned]], gate: Gate) -> bool:
    """Say whether the product's own gate would promote."""
    test = learn(STATE, learned, Policy(gate=gate)).gate
    return test is not None and test.rejects(gate.alpha)


def _outcome(at_us: int, champion: float, challenger: float) -> OutcomeLearned:
    return OutcomeLearned(
        model="bench",
        subject="",
        decision_id="",
        value=0.0,
        decided_us=at_us,
        version=1,
        output=champion,
        act=False,
        others={"2": challenger},
    )


def _by_outcomes(differences: NDArray[np.float64]) -> bool:
    test = BettingTest().observe_many(differences[: GATE.outcomes_min].tolist())
    if test.e_value * GATE.alpha >= 1.0:
        return True
    # What was reached before so many outcomes counts no more than what is reached after them.
    later = BettingTest(count=test.count, wealths=test.wealths, peak=test.e_value)
    return later.observe_many(differences[GATE.outcomes_min :].tolist()).rejects(GATE.alpha)
