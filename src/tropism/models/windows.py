"""What windows of decisions say of the data: broken, sound again, or drifted."""

from typing import TYPE_CHECKING

import msgspec

from tropism.core.event import Event
from tropism.core.time import to_us
from tropism.models.drift import drift_report
from tropism.models.events import DriftDetected, ModelObserved, TrainingBlocked, TrainingUnblocked
from tropism.models.quality import quality_findings
from tropism.models.sketch.features import FeatureSketch
from tropism.models.state import LoopState, Seen

if TYPE_CHECKING:
    from tropism.models.policy import Policy


def judge_window(
    state: LoopState, window: ModelObserved, reference: FeatureSketch, policy: "Policy", effective_us: int
) -> tuple[LoopState, list[Event]]:
    """Return what follows from a window: of too few rows nothing does, so that it cannot unblock training."""
    before = state.seen.get(window.service, Seen())
    findings = _findings(before, window, reference, policy)
    drifted, windows = _drifted(before, window, reference, policy, findings)
    until_us = window.end_us if _tells(window, policy) else before.until_us
    now = Seen(findings, tuple(sorted(drifted)), windows, until_us)
    after = msgspec.structs.replace(state, seen={**state.seen, window.service: now})
    events: list[Event] = []
    if after.findings and not state.findings:
        blocked = TrainingBlocked(
            model=window.model, findings=list(after.findings), effective_from_us=effective_us
        )
        events.append(blocked)
    elif state.findings and not after.findings:
        events.append(TrainingUnblocked(model=window.model, effective_from_us=effective_us))
    if policy.drift is not None and before.drift_windows < policy.drift.windows == windows:
        detected = DriftDetected(
            model=window.model, version=window.version, features=drifted, effective_from_us=effective_us
        )
        events.append(detected)
    return after, events


def lapse(
    state: LoopState, policy: "Policy", model: str, now_us: int, effective_us: int
) -> tuple[LoopState, list[Event]]:
    """Let go of what was found in a service that has shown nothing since, for as long as findings last.

    It was renamed or removed, or decides too rarely to be judged: nobody would ever take the findings back.
    """
    if not state.findings:
        return state, []
    kept_us = 0 if policy.quality is None else policy.quality.findings_last * to_us(policy.window)
    seen = {
        name: msgspec.structs.replace(each, findings=()) if now_us - each.until_us > kept_us else each
        for name, each in state.seen.items()
    }
    after = msgspec.structs.replace(state, seen=seen)
    if after.findings:
        return after, []
    return after, [TrainingUnblocked(model=model, effective_from_us=effective_us)]


def _tells(window: ModelObserved, policy: "Policy") -> bool:
    """Say whether a window holds rows enough to judge the quality of its data."""
    return policy.quality is not None and window.features.rows >= policy.quality.rows_min


def _findings(
    before: Seen, window: ModelObserved, reference: FeatureSketch, policy: "Policy"
) -> tuple[str, ...]:
    limits = policy.quality
    if limits is None:
        return ()
    if not _tells(window, policy):
        return before.findings
    found = quality_findings(reference, window.features, limits=limits)
    return tuple(f"{each.feature}: {each.fact} {each.value:.3g}" for each in found)


def _drifted(
    before: Seen,
    window: ModelObserved,
    reference: FeatureSketch,
    policy: "Policy",
    findings: tuple[str, ...],
) -> tuple[dict[str, float], int]:
    """Return which features drifted and how much, if enough did, and in how many windows in a row."""
    wanted = policy.drift
    if wanted is None or findings:
        return {}, 0
    if window.features.rows < wanted.rows_min:
        return dict.fromkeys(before.drifted, 0.0), before.drift_windows
    report = drift_report(
        reference,
        window.features,
        rows_min=wanted.rows_min,
        psi_min=wanted.psi_min,
        false_discovery_rate=wanted.false_discovery_rate,
    )
    drifted = {each.feature: each.psi for each in report if each.drifted and each.psi is not None}
    if len(drifted) < wanted.features_min:
        return {}, 0
    return drifted, before.drift_windows + 1
