"""Whether a trained version may enter at all, from what its training measured."""

import math
from collections.abc import Mapping

from tropism.models.policy import Gate
from tropism.models.special import student_tail

ENTERED = (
    "fitted",
    "rows",
    "brier",
    "pairs",
    "blocks",
    "champion_brier",
    "challenger_brier",
    "difference",
    "standard_error",
)
"""The figures of a backtest that stand as evidence where a version enters: all the same in every run."""


def refusal(figures: Mapping[str, float], gate: Gate) -> tuple[str, dict[str, float]] | None:
    """Return why a version may not enter, with the evidence; None if it may.

    Figures that are absent refuse nothing: what cannot be computed proves no harm.
    """
    for budget, name, word in (
        (gate.artifact_bytes_max, "artifact_bytes", "larger"),
        (gate.latency_ms_max, "latency_ms", "slower"),
    ):
        found = figures.get(name)
        if budget is not None and found is not None and found > budget:
            return f"{word} than its budget", {name: found, f"{name}_max": float(budget)}
    lost = worse(figures, gate.margin, gate.backtest_alpha)
    if lost is None:
        return None
    prefix, p_value = lost
    evidence = {name: value for name, value in figures.items() if prefix and name.startswith(prefix)}
    where = f" where {prefix.removesuffix(':')}" if prefix else ""
    reason = f"worse than the champion in backtest{where}"
    return reason, {**evidence_in(figures), **evidence, "backtest_p_value": p_value}


def worse(figures: Mapping[str, float], margin: float, alpha: float) -> tuple[str, float] | None:
    """Return where a version is worse by more than a margin, and how surely; on the whole is ``""``.

    The slices share the level between them.
    """
    p_value = worse_p_value(figures, "", margin)
    if p_value is not None and p_value < alpha:
        return "", p_value
    slices = sorted(name.removesuffix("difference") for name in figures if name.endswith(":difference"))
    for prefix in slices:
        p_value = worse_p_value(figures, prefix, margin)
        if p_value is not None and p_value < alpha / len(slices):
            return prefix, p_value
    return None


def worse_p_value(figures: Mapping[str, float], prefix: str, margin: float) -> float | None:
    """Return how surprising the difference were if the challenger was not worse by more than a margin.

    The standard error is itself estimated, from so many blocks: Student's t with one degree of freedom less.
    """
    difference, error = figures.get(f"{prefix}difference"), figures.get(f"{prefix}standard_error")
    if difference is None or not error:
        return None
    return student_tail(-(difference + margin) / error, figures.get(f"{prefix}blocks", math.inf) - 1.0)


def evidence_in(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures that stand as evidence of a step."""
    return {f"backtest_{name}": figures[name] for name in ENTERED if name in figures}
