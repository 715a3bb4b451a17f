"""Builders of loop states, outcomes and moments for the tests of the loop's pure functions."""

import random
from typing import Any

import msgspec

from tropism.core.time import days, hours, to_us
from tropism.models.betting import BettingTest
from tropism.models.control import review
from tropism.models.events import OutcomeLearned
from tropism.models.policy import Degradation, Drift, Gate, Policy, RolloutPlan
from tropism.models.state import Arm, LoopState, Moment, Request, Trained

HOUR, DAY = to_us(hours(1)), to_us(days(1))
NOW = 100 * DAY

POLICY = Policy(
    first_after=10,
    max_age=days(14),
    growth=None,
    drift=Drift(windows=2),
    degradation=Degradation(),
    cooldown=days(2),
    trainings_max=3,
    budget=days(30),
    gate=Gate(margin=0.0, block=hours(1), block_outcomes_min=1, bound=0.5, outcomes_min=5),
    rollout=RolloutPlan(canary_share=0.2, canary=hours(12), challenger_max=days(5), watch=days(7)),
    rollbacks_max=2,
    review=hours(6),
    allowance=hours(6),
)


def arm(version: int, *, since_us: int = NOW - 10 * DAY, known_us: int = NOW - 10 * DAY) -> Arm:
    """Return a version in a role."""
    return Arm(version, f"artifact-{version}", since_us, known_us)


def moment(now_us: int = NOW) -> Moment:
    """Return when a review is made."""
    return Moment("m", now_us, now_us + 6 * HOUR, seed=7)


def champion(**changes: Any) -> LoopState:
    """Return a loop with a champion that was trained some days ago, and nothing else."""
    state = LoopState(
        versions=1,
        outcomes=1000,
        outcomes_at_training=1000,
        champion=arm(1),
        trainings_us=(NOW - 10 * DAY,),
    )
    return msgspec.structs.replace(state, **changes)


def shadow(**changes: Any) -> LoopState:
    """Return a loop with a challenger in shadow."""
    changes = {
        "challenger": arm(2, since_us=NOW - DAY, known_us=NOW - DAY),
        "versions": 2,
        "trainings_us": (NOW - 10 * DAY, NOW - DAY),
        "gate": BettingTest(margin=0.0, bound=0.5),
        "harm": BettingTest(margin=-0.004),
        **changes,
    }
    return champion(**changes)


def proven(test: BettingTest, gain: float = 0.4, count: int = 100) -> BettingTest:
    """Return a test after so many equal differences."""
    return test.observe_many([gain] * count)


def requested(state: LoopState, version: int = 9, at_us: int = NOW - DAY // 2) -> LoopState:
    """Return a loop that waits for a training."""
    return msgspec.structs.replace(state, request=Request(version, "age", at_us))


def kinds(events: list[Any]) -> list[str]:
    """Return the names of events' types."""
    return [type(event).__name__ for event in events]


def reviewed(
    state: LoopState, trained: Trained | None = None, policy: Policy = POLICY, now_us: int = NOW
) -> tuple[LoopState, list[Any]]:
    """Return what a review makes of a state."""
    return review(state, trained, policy, moment(now_us))


def outcomes(
    count: int,
    outputs: dict[int, Any],
    *,
    seed: int = 0,
    chance: float = 0.5,
    start_us: int = NOW,
    step_us: int = HOUR,
) -> list[tuple[int, OutcomeLearned]]:
    """Return outcomes of decisions: per version, a function of (truth, random) gives its output.

    The first version acts. ``truth`` is the chance of the outcome drawn for that decision.
    """
    source = random.Random(seed)
    found = []
    for n in range(count):
        truth = min(max(source.gauss(chance, 0.2), 0.0), 1.0)
        said = {version: function(truth, source) for version, function in outputs.items()}
        acting, *others = said
        value = float(source.random() < truth)
        found.append(
            (start_us + n * step_us, learned(n, value, acting, said, decided_us=start_us + n * step_us))
        )
        del others
    return found


def learned(
    n: int, value: float, acting: int, said: dict[int, Any], *, decided_us: int = NOW, **more: Any
) -> OutcomeLearned:
    """Return one outcome."""
    return OutcomeLearned(
        model="m",
        subject=f"s{n}",
        decision_id=f"d{n}",
        value=value,
        decided_us=decided_us,
        version=acting,
        output=said[acting],
        act=said[acting] >= 0.5,
        others={str(version): output for version, output in said.items() if version != acting},
        **more,
    )
