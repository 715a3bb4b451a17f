"""What the loop remembers of a model, and what it is told when it decides."""

from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from tropism.core.time import to_us
from tropism.models.alarm import DegradationAlarm
from tropism.models.betting import BettingTest
from tropism.models.events import Rollout, Served
from tropism.models.policy import Policy


class Arm(msgspec.Struct, frozen=True):
    """A version in a role: since when it holds, and up to when the rows it learned from reach."""

    version: int
    artifact: str
    since_us: int
    known_until_us: int

    @property
    def served(self) -> Served:
        """The version as deciders load it."""
        return Served(self.version, self.artifact)


class Request(msgspec.Struct, frozen=True):
    """A training that was asked for and has not come back."""

    version: int
    reason: str
    known_until_us: int


class Block(msgspec.Struct, frozen=True):
    """The paired differences of the block of time at hand."""

    number: int = 0
    total: float = 0.0
    count: int = 0


class Seen(msgspec.Struct, frozen=True):
    """What the windows of one service last said of its data; the last one judged ended at ``until_us``."""

    findings: tuple[str, ...] = ()
    drifted: tuple[str, ...] = ()
    drift_windows: int = 0
    until_us: int = 0


class LoopState(msgspec.Struct, frozen=True):
    """All that the loop remembers of one model."""

    versions: int = 0
    outcomes: int = 0
    outcomes_at_training: int = 0
    request: Request | None = None
    champion: Arm | None = None
    challenger: Arm | None = None
    previous: Arm | None = None
    canary: bool = False
    tried: int = 0
    """Outcomes of decisions made since the canary began, that champion and challenger both answered."""
    gate: BettingTest | None = None
    block: Block = Block()
    harm: BettingTest | None = None
    watch: BettingTest | None = None
    alarm: DegradationAlarm | None = None
    expected_total: float = 0.0
    """The losses that the champion expected of itself, of the outcomes that its alarm has seen."""
    loss_total: float = 0.0
    loss_count: int = 0
    trainings_us: tuple[int, ...] = ()
    rollbacks_us: tuple[int, ...] = ()
    lost: int = 0
    seen: dict[str, Seen] = {}
    degraded_us: int | None = None
    outcomes_at_alarm: int = 0
    ordered: str | None = None

    @property
    def findings(self) -> tuple[str, ...]:
        """Why nothing may be learned from the data now, by any service."""
        return tuple(f"{name}: {fact}" for name, seen in sorted(self.seen.items()) for fact in seen.findings)

    @property
    def drift_windows(self) -> int:
        """In how many windows in a row inputs drifted, in the service where it was most."""
        return max((seen.drift_windows for seen in self.seen.values()), default=0)


@dataclass(frozen=True, slots=True)
class Trained:
    """How the newest training ended: without an artifact, it failed."""

    version: int
    artifact: str | None
    backtest: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a review is made, and from when what it decides holds."""

    model: str
    now_us: int
    effective_us: int
    seed: int


def older(arm: Arm | None, duration: timedelta, now_us: int) -> bool:
    """Say whether a version has been in its role for so long."""
    return arm is not None and now_us - arm.since_us >= to_us(duration)


def is_proven(state: LoopState, policy: Policy) -> bool:
    """Say whether the challenger has proved in shadow what the gate asks for."""
    gate, harm = state.gate, state.harm
    if gate is None or harm is None:
        return False
    return gate.rejects(policy.gate.alpha) and harm.count >= policy.gate.outcomes_min


def rollout_of(state: LoopState, policy: Policy) -> Rollout:
    """Return who decides, in a state."""
    return Rollout(
        None if state.champion is None else state.champion.served,
        None if state.challenger is None else state.challenger.served,
        policy.rollout.canary_share if state.canary else 0.0,
        None if state.previous is None else state.previous.served,
    )
