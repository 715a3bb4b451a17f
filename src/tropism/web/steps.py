"""The loop's steps in the words of a page."""

from collections.abc import Iterable

from tropism.models.steps import Step
from tropism.web import facts

KINDS = {
    "models.shadow_started.v1": "shadow started",
    "models.canary_started.v1": "canary started",
    "models.challenger_dropped.v1": "dropped",
    "models.promoted.v1": "promoted",
    "models.rolled_back.v1": "rolled back",
    "models.watch_ended.v1": "watch ended",
    "models.training_requested.v1": "training requested",
    "models.drift_detected.v1": "drift detected",
    "models.degradation_detected.v1": "degradation detected",
    "models.training_blocked.v1": "training blocked",
    "models.training_unblocked.v1": "training unblocked",
    "training.trained.v1": "trained",
    "training.failed.v1": "training failed",
}


def told_of(steps: Iterable[Step]) -> tuple[facts.Step, ...]:
    """Return the steps that a page tells of, from when each held, with the numbers it rests on."""
    return tuple(_told(step) for step in steps if step.type in KINDS)


def _told(step: Step) -> facts.Step:
    data = step.data
    numbers = data.get("evidence") if step.type.startswith("models.") else data.get("backtest")
    return facts.Step(
        data.get("effective_from_us", step.at_us),
        KINDS[step.type],
        data.get("version"),
        str(data.get("reason") or data.get("cause") or ""),
        str(data.get("by") or ""),
        tuple((name, value) for name, value in (numbers or {}).items() if isinstance(value, int | float)),
    )
