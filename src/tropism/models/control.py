"""What the loop decides, as pure functions: evidence in, transitions out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tropism.core.event import Event
from tropism.core.time import to_us
from tropism.models.alarm import DegradationAlarm
from tropism.models.betting import BettingTest
from tropism.models.events import (
    CanaryStarted,
    ChallengerDropped,
    OutcomeLearned,
    Rollout,
    Served,
    ShadowStarted,
    TrainingRequested,
    Transition,
    VersionPromoted,
    VersionRolledBack,
    WatchEnded,
)
from tropism.models.policy import Policy

EXPECTED = 0.25
"""Added to a loss less its expectation, which is at least -1/4, to watch a value that is never negative."""

LOOP = "policy"
"""Who decided, where no person did."""


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
    gate: BettingTest | None = None
    block: Block = Block()
    harm: BettingTest | None = None
    watch: BettingTest | None = None
    alarm: DegradationAlarm | None = None
    loss_total: float = 0.0
    loss_count: int = 0
    trainings_us: tuple[int, ...] = ()
    rollbacks_us: tuple[int, ...] = ()
    lost: int = 0
    drifted: tuple[str, ...] = ()
    drift_windows: int = 0
    degraded: bool = False
    findings: tuple[str, ...] = ()
    ordered: str | None = None
    approved: int = 0


@dataclass(frozen=True, slots=True)
class Trained:
    """How the newest training ended: without an artifact, it failed."""

    version: int
    artifact: str | None


@dataclass(frozen=True, slots=True)
class Moment:
    """When a review is made, and from when what it decides holds."""

    model: str
    now_us: int
    effective_us: int
    seed: int


def learn(state: LoopState, learned: Sequence[tuple[int, OutcomeLearned]], policy: Policy) -> LoopState:
    """Return the state after outcomes, each with when it was known, in their order.

    Corrections and early ones teach nothing here. The tests take each outcome for which both sides gave an
    output; the gate bets on means of blocks of time.
    """
    gains: list[tuple[int, float]] = []
    regrets: list[float] = []
    losses: list[float] = []
    surprises: list[float] = []
    champion, challenger, previous = state.champion, state.challenger, state.previous
    count = 0
    for known_us, outcome in learned:
        if outcome.early or outcome.revision:
            continue
        count += 1
        output = output_of(outcome, champion)
        if output is None or champion is None:
            continue
        loss = (output - outcome.value) ** 2
        losses.append(loss)
        if outcome.decided_us >= champion.since_us:
            surprises.append(loss - output * (1.0 - output) + EXPECTED)
        of_challenger = loss_of(outcome, challenger)
        if of_challenger is not None:
            gains.append((known_us, loss - of_challenger))
        of_previous = loss_of(outcome, previous)
        if of_previous is not None and outcome.decided_us >= champion.since_us:
            regrets.append(loss - of_previous)
    gate, block = _gated(state, gains, policy)
    return msgspec.structs.replace(
        state,
        outcomes=state.outcomes + count,
        gate=gate,
        block=block,
        harm=_observed(state.harm, [-gain for _, gain in gains]),
        watch=_observed(state.watch, regrets),
        alarm=None if state.alarm is None else state.alarm.observe_many(surprises),
        loss_total=state.loss_total + sum(losses),
        loss_count=state.loss_count + len(losses),
    )


def _gated(
    state: LoopState, gains: Sequence[tuple[int, float]], policy: Policy
) -> tuple[BettingTest | None, Block]:
    """Return the gate after gains: a block is closed by the first outcome after its end."""
    gate, rules = state.gate, policy.gate
    if gate is None:
        return None, Block()
    length_us = to_us(rules.block)
    number, total, count = state.block.number, state.block.total, state.block.count
    for known_us, gain in gains:
        now = known_us // length_us
        if now != number and count >= rules.block_outcomes_min:
            gate = gate.observe(max(-rules.bound, min(rules.bound, total / count)))
            total, count = 0.0, 0
        number, total, count = now, total + gain, count + 1
    return gate, Block(number, total, count)


def output_of(outcome: OutcomeLearned, arm: Arm | None) -> float | None:
    """Return what a version said of a decision's input, None where it was not asked."""
    if arm is None:
        return None
    return outcome.output if outcome.version == arm.version else outcome.others.get(str(arm.version))


def loss_of(outcome: OutcomeLearned, arm: Arm | None) -> float | None:
    """Return the squared error of a version on an outcome, None where it gave no output for it."""
    output = output_of(outcome, arm)
    return None if output is None else (output - outcome.value) ** 2


def _observed(test: BettingTest | None, differences: list[float]) -> BettingTest | None:
    return None if test is None else test.observe_many(differences)


def rollout_of(state: LoopState, policy: Policy) -> Rollout:
    """Return who decides, in a state."""
    return Rollout(
        None if state.champion is None else state.champion.served,
        None if state.challenger is None else state.challenger.served,
        policy.rollout.canary_share if state.canary else 0.0,
        None if state.previous is None else state.previous.served,
    )


def review(
    state: LoopState, trained: Trained | None, policy: Policy, moment: Moment
) -> tuple[LoopState, list[Event]]:
    """Return what follows from all that is known at a moment: at most one step and one training."""
    state = _take_trained(state, trained)
    state, step = _step(state, trained, policy, moment)
    state = msgspec.structs.replace(
        state, degraded=state.degraded or (state.alarm is not None and state.alarm.raised)
    )
    reason = training_reason(state, policy, moment.now_us)
    events: list[Event] = [] if step is None else [step]
    if reason is None:
        return state, events
    state, request = request_training(state, reason, moment)
    return state, [*events, request]


def _take_trained(state: LoopState, trained: Trained | None) -> LoopState:
    """Note that the requested training failed."""
    request = state.request
    if request is None or trained is None or trained.version != request.version or trained.artifact:
        return state
    return msgspec.structs.replace(state, request=None, lost=state.lost + 1)


def _step(
    state: LoopState, trained: Trained | None, policy: Policy, moment: Moment
) -> tuple[LoopState, Transition | None]:
    """Return the one step that comes first: rollback, then the challenger's fate, then a new challenger."""
    if state.watch is not None and state.watch.rejects(policy.rollout.harm_alpha):
        return roll_back(state, "worse than the champion before", LOOP, policy, moment)
    if state.challenger is not None and state.challenger.since_us <= moment.now_us:
        state, step = _judge(state, policy, moment)
        if step is not None:
            return state, step
    request = state.request
    if request is not None and trained is not None and trained.version == request.version:
        return _enter(state, trained, policy, moment)
    if state.previous is not None and _older(state.champion, policy.rollout.watch, moment.now_us):
        state = msgspec.structs.replace(state, previous=None, watch=None)
        return state, _told(WatchEnded, state, "watched long enough", LOOP, {}, policy, moment)
    return state, None


def _older(arm: Arm | None, duration: Any, now_us: int) -> bool:
    return arm is not None and now_us - arm.since_us >= to_us(duration)


def _judge(state: LoopState, policy: Policy, moment: Moment) -> tuple[LoopState, Transition | None]:
    """Return what becomes of the challenger now."""
    gate, harm, plan = state.gate, state.harm, policy.rollout
    if gate is None or harm is None or state.challenger is None:
        return state, None
    if harm.rejects(plan.harm_alpha):
        return drop(state, "worse than the champion", LOOP, policy, moment)
    proven = gate.rejects(policy.gate.alpha) and harm.count >= policy.gate.outcomes_min
    if state.canary and _older(state.challenger, plan.canary, moment.now_us):
        return promote(state, "not worse in canary", LOOP, policy, moment)
    if not state.canary and proven:
        if policy.approval and state.approved != state.challenger.version:
            return state, None
        if plan.canary_share > 0:
            return _canary(state, policy, moment)
        return promote(state, "proved in shadow", LOOP, policy, moment)
    return state, None


def _enter(
    state: LoopState, trained: Trained, policy: Policy, moment: Moment
) -> tuple[LoopState, Transition]:
    """Put a trained version to work: beside the champion, or as the first one."""
    assert state.request is not None  # noqa: S101 (the caller saw it)
    arm = Arm(trained.version, trained.artifact or "", moment.effective_us, state.request.known_until_us)
    if state.champion is None:
        first = msgspec.structs.replace(state, request=None, champion=arm)
        first = _watching(first, None, policy)
        return first, _told(VersionPromoted, first, "first version", LOOP, {}, policy, moment)
    state = msgspec.structs.replace(
        state,
        request=None,
        challenger=arm,
        canary=False,
        gate=BettingTest(margin=policy.gate.margin, bound=policy.gate.bound),
        block=Block(),
        harm=BettingTest(margin=-policy.rollout.harm_margin),
    )
    return state, _told(ShadowStarted, state, "trained", LOOP, {}, policy, moment)


def _canary(state: LoopState, policy: Policy, moment: Moment) -> tuple[LoopState, Transition]:
    assert state.challenger is not None  # noqa: S101 (the caller saw it)
    evidence = evidence_of(state)
    challenger = msgspec.structs.replace(state.challenger, since_us=moment.effective_us)
    state = msgspec.structs.replace(
        state, challenger=challenger, canary=True, harm=BettingTest(margin=-policy.rollout.harm_margin)
    )
    return state, _told(CanaryStarted, state, "proved in shadow", LOOP, evidence, policy, moment)


def promote(
    state: LoopState, reason: str, by: str, policy: Policy, moment: Moment
) -> tuple[LoopState, Transition]:
    """Make the challenger champion, and keep the old one beside it."""
    assert state.challenger is not None  # noqa: S101 (the caller saw it)
    evidence = evidence_of(state)
    arm = msgspec.structs.replace(state.challenger, since_us=moment.effective_us)
    previous = state.champion
    state = msgspec.structs.replace(
        state, champion=arm, challenger=None, canary=False, gate=None, harm=None, lost=0
    )
    state = _watching(state, previous, policy)
    return state, _told(VersionPromoted, state, reason, by, evidence, policy, moment)


def _watching(state: LoopState, previous: Arm | None, policy: Policy) -> LoopState:
    """Begin the new champion's own account: its alarm, and the test against the one before."""
    return msgspec.structs.replace(
        state,
        previous=previous,
        watch=None if previous is None else BettingTest(margin=-policy.rollout.harm_margin),
        alarm=_alarm(policy),
        loss_total=0.0,
        loss_count=0,
        drifted=(),
        drift_windows=0,
        degraded=False,
    )


def _alarm(policy: Policy) -> DegradationAlarm | None:
    """Watch how far the loss lies above what the version expects of its own outputs."""
    wanted = policy.degradation
    if wanted is None:
        return None
    return DegradationAlarm(EXPECTED, wanted.tolerance, bound=1.0 + EXPECTED, run_length=wanted.run_length)


def drop(
    state: LoopState, reason: str, by: str, policy: Policy, moment: Moment
) -> tuple[LoopState, Transition]:
    """Let the challenger go."""
    evidence = evidence_of(state)
    version = 0 if state.challenger is None else state.challenger.version
    state = msgspec.structs.replace(
        state, challenger=None, canary=False, gate=None, harm=None, lost=state.lost + 1
    )
    return state, _told(ChallengerDropped, state, reason, by, evidence, policy, moment, version)


def roll_back(
    state: LoopState, reason: str, by: str, policy: Policy, moment: Moment
) -> tuple[LoopState, Transition | None]:
    """Make the champion before champion again, and let go of whatever was beside it."""
    if state.previous is None or state.champion is None:
        return state, None
    evidence = evidence_of(state)
    banned = state.champion.version
    arm = msgspec.structs.replace(state.previous, since_us=moment.effective_us)
    state = msgspec.structs.replace(
        state,
        champion=arm,
        challenger=None,
        canary=False,
        gate=None,
        harm=None,
        rollbacks_us=(*state.rollbacks_us, moment.now_us),
    )
    state = _watching(state, None, policy)
    return state, _told(VersionRolledBack, state, reason, by, evidence, policy, moment, banned)


def evidence_of(state: LoopState) -> dict[str, float]:
    """Return the numbers behind a step, as far as there are any."""
    found: dict[str, float] = {}
    for name, test in (("gate", state.gate), ("harm", state.harm), ("watch", state.watch)):
        if test is not None:
            found[f"{name}_e_value"] = test.e_value
            found[f"{name}_outcomes"] = float(test.count)
    if state.loss_count:
        found["champion_brier"] = state.loss_total / state.loss_count
    return found


def _told(
    kind: type[Transition],
    state: LoopState,
    reason: str,
    by: str,
    evidence: dict[str, float],
    policy: Policy,
    moment: Moment,
    version: int | None = None,
) -> Transition:
    arm = state.challenger or state.champion
    return kind(
        model=moment.model,
        version=version if version is not None else 0 if arm is None else arm.version,
        rollout=rollout_of(state, policy),
        reason=reason,
        by=by,
        evidence=evidence,
        effective_from_us=moment.effective_us,
    )


def training_reason(state: LoopState, policy: Policy, now_us: int) -> str | None:
    """Return why a version should be trained now, None if none should."""
    if state.request is not None or state.findings:
        return None
    if state.ordered is not None:
        return state.ordered
    if state.champion is None:
        return "first outcomes" if _may_train_first(state, policy, now_us) else None
    if state.canary or not _may_train(state, policy, now_us):
        return None
    if state.challenger is not None:
        stale = _older(state.challenger, policy.rollout.challenger_max, now_us)
        return "stale challenger" if stale else None
    if state.degraded:
        return "degradation"
    if policy.drift is not None and state.drift_windows >= policy.drift.windows:
        return "drift"
    if policy.growth is not None and state.outcomes >= policy.growth * state.outcomes_at_training:
        return "growth"
    newest_us = max(state.champion.known_until_us, *state.trainings_us[-1:], 0)
    if policy.max_age is not None and now_us - newest_us >= to_us(policy.max_age):
        return "age"
    return None


def _may_train_first(state: LoopState, policy: Policy, now_us: int) -> bool:
    waited = not state.trainings_us or now_us - state.trainings_us[-1] >= _pause_us(state, policy)
    return state.outcomes >= policy.first_after and waited


def _may_train(state: LoopState, policy: Policy, now_us: int) -> bool:
    """Say whether cool-down, budget and breaker allow a training."""
    recent = [at for at in state.trainings_us if now_us - at < to_us(policy.budget)]
    rollbacks = [at for at in state.rollbacks_us if now_us - at < to_us(policy.budget)]
    cooled = not recent or now_us - recent[-1] >= _pause_us(state, policy)
    return cooled and len(recent) < policy.trainings_max and len(rollbacks) < policy.rollbacks_max


def _pause_us(state: LoopState, policy: Policy) -> int:
    # Each challenger that lost in a row doubles the pause, up to eightfold: no flapping on noise.
    return to_us(policy.cooldown) << min(state.lost, 3)


def request_training(state: LoopState, reason: str, moment: Moment) -> tuple[LoopState, TrainingRequested]:
    """Ask for the next version, trained on what is known now."""
    version = state.versions + 1
    event = TrainingRequested(
        model=moment.model,
        version=version,
        reason=reason,
        known_until_us=moment.now_us,
        seed=moment.seed,
        effective_from_us=moment.effective_us,
    )
    state = msgspec.structs.replace(
        state,
        versions=version,
        request=Request(version, reason, moment.now_us),
        trainings_us=(*state.trainings_us, moment.now_us)[-64:],
        outcomes_at_training=state.outcomes,
        ordered=None,
    )
    return state, event
