"""Joining decisions with what came of them."""

from typing import TYPE_CHECKING, Any

import msgspec

from tropism.core.envelope import Envelope
from tropism.models.events import DecisionMade, OutcomeLearned, OutcomeMissed, OutcomeUnmatched
from tropism.runtime.handler import Expired
from tropism.runtime.inject import Output, State, use
from tropism.runtime.service import Service

if TYPE_CHECKING:
    from tropism.models.model import Model


class Pending(msgspec.Struct, frozen=True):
    """What is known of a subject: a decision without outcome, an outcome without decision, or both."""

    decision_id: str | None = None
    decided_us: int = 0
    version: int = 0
    output: float | None = None
    act: bool = False
    others: dict[str, float] = {}
    value: float | None = None
    revision: int = 0


def outcome_service(model: "Model") -> Service:
    """Return the service that joins a model's decisions with their outcomes, on the decision's subject.

    A decision without an outcome in time is missed, as is one that another on its subject supersedes. An
    outcome that comes before its decision waits for it as long, and is then marked early: it is no ground
    for training. One that stays without a decision is published as unmatched.
    """
    outcome = model.outcome
    service = Service(f"{model.name}.outcomes")
    ttl = outcome.within

    @service.on(DecisionMade, emits=(OutcomeLearned, OutcomeMissed))
    def decided(
        made: list[Envelope[DecisionMade]], pending: State[Pending] = use("pending", ttl=ttl)
    ) -> list[Output]:
        mine = (envelope for envelope in made if envelope.data.model == model.name)
        return [output for envelope in mine for output in _decided(envelope, pending)]

    @service.on(outcome.event, by=outcome.by, emits=(OutcomeLearned,))
    def learned(
        events: list[Envelope[Any]], pending: State[Pending] = use("pending", ttl=ttl)
    ) -> list[Output]:
        outputs: list[Output] = []
        for envelope in events:
            value = outcome.value(envelope.data)
            if value is not None:
                outputs.extend(_learned(model, envelope, float(value), pending))
        return outputs

    @service.expired("pending")
    def missed(expired: Expired) -> OutcomeMissed | OutcomeUnmatched | None:
        known = msgspec.msgpack.decode(expired.value, type=Pending)
        if known.decision_id is None:
            return OutcomeUnmatched(model=model.name, subject=expired.key, value=known.value or 0.0)
        return None if known.value is not None else _missed(model.name, expired.key, known, "expired")

    return service


def _decided(envelope: Envelope[DecisionMade], pending: State[Pending]) -> list[Output]:
    made = envelope.data
    before = pending.get(made.subject)
    now = Pending(
        decision_id=envelope.id,
        decided_us=made.decided_us,
        version=made.version,
        output=made.output,
        act=made.act,
        others=made.others,
    )
    if before is None:
        pending.set(now, made.subject)
        return []
    if before.decision_id is None:
        pending.delete(made.subject)
        return [Output(_outcome(made.model, made.subject, now, before.value or 0.0, early=True), envelope)]
    pending.set(now, made.subject)
    if before.value is not None:
        return []
    return [Output(_missed(made.model, made.subject, before, "superseded"), envelope)]


def _learned(model: "Model", envelope: Envelope[Any], value: float, pending: State[Pending]) -> list[Output]:
    subject = envelope.subject
    known = pending.get(subject)
    if known is None or known.decision_id is None:
        pending.set(Pending(value=value), subject)
        return []
    if known.value == value:
        return []
    revision = known.revision + (known.value is not None)
    if not model.outcome.corrections:
        pending.delete(subject)
    else:
        pending.set(msgspec.structs.replace(known, value=value, revision=revision), subject)
    return [Output(_outcome(model.name, subject, known, value, revision=revision), envelope)]


def _outcome(
    model: str, subject: str, known: Pending, value: float, *, revision: int = 0, early: bool = False
) -> OutcomeLearned:
    return OutcomeLearned(
        model=model,
        subject=subject,
        decision_id=known.decision_id or "",
        value=value,
        decided_us=known.decided_us,
        version=known.version,
        output=known.output,
        act=known.act,
        others=known.others,
        revision=revision,
        early=early,
    )


def _missed(model: str, subject: str, known: Pending, reason: str) -> OutcomeMissed:
    return OutcomeMissed(
        model=model,
        subject=subject,
        decision_id=known.decision_id or "",
        decided_us=known.decided_us,
        reason=reason,
    )
