"""When to train, as a pure function of what the loop remembers."""

from datetime import timedelta

import msgspec

from tropism.core.time import minutes, to_us
from tropism.models.events import TrainingRequested
from tropism.models.policy import Policy
from tropism.models.state import LoopState, Moment, Request, is_proven, older

TRAINING_ATTEMPTS = 3
"""How often a training is tried whose log or blobs do not answer."""

OVERHEAD = minutes(1)
"""What a training may take beyond its own timeout: reading where the log ends, storing the artifact."""


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
    challenger = state.challenger
    if state.degraded_us is not None and (challenger is None or _outdated(state, state.degraded_us, policy)):
        return "degradation"
    if challenger is not None:
        stale = older(challenger, policy.rollout.challenger_max, now_us)
        # One that has proved itself and is still in shadow waits for a person, however long that takes.
        return "stale challenger" if stale and not is_proven(state, policy) else None
    if policy.drift is not None and state.drift_windows >= policy.drift.windows:
        return "drift"
    if policy.growth is not None and state.outcomes >= policy.growth * state.outcomes_at_training:
        return "growth"
    newest_us = max(state.champion.known_until_us, *state.trainings_us[-1:], 0)
    if policy.max_age is not None and now_us - newest_us >= to_us(policy.max_age):
        return "age"
    return None


def _outdated(state: LoopState, degraded_us: int, policy: Policy) -> bool:
    """Say whether the challenger knows too little of what came since quality was lost to mend it.

    One of before the alarm does; of later ones, each that knows less than half of what is known by now:
    right after the alarm there is little to learn from, and nobody wants to wait until it is stale. But one
    that is half way to its proof is left to finish it.
    """
    if state.challenger is None or state.challenger.known_until_us <= degraded_us:
        return True
    if state.gate is not None and state.gate.e_value**2 * policy.gate.alpha >= 1.0:
        return False
    known = state.outcomes_at_training - state.outcomes_at_alarm
    return state.outcomes - state.outcomes_at_alarm >= max(policy.gate.outcomes_min, 2 * known)


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


def patience_us(policy: Policy) -> int:
    """Return how long after its request a training counts as lost: nobody will answer it any more.

    A training tried as often as its service does, and the reviews in between, take less.
    """
    longest = TRAINING_ATTEMPTS * (timedelta(seconds=policy.training_timeout_seconds) + OVERHEAD)
    return to_us(policy.allowance + 2 * policy.review + longest)


def request_training(state: LoopState, reason: str, moment: Moment) -> tuple[LoopState, TrainingRequested]:
    """Ask for the next version, trained on what is known now."""
    version = state.versions + 1
    event = TrainingRequested(
        model=moment.model,
        version=version,
        reason=reason,
        known_until_us=moment.now_us,
        champion=0 if state.champion is None else state.champion.version,
        seed=moment.seed,
        effective_from_us=moment.effective_us,
    )
    state = msgspec.structs.replace(
        state,
        versions=version,
        request=Request(version, reason, moment.now_us),
        trainings_us=(*state.trainings_us, moment.now_us)[-1000:],
        outcomes_at_training=state.outcomes,
        ordered=None,
    )
    return state, event
