"""Telling what came of a table: as a card's plain values, and as one JSON document."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from tropism.core.time import iso
from tropism.models.policy import Policy
from tropism.models.steps import Step
from tropism.web import facts
from tropism.web.steps import told_of
from tropism.web.whatif_card import WhatIfCard, verdict
from tropism.web.whatif_verdict import Verdict
from tropism.whatif.compare import Comparison, Way
from tropism.whatif.replay import Replayed
from tropism.whatif.table import Table


@dataclass(frozen=True, slots=True)
class Answer:
    """All that came of a table."""

    table: Table
    model: str
    policy: Policy
    seed: int
    replayed: Replayed
    comparison: Comparison
    seconds: float
    version: str = ""
    command: str = "tropism whatif"

    @property
    def verdict(self) -> Verdict:
        """Whether a loop would pay: a sentence, and what else one should know, in plain spaces."""
        found = verdict(card_of(self))
        return Verdict(found.answer, _plain(found.sentence), _plain(found.detail))


def card_of(answer: Answer) -> WhatIfCard:
    """Return what the card shows."""
    table, comparison = answer.table, answer.comparison
    by_level = {
        level: tuple(n.text for n in table.notes if n.level == level) for level in ("warning", "note")
    }
    return WhatIfCard(
        table=table.path.name,
        rows=len(table),
        labels=sum(label is not None for label in table.labels),
        start_us=table.times_us[0],
        end_us=table.times_us[-1],
        model=answer.model,
        scores=tuple(_scores(way) for way in comparison.ways),
        histories=tuple(facts.History(way.name, way.periods) for way in comparison.ways),
        steps=told_of(answer.replayed.steps),
        version=answer.version,
        seed=answer.seed,
        digest=answer.replayed.digest,
        command=answer.command,
        warnings=by_level["warning"],
        notes=by_level["note"],
    )


def document_of(answer: Answer) -> dict[str, Any]:
    """Return everything as one JSON object; what cannot be computed is null."""
    table, comparison, found = answer.table, answer.comparison, answer.verdict
    return {
        "table": {
            "path": str(table.path),
            "rows": len(table),
            "labels": sum(label is not None for label in table.labels),
            "positives": sum(label == 1.0 for label in table.labels),
            "from": iso(table.times_us[0]),
            "to": iso(table.times_us[-1]),
            "features": {column.name: column.kind for column in table.features},
        },
        "model": answer.model,
        "seed": answer.seed,
        "verdict": {"answer": found.answer, "sentence": found.sentence, "detail": found.detail},
        "notes": [asdict(note) for note in table.notes],
        "scored": comparison.scored,
        "never_known": answer.replayed.missed,
        **{way.name.replace("-", "_"): _way(way) for way in comparison.ways},
        "transitions": [_transition(step) for step in answer.replayed.steps],
        "policy": _policy(answer.policy, comparison),
        "digest": answer.replayed.digest,
        "seconds": round(answer.seconds, 3),
    }


def _plain(text: str) -> str:
    return text.replace("\u00a0", " ")


def _scores(way: Way) -> facts.Scores:
    return facts.Scores(
        way.name,
        auc=way.quality.auc,
        log_loss=way.quality.log_loss,
        brier=way.quality.brier,
        accuracy=way.quality.accuracy,
        trainings=way.trainings,
        promotions=way.promotions,
        alarms=way.alarms,
    )


def _way(way: Way) -> dict[str, Any]:
    costs = {"promotions": way.promotions, "rollbacks": way.rollbacks, "alarms": way.alarms}
    quality = way.quality
    return {
        "accuracy": quality.accuracy,
        "auc": quality.auc,
        "log_loss": quality.log_loss,
        "brier": quality.brier,
        "trainings": way.trainings,
        **{name: value for name, value in costs.items() if value is not None},
    }


def _transition(step: Step) -> dict[str, Any]:
    data = step.data
    return {
        "at": iso(data.get("effective_from_us", step.at_us)),
        "type": step.type,
        "version": data.get("version"),
        "reason": data.get("reason") or data.get("cause"),
    }


def _policy(policy: Policy, comparison: Comparison) -> dict[str, Any]:
    def seconds(duration: timedelta | None) -> float | None:
        return None if duration is None else duration.total_seconds()

    return {
        "first_after": policy.first_after,
        "review_seconds": seconds(policy.review),
        "max_age_seconds": seconds(policy.max_age),
        "cooldown_seconds": seconds(policy.cooldown),
        "window_seconds": seconds(policy.window),
        "canary_seconds": seconds(policy.rollout.canary),
        "challenger_max_seconds": seconds(policy.rollout.challenger_max),
        "cron_seconds": seconds(comparison.cron),
        "first_training": iso(comparison.first_training_us),
    }
