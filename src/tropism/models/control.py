"""What the loop decides, as pure functions: evidence in, transitions out."""

import msgspec

from tropism.core.event import Event
from tropism.models.alarm import DegradationAlarm
from tropism.models.betting import BettingTest
from tropism.models.events import (
    CanaryStarted,
    ChallengerDropped,
    ShadowStarted,
    Transition,
    VersionPromoted,
    VersionRolledBack,
    WatchEnded,
)
from tropism.models.evidence import EXPECTED, evidence_of
from tropism.models.gating import evidence_in, refusal
from tropism.models.policy import Policy
from tropism.models.state import Arm, Block, LoopState, Moment, Seen, Trained, is_proven, older, rollout_of
from tropism.models.triggers import patience_us, request_training, training_reason
from tropism.models.windows import lapse

LOOP = "policy"
"""Who decided, where no person did."""


def review(
    state: LoopState, trained: Trained | None, policy: Policy, moment: Moment
) -> tuple[LoopState, list[Event]]:
    """Return what follows from all that is known at a moment: at most one step and one training."""
    state, events = lapse(state, policy, moment.model, moment.now_us, moment.effective_us)
    state = _without_failed(state, trained, policy, moment.now_us)
    state, step = _step(state, trained, policy, moment)
    if state.degraded_us is None and state.alarm is not None and state.alarm.raised:
        state = msgspec.structs.replace(state, degraded_us=moment.now_us, outcomes_at_alarm=state.outcomes)
    reason = training_reason(state, policy, moment.now_us)
    if step is not None:
        events.append(step)
    if reason is None:
        return state, events
    state, request = request_training(state, reason, moment)
    return state, [*events, request]


def _without_failed(state: LoopState, trained: Trained | None, policy: Policy, now_us: int) -> LoopState:
    """Let go of a requested training that failed, or that nobody answers any more."""
    request = state.request
    if request is None:
        return state
    if trained is not None and trained.version == request.version:
        failed = trained.artifact is None
    else:
        failed = now_us - request.known_until_us > patience_us(policy)
    return msgspec.structs.replace(state, request=None, lost=state.lost + 1) if failed else state


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
        # A canary has proved itself already and ends soon: what is new waits for it.
        return (state, None) if state.canary else _enter(state, trained, policy, moment)
    if _watched(state, policy, moment.now_us):
        evidence = {n: v for n, v in evidence_of(state).items() if n.startswith("watch")}
        state = msgspec.structs.replace(state, previous=None, watch=None)
        watched = 0 if state.champion is None else state.champion.version
        return state, _told(WatchEnded, state, "watched long enough", LOOP, evidence, policy, moment, watched)
    return state, None


def _watched(state: LoopState, policy: Policy, now_us: int) -> bool:
    """Say whether the champion before has been kept beside the new one long enough, and to some purpose."""
    seen = 0 if state.watch is None else state.watch.count
    enough = seen >= policy.rollout.outcomes_min
    return state.previous is not None and enough and older(state.champion, policy.rollout.watch, now_us)


def _judge(state: LoopState, policy: Policy, moment: Moment) -> tuple[LoopState, Transition | None]:
    """Return what becomes of the challenger now."""
    harm, plan = state.harm, policy.rollout
    if harm is None or state.challenger is None:
        return state, None
    if harm.rejects(plan.harm_alpha):
        return drop(state, "worse than the champion", LOOP, policy, moment)
    if state.canary:
        return _after_canary(state, policy, moment)
    if is_proven(state, policy):
        if policy.approval:
            return state, None  # until a person orders its promotion
        if plan.canary_share > 0:
            return _canary(state, policy, moment)
        return promote(state, "proved in shadow", LOOP, policy, moment)
    return state, None


def _after_canary(state: LoopState, policy: Policy, moment: Moment) -> tuple[LoopState, Transition | None]:
    """Return what becomes of a canary that has done no harm: time alone proves nothing."""
    plan = policy.rollout
    if older(state.challenger, plan.canary, moment.now_us) and state.tried >= plan.outcomes_min:
        return promote(state, "not worse in canary", LOOP, policy, moment)
    if older(state.challenger, max(plan.canary, plan.challenger_max), moment.now_us):
        return drop(state, "too few outcomes in canary", LOOP, policy, moment)
    return state, None


def _enter(
    state: LoopState, trained: Trained, policy: Policy, moment: Moment
) -> tuple[LoopState, Transition]:
    """Put a trained version to work: beside the champion, or as the first one; unless it may not enter."""
    assert state.request is not None  # noqa: S101 (the caller saw it)
    arm = Arm(trained.version, trained.artifact or "", moment.effective_us, state.request.known_until_us)
    state = msgspec.structs.replace(state, request=None)
    refused = refusal(trained.backtest, policy.gate)
    if refused is not None:
        reason, evidence = refused
        state = msgspec.structs.replace(state, lost=state.lost + 1)
        return state, _told(ChallengerDropped, state, reason, LOOP, evidence, policy, moment, trained.version)
    evidence = evidence_in(trained.backtest)
    if state.champion is None:
        first = _watching(msgspec.structs.replace(state, champion=arm), None, policy)
        return first, _told(VersionPromoted, first, "first version", LOOP, evidence, policy, moment)
    reason = "trained"
    if state.challenger is not None:
        # One that waits for approval is replaced only by order, or if it knows too little of what came since.
        fate = "was outdated" if is_proven(state, policy) else "proved nothing"
        reason = f"trained, in place of version {state.challenger.version} that {fate}"
        evidence |= evidence_of(state)
    state = msgspec.structs.replace(
        state,
        challenger=arm,
        canary=False,
        gate=BettingTest(margin=policy.gate.margin, bound=policy.gate.bound),
        block=Block(),
        harm=BettingTest(margin=-policy.rollout.harm_margin),
    )
    return state, _told(ShadowStarted, state, reason, LOOP, evidence, policy, moment)


def _canary(state: LoopState, policy: Policy, moment: Moment) -> tuple[LoopState, Transition]:
    assert state.challenger is not None  # noqa: S101 (the caller saw it)
    evidence = evidence_of(state)
    challenger = msgspec.structs.replace(state.challenger, since_us=moment.effective_us)
    state = msgspec.structs.replace(
        state,
        challenger=challenger,
        canary=True,
        tried=0,
        harm=BettingTest(margin=-policy.rollout.harm_margin),
    )
    return state, _told(CanaryStarted, state, "proved in shadow", LOOP, evidence, policy, moment)


def promote(
    state: LoopState, reason: str, by: str, policy: Policy, moment: Moment, arm: Arm | None = None
) -> tuple[LoopState, Transition]:
    """Make a version champion, by default the challenger, and keep the old champion beside it."""
    arm = arm or state.challenger
    assert arm is not None  # noqa: S101 (the caller saw it)
    evidence = evidence_of(state) if arm is state.challenger else {}
    previous, request = state.champion, state.request
    state = msgspec.structs.replace(
        state,
        champion=msgspec.structs.replace(arm, since_us=moment.effective_us),
        # Promoted before a review saw it trained, it is no longer waited for: else it would challenge itself.
        request=None if request is not None and request.version == arm.version else request,
        challenger=None,
        canary=False,
        gate=None,
        harm=None,
        lost=0,
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
        expected_total=0.0,
        loss_total=0.0,
        loss_count=0,
        seen={name: Seen(seen.findings, until_us=seen.until_us) for name, seen in state.seen.items()},
        degraded_us=None,
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
        rollbacks_us=(*state.rollbacks_us, moment.now_us)[-64:],
    )
    state = _watching(state, None, policy)
    return state, _told(VersionRolledBack, state, reason, by, evidence, policy, moment, banned)


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
