"""Joining decisions with what came of them."""

from typing import TYPE_CHECKING, Any

import msgspec

from tropism.core.envelope import Envelope
from tropism.core.errors import InvalidInputError
from tropism.core.time import to_us
from tropism.models.events import DecisionMade, OutcomeLearned, OutcomeMissed, OutcomeUnmatched, joins
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
    others: dict[str, float | None] = {}
    value: float | None = None
    revision: int = 0
    early: bool = False


def outcome_service(model: "Model") -> Service:
    """Return the service that joins a model's decisions with their outcomes, on the decision's subject.

    A decision without an outcome before ``within`` has passed is missed, as is one that another on its
    subject supersedes. An outcome that comes before its decision waits for it as long, and is then marked
    early: it is no ground for training. It may be a late one of the decision before, so another that comes
    in time corrects it, and stays early: nobody can tell whose the first was. One that stays without a
    decision, or that another displaces while it waits, is published as unmatched; so is a second one of a
    decision that has its outcome, unless corrections are declared. An outcome that is no probability
    becomes a dead letter.
    """
    outcome = model.outcome
    service = Service(joins(model.name))
    ttl = outcome.within

    @service.on(DecisionMade, emits=(OutcomeLearned, OutcomeMissed))
    def decided(
        made: list[Envelope[DecisionMade]], pending: State[Pending] = use("pending", ttl=ttl)
    ) -> list[Output]:
        mine = (envelope for envelope in made if envelope.data.model == model.name)
        return [output for envelope in mine for output in _decided(envelope, pending)]

    @service.on(outcome.event, by=outcome.by, emits=(OutcomeLearned, OutcomeUnmatched))
    def learned(
        events: list[Envelope[Any]], pending: State[Pending] = use("pending", ttl=ttl)
    ) -> list[Output]:
        outputs: list[Output] = []
        for envelope in events:
            value = outcome.value(envelope.data)
            if value is not None:
                outputs.extend(_learned(model, envelope, _checked(model.name, float(value)), pending))
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
        value = before.value or 0.0
        known = msgspec.structs.replace(now, value=value, early=True)
        pending.set(known, made.subject)
        return [Output(_outcome(made.model, made.subject, known, value), envelope)]
    pending.set(now, made.subject)
    if before.value is not None:
        return []
    return [Output(_missed(made.model, made.subject, before, "superseded"), envelope)]


def _learned(model: "Model", envelope: Envelope[Any], value: float, pending: State[Pending]) -> list[Output]:
    subject = envelope.subject
    known = pending.get(subject)
    if known is None or known.decision_id is None:
        pending.set(Pending(value=value), subject)
        return [] if known is None else [_unmatched(model, envelope, known.value or 0.0)]
    if known.value == value:
        return []
    if envelope.time_us - known.decided_us >= to_us(model.outcome.within):
        # Too late, also where a worker that was away has the two at hand together.
        return [_unmatched(model, envelope, value)]
    revision = known.revision + (known.value is not None)
    learned = msgspec.structs.replace(known, value=value, revision=revision)
    _keep(pending, subject, learned, corrections=model.outcome.corrections)
    return [Output(_outcome(model.name, subject, learned, value), envelope)]


def _unmatched(model: "Model", envelope: Envelope[Any], value: float) -> Output:
    return Output(OutcomeUnmatched(model=model.name, subject=envelope.subject, value=value), envelope)


def _keep(pending: State[Pending], subject: str, known: Pending, *, corrections: bool) -> None:
    """Remember an outcome only if it can still be corrected: most never are, and expiring costs."""
    if corrections:
        pending.set(known, subject)
    else:
        pending.delete(subject)


def _checked(model: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise InvalidInputError(
            f"Cannot learn the outcome of {model!r}: its value is {value!r}, and not within 0 to 1. "
            f"Let the outcome's value function return a probability, 0 or 1, or None for no outcome."
        )
    return value


def _outcome(model: str, subject: str, known: Pending, value: float) -> OutcomeLearned:
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
        revision=known.revision,
        early=known.early,
    )


def _missed(model: str, subject: str, known: Pending, reason: str) -> OutcomeMissed:
    return OutcomeMissed(
        model=model,
        subject=subject,
        decision_id=known.decision_id or "",
        decided_us=known.decided_us,
        reason=reason,
    )
