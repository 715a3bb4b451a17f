"""What persons may order: a promotion, a rollback, a training."""

from typing import TYPE_CHECKING, Any

import msgspec

from tropism.core.envelope import Envelope
from tropism.core.event import Event
from tropism.models.control import drop, promote, roll_back
from tropism.models.events import (
    ChallengerDropped,
    OrderRefused,
    PromotionOrdered,
    RollbackOrdered,
    TrainingOrdered,
    TrainingRequested,
    VersionPromoted,
    VersionRolledBack,
)
from tropism.models.site import Here, OnSite
from tropism.models.state import Arm, LoopState
from tropism.models.triggers import request_training
from tropism.runtime.inject import State, use
from tropism.runtime.service import Service
from tropism.runtime.view import Reader, View

if TYPE_CHECKING:
    from tropism.models.model import Model


def add_orders(service: Service, model: "Model", versions: View, at_site: OnSite) -> None:
    """Let a model's loop take orders. One that cannot be carried out is refused by an event."""
    _add_promotion(service, model, versions, at_site)
    _add_rollback(service, model, at_site)
    _add_training(service, model, at_site)


def _add_promotion(service: Service, model: "Model", versions: View, at_site: OnSite) -> None:
    name, policy = model.name, model.policy

    @service.on(PromotionOrdered, emits=(VersionPromoted, OrderRefused))
    def promotion_ordered(
        envelope: Envelope[PromotionOrdered],
        states: State[LoopState] = use("loop"),
        here: Here = use(at_site),
        trained: Reader = use(versions),
    ) -> list[Event]:
        order, state = envelope.data, states.get() or LoopState()
        if order.model != name:
            return []
        arm = _arm(state, order.version, trained(f"{name}@{order.version}").made)
        if isinstance(arm, str):
            return [_refused(envelope, arm, here.effective_us(model))]
        moment = here.moment(model, state.versions)
        state, step = promote(state, "ordered", order.by, policy, moment, arm)
        states.set(state)
        return [step]


def _add_rollback(service: Service, model: "Model", at_site: OnSite) -> None:
    name, policy = model.name, model.policy

    @service.on(RollbackOrdered, emits=(ChallengerDropped, VersionRolledBack, OrderRefused))
    def rollback_ordered(
        envelope: Envelope[RollbackOrdered],
        states: State[LoopState] = use("loop"),
        here: Here = use(at_site),
    ) -> list[Event]:
        order, state = envelope.data, states.get() or LoopState()
        if order.model != name:
            return []
        moment = here.moment(model, state.versions)
        # The newest of what decides goes first: a canary, and with the next order the champion.
        back = drop if state.canary else roll_back
        state, step = back(state, "ordered", order.by, policy, moment)
        if step is None:
            cause = "no champion before is kept beside the present one. Promote a version by its number."
            return [_refused(envelope, cause, moment.effective_us)]
        states.set(state)
        return [step]


def _add_training(service: Service, model: "Model", at_site: OnSite) -> None:
    name = model.name

    @service.on(TrainingOrdered, emits=(TrainingRequested,))
    def training_ordered(
        envelope: Envelope[TrainingOrdered],
        states: State[LoopState] = use("loop"),
        here: Here = use(at_site),
    ) -> list[Event]:
        order, state = envelope.data, states.get() or LoopState()
        if order.model != name:
            return []
        reason = f"ordered by {order.by}"
        if state.request is not None or state.findings:
            # It waits for the training under way, or for the data to heal.
            states.set(msgspec.structs.replace(state, ordered=reason))
            return []
        state, request = request_training(state, reason, here.moment(model, state.versions))
        states.set(state)
        return [request]


def _arm(state: LoopState, version: int, made: Any) -> Arm | str:
    """Return the version to promote, or why it cannot be."""
    if state.champion is not None and state.champion.version == version:
        return f"version {version} is champion already."
    if state.challenger is not None and state.challenger.version == version:
        return state.challenger
    if made is None:
        return f"version {version} was never trained, or not yet. See 'tropism models list'."
    artifact, known_until_us = made
    return Arm(version, artifact, 0, known_until_us)


def _refused(envelope: Envelope[Any], cause: str, effective_us: int) -> OrderRefused:
    order: Any = envelope.data
    return OrderRefused(
        model=order.model, order_id=envelope.id, by=order.by, cause=cause, effective_from_us=effective_us
    )
