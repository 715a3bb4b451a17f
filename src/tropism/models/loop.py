"""The closed loop of a model: services that join outcomes, review, and train."""

from typing import TYPE_CHECKING

import msgspec

from tropism.core.envelope import Envelope
from tropism.core.event import Event
from tropism.models.control import review
from tropism.models.events import (
    TRANSITIONS,
    DegradationDetected,
    DriftDetected,
    ModelObserved,
    OutcomeLearned,
    TrainingBlocked,
    TrainingRequested,
    TrainingUnblocked,
)
from tropism.models.evidence import learn
from tropism.models.model import trained_view, versions_view
from tropism.models.orders import add_orders
from tropism.models.outcomes import outcome_service
from tropism.models.site import Here, OnSite
from tropism.models.sketch.features import FeatureSketch
from tropism.models.state import LoopState, Moment, Trained
from tropism.models.trainer import training_service
from tropism.models.windows import judge_window
from tropism.runtime.handler import Tick
from tropism.runtime.inject import State, use
from tropism.runtime.service import Service
from tropism.runtime.view import Reader, View

if TYPE_CHECKING:
    from tropism.models.model import Model


def closed_loop(model: "Model") -> tuple[Service, ...]:
    """Return the services that close a model's loop, each with its own cursor, state and failures."""
    return outcome_service(model), review_service(model), training_service(model)


def review_service(model: "Model") -> Service:
    """Return the service that learns from outcomes and windows, reviews what follows, and takes orders."""
    service = Service(f"{model.name}.loop")
    at_site = OnSite(f"{model.name}.loop.site")
    versions = versions_view(model)
    _add_learning(service, model)
    _add_watching(service, model, versions, at_site)
    _add_reviewing(service, model, at_site)
    add_orders(service, model, versions, at_site)
    return service


def _add_learning(service: Service, model: "Model") -> None:
    name, policy = model.name, model.policy

    @service.on(OutcomeLearned)
    def learned(outcomes: list[Envelope[OutcomeLearned]], states: State[LoopState] = use("loop")) -> None:
        mine = [(envelope.time_us, envelope.data) for envelope in outcomes if envelope.data.model == name]
        if mine:
            states.set(learn(states.get(name) or LoopState(), mine, policy), name)


def _add_watching(service: Service, model: "Model", versions: View, at_site: OnSite) -> None:
    name, policy = model.name, model.policy

    @service.on(ModelObserved, emits=(DriftDetected, TrainingBlocked, TrainingUnblocked))
    def observed(
        window: ModelObserved,
        states: State[LoopState] = use("loop"),
        here: Here = use(at_site),
        trained: Reader = use(versions),
    ) -> list[Event]:
        state = states.get() or LoopState()
        if window.model != name or state.champion is None or window.version != state.champion.version:
            return []
        packed = trained(f"{name}@{window.version}").reference
        if packed is None:
            return []
        reference = msgspec.convert(packed, FeatureSketch)
        state, events = judge_window(state, window, reference, policy, here.effective_us(model))
        states.set(state)
        return events


def _add_reviewing(service: Service, model: "Model", at_site: OnSite) -> None:
    name, policy = model.name, model.policy
    trainings = trained_view(model)

    emits = (*TRANSITIONS, TrainingRequested, DegradationDetected, TrainingUnblocked)

    @service.every(policy.review, key=name, emits=emits)
    def reviewed(
        tick: Tick,
        states: State[LoopState] = use("loop"),
        newest: Reader = use(trainings),
        here: Here = use(at_site),
    ) -> list[Event]:
        del tick  # here is when it is
        before = states.get() or LoopState()
        found = newest(name).training
        trained = None if found is None else Trained(*found)
        moment = here.moment(model, before.versions)
        state, events = review(before, trained, policy, moment)
        if state.degraded_us is not None and before.degraded_us is None:
            events = [degraded(state, moment), *events]
        states.set(state)
        return events


def degraded(state: LoopState, moment: Moment) -> DegradationDetected:
    """Return what is told of a loss of quality."""
    alarm = state.alarm
    expected = 0.0 if alarm is None else state.expected_total / max(alarm.count, 1)
    return DegradationDetected(
        model=moment.model,
        version=0 if state.champion is None else state.champion.version,
        reference=0.0 if alarm is None else expected + alarm.tolerance,
        outcomes=0 if alarm is None else alarm.count,
        effective_from_us=moment.effective_us,
    )
