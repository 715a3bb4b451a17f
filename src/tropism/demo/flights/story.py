"""Telling what came of a year: as one JSON object, and as the page's plain values."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from tropism.core.time import days, hours, iso, to_us
from tropism.demo.flights.comparing import SCORED_FROM_US, WEEK_US, Way, scored_of
from tropism.demo.flights.results import Results
from tropism.demo.flights.run import AFTER
from tropism.models.drift import population_stability
from tropism.models.metrics import Scores, brier, calibration_curve, log_loss, roc_auc
from tropism.models.sketch.features import FeatureSketch
from tropism.models.sketch.latency import LatencySketch
from tropism.models.steps import ALARMS, Step, count_of
from tropism.web import facts
from tropism.web.bars import Bucket
from tropism.web.calibration import CalibrationPoint
from tropism.web.flights_report import Calibration, FlightsReport, KeyFigures, Latency
from tropism.web.heat import HeatRow
from tropism.web.layout import Band
from tropism.web.spans import Span, Stage
from tropism.web.steps import told_of

DAY_US = to_us(days(1))
MIDNIGHT_US = to_us(hours(5))
"""When a day begins in New York in winter, in UTC."""

STORM_SHARE = 0.15
"""A day on which more than this share of the flights was cancelled is a storm."""

ROWS: dict[str, facts.RowName] = {
    "static": "static",
    "cron": "cron",
    "adaptive": "tropism",
    "hindsight": "hindsight",
}


def summary_of(
    results: Results, ways: Sequence[Way], stages: dict[str, float], *, resumed: bool
) -> dict[str, Any]:
    """Return the run as one JSON object; what cannot be computed is null.

    ``stages`` are seconds by stage. Of a run that was resumed they tell the last part alone, while events and
    trainings are of all its parts: nothing follows from both.
    """
    by_name = {way.name: way for way in ways}
    if not resumed:
        stages = {**stages, "training, of run": training_seconds(results)}
    seconds = None if resumed else round(sum(stages.get(name, 0.0) for name in ("load", "run")), 3)
    return {
        "events": results.events,
        "decisions": len(results.rows),
        "outcomes": results.outcomes,
        "expired": results.expired,
        "seconds": seconds,
        "events_per_second": None if resumed else _rate(results, stages),
        **{name: _scores(by_name.get(name)) for name in ROWS},
        "promotions": count_of(results.steps, "models.promoted.v1"),
        "rollbacks": count_of(results.steps, "models.rolled_back.v1"),
        "stages": {name: round(seconds, 3) for name, seconds in stages.items()},
        "digest": results.digest,
    }


def _rate(results: Results, stages: dict[str, float]) -> float | None:
    """Return how many events a second went through the event path."""
    seconds = stages.get("run", 0.0) - stages["training, of run"]
    return round(results.events / seconds, 1) if seconds > 0 else None


def _scores(way: Way | None) -> dict[str, Any] | None:
    if way is None or way.scores is None:
        return None
    return {
        "auc": way.scores.roc_auc,
        "log_loss": way.scores.log_loss,
        "brier": way.scores.brier,
        "calibration_error": way.scores.calibration_error,
        "capture_top_decile": way.scores.capture,
        "trainings": way.trainings,
    }


def training_seconds(results: Results) -> float:
    """Return how long all trainings took together."""
    return float(sum(s.data["seconds"] for s in results.steps if s.type == "training.trained.v1"))


def scored_words(results: Results) -> str:
    """Return from when to when decisions were scored; nothing where the run ended before."""
    last_us = int(results.rows.decided_us[-1]) if len(results.rows) else 0
    if last_us < SCORED_FROM_US:
        return ""
    days_scored = [iso(at_us - MIDNIGHT_US)[:10] for at_us in (SCORED_FROM_US, last_us)]
    return " to ".join(days_scored)


def parts_of(stages: dict[str, float]) -> tuple[tuple[str, float], ...]:
    """Return where the time went, each second once: trainings apart from the rest of the run, where known."""
    parts: dict[str, float] = {}
    trained = stages.get("training, of run")
    for name, seconds in stages.items():
        if name == "run" and trained is not None:
            parts |= {"event path": max(0.0, seconds - trained), "training": trained}
        elif name != "training, of run":
            parts[name] = seconds
    return tuple(parts.items())


def report_of(
    results: Results, ways: Sequence[Way], summary: dict[str, Any], *, version: str, seed: int, command: str
) -> FlightsReport:
    """Return what the page shows."""
    return FlightsReport(
        figures=KeyFigures(
            results.events,
            len(results.rows),
            results.outcomes,
            results.expired,
            summary["seconds"],
            summary["events_per_second"],
        ),
        rows=tuple(_row(way, results) for way in ways),
        histories=tuple(_history(way, results) for way in ways),
        steps=told_of(results.steps),
        storms=storms_of(results),
        drift=drift_of(results),
        calibration=tuple(_calibration(way, results) for way in ways),
        latency=_latency(results),
        versions=tuple(spans_of(results.steps)),
        stages=parts_of(summary["stages"]),
        version=version,
        seed=seed,
        digest=results.digest,
        command=command,
    )


def _row(way: Way, results: Results) -> facts.Scores:
    found: Scores | None = way.scores
    loop = way.name == "adaptive"
    return facts.Scores(
        ROWS[way.name],
        auc=None if found is None else found.roc_auc,
        log_loss=None if found is None else found.log_loss,
        brier=None if found is None else found.brier,
        calibration_error=None if found is None else found.calibration_error,
        capture_top_decile=None if found is None else found.capture,
        trainings=way.trainings,
        promotions=way.promotions,
        alarms=count_of(results.steps, *ALARMS) if loop else None,
    )


def _history(way: Way, results: Results) -> facts.History:
    rows = results.rows
    usable = np.isfinite(way.outputs) & np.isfinite(rows.outcomes)
    weeks = rows.decided_us // WEEK_US
    periods = []
    for week in np.unique(weeks[usable]):
        mine = usable & (weeks == week)
        outputs, outcomes = way.outputs[mine], rows.outcomes[mine]
        periods.append(
            facts.Quality(
                int(week) * WEEK_US,
                int(mine.sum()),
                auc=roc_auc(outputs, outcomes),
                log_loss=log_loss(outputs, outcomes),
                brier=brier(outputs, outcomes),
            )
        )
    return facts.History(ROWS[way.name], tuple(periods))


def _calibration(way: Way, results: Results) -> Calibration:
    usable = scored_of(results.rows, way.outputs)
    if not usable.any():
        return Calibration(ROWS[way.name], ())
    curve = calibration_curve(way.outputs[usable], results.rows.outcomes[usable])
    points = tuple(CalibrationPoint(b.mean_output, b.positive_share, b.count) for b in curve)
    return Calibration(ROWS[way.name], points)


def storms_of(results: Results) -> tuple[Band, ...]:
    """Return the days in New York on which many flights never arrived.

    The last days are left out: what was under way when the facts end has no outcome, and is no storm.
    """
    rows = results.rows
    last_us = max(int(rows.decided_us.max(initial=0)), int(rows.known_us.max(initial=0)))
    day = (rows.decided_us - MIDNIGHT_US) // DAY_US
    bands = []
    for number in np.unique(day):
        mine = day == number
        start_us = int(number) * DAY_US + MIDNIGHT_US
        share = float(np.mean(~np.isfinite(rows.outcomes[mine])))
        judged = start_us + DAY_US + to_us(AFTER) <= last_us
        if judged and share > STORM_SHARE and mine.sum() >= 100:
            bands.append(Band(start_us, start_us + DAY_US, f"{share:.0%} never arrived"))
    return tuple(bands)


def drift_of(results: Results) -> tuple[HeatRow, ...]:
    """Return, per feature and week, how far the decisions' inputs lay from the champion's training."""
    references = {
        step.data["version"]: msgspec.convert(step.data["reference"], FeatureSketch)
        for step in results.steps
        if step.type == "training.trained.v1"
    }
    weeks: dict[tuple[int, int], FeatureSketch] = {}
    for window in results.windows:
        place = (window["start_us"] // WEEK_US * WEEK_US, window["version"])
        sketch = msgspec.convert(window["features"], FeatureSketch)
        weeks[place] = weeks[place].merged(sketch) if place in weeks else sketch
    # In a week with several champions, the one that decided most of it is shown.
    shown = {
        place[0]: place for place in sorted(weeks, key=lambda at: weeks[at].rows) if place[1] in references
    }
    found: dict[str, dict[int, float | None]] = {name: {} for name in results.rows.names}
    for start_us, place in sorted(shown.items()):
        sketch, reference = weeks[place], references[place[1]]
        pairs = zip(sketch.names, reference.features, sketch.features, strict=True)
        for name, before, now in pairs:
            found[name][start_us] = population_stability(before.cells, now.cells)
    return tuple(HeatRow(name, tuple(values.items())) for name, values in found.items())


def _latency(results: Results) -> Latency:
    seconds = results.latencies
    if not len(seconds):
        return Latency()
    sketch = LatencySketch(accuracy=0.05).observe(seconds.tolist())
    shares = (0.5, 0.9, 0.99, 0.999)
    buckets = tuple(Bucket(low, high, number) for low, high, number in sketch.cells())
    return Latency(tuple((share, sketch.quantile(share)) for share in shares), buckets)


def spans_of(steps: Sequence[Step]) -> list[Span]:
    """Return what each version was, and when."""
    spans: list[Span] = []
    open_spans: dict[int, tuple[Stage, int]] = {}

    def enter(version: int, stage: Stage | None, at_us: int) -> None:
        known = open_spans.pop(version, None)
        if known is not None and known[1] < at_us:
            spans.append(Span(f"v{version}", known[0], known[1], at_us))
        if stage is not None:
            open_spans[version] = (stage, at_us)

    for step in steps:
        _enter_roles(step, enter, open_spans)
    spans.extend(Span(f"v{version}", stage, at_us, None) for version, (stage, at_us) in open_spans.items())
    return sorted(spans, key=lambda span: (int(span.version[1:]), span.start_us))


Enter = Callable[[int, "Stage | None", int], None]


def _enter_roles(step: Step, enter: Enter, now: dict[int, tuple[Stage, int]]) -> None:
    data, at_us = step.data, step.data.get("effective_from_us", step.at_us)
    if step.type == "models.training_requested.v1":
        enter(data["version"], "training", step.at_us)
    elif step.type == "training.failed.v1":
        enter(data["version"], None, at_us)
    elif "rollout" in data:
        roles = _roles(data["rollout"])
        if step.type == "models.rolled_back.v1":
            enter(data["version"], "rolled back", at_us)
        for version in list(now):
            if version not in roles and now[version][0] not in {"training", "rolled back"}:
                enter(version, None, at_us)
        for version, stage in roles.items():
            if now.get(version, (None, 0))[0] != stage:
                enter(version, stage, at_us)


def _roles(rollout: dict[str, Any]) -> dict[int, Stage]:
    roles: dict[int, Stage] = {}
    if rollout["previous"]:
        roles[rollout["previous"]["version"]] = "watch"
    if rollout["challenger"]:
        roles[rollout["challenger"]["version"]] = "canary" if rollout["canary_share"] else "shadow"
    if rollout["champion"]:
        roles[rollout["champion"]["version"]] = "champion"
    return roles
