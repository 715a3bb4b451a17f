"""The closed loop of a model: services that join outcomes, review, and train."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

import msgspec

from tropism.core.envelope import Envelope
from tropism.core.errors import TropismError
from tropism.core.event import Event
from tropism.core.time import to_us
from tropism.models.control import (
    LoopState,
    Moment,
    Trained,
    learn,
    promote,
    review,
    roll_back,
)
from tropism.models.drift import drift_report
from tropism.models.events import (
    TRANSITIONS,
    DegradationDetected,
    DriftDetected,
    ModelObserved,
    OutcomeLearned,
    PromotionOrdered,
    RollbackOrdered,
    TrainingBlocked,
    TrainingFailed,
    TrainingOrdered,
    TrainingRequested,
    TrainingUnblocked,
    VersionTrained,
)
from tropism.models.model import trained_view
from tropism.models.outcomes import outcome_service
from tropism.models.quality import quality_findings
from tropism.models.sketch.features import FeatureSketch
from tropism.models.training import Made, job_of, spec_of
from tropism.runtime.handler import Tick
from tropism.runtime.inject import Opened, Site, State, Subject, use
from tropism.runtime.retry import Retry
from tropism.runtime.service import Service
from tropism.runtime.view import Reader, View, last

if TYPE_CHECKING:
    from tropism.models.model import Model

REVIEWED = (TrainingRequested, TrainingBlocked, TrainingUnblocked, DriftDetected, DegradationDetected)


class OnSite:
    """A resource that gives a handler the site it runs at."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.views: tuple[View, ...] = ()
        self.emits: tuple[type[Event], ...] = ()

    async def open(self, site: Site) -> Opened:
        """Give the site."""
        return _At(site)


class _At:
    def __init__(self, site: Site) -> None:
        self._site = site

    def bind(self, subject: Subject) -> Site:
        del subject
        return self._site

    def commit(
        self, enlisted: Sequence[Event], frontier_us: int | None
    ) -> tuple[Mapping[str, bytes | None], Sequence[tuple[int, Event]]]:
        del enlisted, frontier_us
        return {}, ()


def closed_loop(model: "Model") -> tuple[Service, ...]:
    """Return the services that close a model's loop, each with its own cursor, state and failures."""
    return outcome_service(model), review_service(model), training_service(model)


def review_service(model: "Model") -> Service:  # noqa: C901 (a handler a paragraph, each short)
    """Return the service that learns from outcomes and windows, and reviews what follows from them."""
    service = Service(f"{model.name}.loop")
    trainings = trained_view(model)
    at_site = OnSite(f"{model.name}.loop.site")
    references_view = _reference_view(model)
    name, policy = model.name, model.policy

    @service.on(OutcomeLearned)
    def learned(outcomes: list[Envelope[OutcomeLearned]], states: State[LoopState] = use("loop")) -> None:
        mine = [(envelope.time_us, envelope.data) for envelope in outcomes if envelope.data.model == name]
        if mine:
            states.set(learn(states.get(name) or LoopState(), mine, policy), name)

    @service.on(ModelObserved, emits=REVIEWED)
    def observed(
        envelope: Envelope[ModelObserved],
        states: State[LoopState] = use("loop"),
        site: Site = use(at_site),
        references: Reader = use(references_view),
    ) -> list[Event]:
        window = envelope.data
        state = states.get() or LoopState()
        if window.model != name or state.champion is None or window.version != state.champion.version:
            return []
        packed = references(f"{name}@{window.version}").reference
        if packed is None:
            return []
        reference = msgspec.convert(packed, FeatureSketch)
        state, events = judge_window(state, window, reference, model, _effective(site, model, window.end_us))
        states.set(state)
        return events

    @service.every(policy.review, key=name, emits=(*TRANSITIONS, *REVIEWED))
    def reviewed(
        tick: Tick,
        states: State[LoopState] = use("loop"),
        newest: Reader = use(trainings),
        site: Site = use(at_site),
    ) -> list[Event]:
        before = states.get() or LoopState()
        found = newest(name).training
        trained = None if found is None else Trained(found[0], found[1])
        moment = Moment(
            name, tick.time_us, _effective(site, model, tick.time_us), seed_of(model, before.versions)
        )
        state, events = review(before, trained, policy, moment)
        if state.degraded and not before.degraded:
            events = [_degraded(state, moment), *events]
        states.set(state)
        return events

    @service.on(PromotionOrdered, emits=TRANSITIONS)
    def promotion_ordered(
        envelope: Envelope[PromotionOrdered],
        states: State[LoopState] = use("loop"),
        site: Site = use(at_site),
    ) -> list[Event]:
        order, state = envelope.data, states.get() or LoopState()
        if order.model != name or state.challenger is None or state.challenger.version != order.version:
            return []
        state, step = promote(state, "ordered", order.by, policy, _now(envelope, site, model))
        states.set(state)
        return [step]

    @service.on(RollbackOrdered, emits=TRANSITIONS)
    def rollback_ordered(
        envelope: Envelope[RollbackOrdered],
        states: State[LoopState] = use("loop"),
        site: Site = use(at_site),
    ) -> list[Event]:
        order, state = envelope.data, states.get() or LoopState()
        if order.model != name:
            return []
        state, step = roll_back(state, "ordered", order.by, policy, _now(envelope, site, model))
        states.set(state)
        return [] if step is None else [step]

    @service.on(TrainingOrdered)
    def training_ordered(order: TrainingOrdered, states: State[LoopState] = use("loop")) -> None:
        if order.model == name:
            state = states.get() or LoopState()
            states.set(msgspec.structs.replace(state, ordered=f"ordered by {order.by}"))

    return service


def judge_window(
    state: LoopState,
    window: ModelObserved,
    reference: FeatureSketch,
    model: "Model",
    effective_us: int,
) -> tuple[LoopState, list[Event]]:
    """Return what a window of decisions says of the data: broken, sound again, or drifted."""
    events: list[Event] = []
    policy, name = model.policy, model.name
    if policy.quality is not None:
        found = quality_findings(reference, window.features, limits=policy.quality)
        facts = tuple(f"{f.feature or 'window'}: {f.fact} {f.value:.3g}" for f in found)
        if facts and not state.findings:
            events.append(TrainingBlocked(model=name, findings=list(facts), effective_from_us=effective_us))
        elif state.findings and not facts:
            events.append(TrainingUnblocked(model=name, effective_from_us=effective_us))
        state = msgspec.structs.replace(state, findings=facts)
    drifted = {} if state.findings else _drifted(window, reference, model)
    windows = state.drift_windows + 1 if drifted else 0
    if policy.drift is not None and windows == policy.drift.windows:
        events.append(
            DriftDetected(
                model=name, version=window.version, features=drifted, effective_from_us=effective_us
            )
        )
    return msgspec.structs.replace(state, drifted=tuple(sorted(drifted)), drift_windows=windows), events


def _drifted(window: ModelObserved, reference: FeatureSketch, model: "Model") -> dict[str, float]:
    """Return the features that drifted and by how much, if they are enough to count."""
    wanted = model.policy.drift
    if wanted is None:
        return {}
    report = drift_report(
        reference,
        window.features,
        rows_min=wanted.rows_min,
        psi_min=wanted.psi_min,
        false_discovery_rate=wanted.false_discovery_rate,
    )
    drifted = {f.feature: f.psi for f in report if f.drifted and f.psi is not None}
    return drifted if len(drifted) >= wanted.features_min else {}


def training_service(model: "Model") -> Service:
    """Return the service that trains what the loop asks for, away from everything that must not wait."""
    service = Service(f"{model.name}.training")
    at_site = OnSite(f"{model.name}.training.site")
    limit = model.policy.training_timeout_seconds

    @service.on(TrainingRequested, retry=Retry(attempts=2), timeout_seconds=limit + 60.0)
    async def train(
        request: TrainingRequested, site: Site = use(at_site)
    ) -> VersionTrained | TrainingFailed | None:
        if request.model != model.name:
            return None
        clock = site.platform.clock
        started = clock.monotonic()
        try:
            made = await make(model, request, site)
        except TropismError as error:
            made = Made(cause=str(error))
        effective_us = request.effective_from_us if not site.live else clock.now_us()
        if made.evidence is None or made.reference is None:
            return TrainingFailed(
                model=model.name, version=request.version, cause=made.cause, effective_from_us=effective_us
            )
        await site.platform.blobs.put(made.artifact, made.data)
        return VersionTrained(
            model=model.name,
            version=request.version,
            artifact=made.artifact,
            evidence=made.evidence,
            reference=made.reference,
            backtest=made.backtest,
            seconds=clock.monotonic() - started,
            effective_from_us=effective_us,
        )

    return service


async def make(model: "Model", request: TrainingRequested, site: Site) -> Made:
    """Train the requested version in a process of its own."""
    spec = await spec_of(model, site.platform.log, request)
    job = job_of(spec, timeout_seconds=model.policy.training_timeout_seconds)
    return msgspec.msgpack.decode(await site.platform.compute.run(job), type=Made)


def seed_of(model: "Model", versions: int) -> int:
    """Return the seed of the version after so many."""
    return crc32(f"{model.seed}/{model.name}/{versions + 1}".encode())


def _reference_view(model: "Model") -> View:
    return View(
        f"{model.name}-references",
        VersionTrained,
        by=lambda e: f"{e.model}@{e.version}" if e.model == model.name else None,
        at=lambda e: e.effective_from_us,
        allowance=model.policy.allowance,
        own=True,
        reference=last(lambda e: msgspec.to_builtins(e.reference)),
    )


def _effective(site: Site, model: "Model", cause_us: int) -> int:
    """Return from when an effect holds: in event time after the allowance, live at once."""
    return cause_us if site.live else cause_us + to_us(model.policy.allowance)


def _now(envelope: Envelope[Any], site: Site, model: "Model") -> Moment:
    now_us = envelope.time_us
    return Moment(model.name, now_us, _effective(site, model, now_us), 0)


def _degraded(state: LoopState, moment: Moment) -> DegradationDetected:
    alarm = state.alarm
    return DegradationDetected(
        model=moment.model,
        version=0 if state.champion is None else state.champion.version,
        reference=0.0 if alarm is None else alarm.reference,
        outcomes=0 if alarm is None else alarm.count,
        effective_from_us=moment.effective_us,
    )
