"""The report of `tropism demo flights`: a year of flights, four ways to decide, on one page."""

from dataclasses import dataclass

from tropism.web.bars import Bucket
from tropism.web.calibration import CalibrationPoint
from tropism.web.facts import History, RowName, Scores, Step
from tropism.web.flights_sections import (
    NAMES,
    calibration_section,
    drift_section,
    gain_section,
    latency_section,
    quality_section,
    score_section,
    stages_section,
    versions_section,
)
from tropism.web.heat import HeatRow
from tropism.web.layout import Band
from tropism.web.page import Header, Tile, page
from tropism.web.spans import Span
from tropism.web.svg import Markup
from tropism.web.words import count, day, decimal, duration, finite, plural, signed


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """How much was done, and how fast. Units: seconds of wall time."""

    events: int
    decisions: int
    outcomes: int
    expired: int
    seconds: float | None = None
    events_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """The calibration curve of one row."""

    row: RowName
    points: tuple[CalibrationPoint, ...]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long decisions took, in seconds: quantiles as (share, seconds), and counts in buckets."""

    quantiles: tuple[tuple[float, float | None], ...] = ()
    buckets: tuple[Bucket, ...] = ()


@dataclass(frozen=True, slots=True)
class FlightsReport:
    """All that the page shows, as plain values; instants in microseconds since 1970 UTC.

    ``drift`` holds per feature its PSI against the champion's training at the start of each week;
    ``stages`` where the wall time went, as (name, seconds).
    """

    figures: KeyFigures
    rows: tuple[Scores, ...]
    histories: tuple[History, ...] = ()
    steps: tuple[Step, ...] = ()
    storms: tuple[Band, ...] = ()
    drift: tuple[HeatRow, ...] = ()
    calibration: tuple[Calibration, ...] = ()
    latency: Latency = Latency()
    versions: tuple[Span, ...] = ()
    stages: tuple[tuple[str, float], ...] = ()
    version: str = ""
    seed: int = 0
    digest: str = ""
    command: str = "tropism demo flights"


def render(report: FlightsReport) -> str:
    """Return the report as one self-contained HTML page: the same values give the same bytes."""
    header = Header("the flights that left New York", verdict(report), _lead(report), _tiles(report))
    sections = [
        score_section(report.rows),
        quality_section(report.histories, report.steps, report.storms),
        *_gains(report),
        versions_section(report.versions, report.steps, report.storms),
        drift_section(report.drift, report.steps),
        calibration_section([(NAMES[each.row], each.row, each.points) for each in report.calibration]),
        latency_section(report.latency.buckets, report.latency.quantiles),
        stages_section(report.stages),
    ]
    footer = [
        ("Made by", f"Tropism {report.version}".strip()),
        ("Command", report.command),
        ("Seed", str(report.seed)),
        ("Digest", report.digest or "–"),
    ]
    return page("Tropism: flights that left New York", header, sections, footer)


def _gains(report: FlightsReport) -> list[Markup]:
    """Return what learning adds, where there is something that did not learn to compare with."""
    compared = any(each.row == "static" for each in report.histories)
    return [gain_section(report.histories, report.steps, report.storms)] if compared else []


def verdict(report: FlightsReport) -> str:
    """Return what came of it in one sentence, as far as it is known."""
    by_row = {each.row: each for each in report.rows}
    loop, static, cron = by_row.get("tropism"), by_row.get("static"), by_row.get("cron")
    own, once = finite(loop.auc if loop else None), finite(static.auc if static else None)
    if loop is None or own is None:
        if report.figures.outcomes:
            return "No decision is scored yet: January is there to learn from."
        return "No outcome is known yet, so nothing can be said about quality."
    if once is None:
        return f"Tropism reached an AUC of {decimal(own)}; there is nothing yet to compare with."
    against = (
        f"{decimal(abs(own - once))} {'above' if own >= once else 'below'} the model that never learned again"
    )
    return f"Tropism reached an AUC of {decimal(own)}: {against}{_beside_cron(loop, cron)}."


def _beside_cron(loop: Scores, cron: Scores | None) -> str:
    own, other = finite(loop.auc), finite(cron.auc if cron else None)
    if cron is None or own is None or other is None:
        return ""
    gap = own - other
    if abs(gap) <= 0.003:
        place = f"level with weekly retraining ({signed(gap)})"
    else:
        place = f"{decimal(abs(gap))} {'above' if gap > 0 else 'below'} weekly retraining"
    if loop.trainings is None or cron.trainings is None:
        return f", {place}"
    return f", and {place}, on {plural(loop.trainings, 'training')} instead of {count(cron.trainings)}"


def _lead(report: FlightsReport) -> str:
    told = (
        f"{plural(report.figures.decisions, 'flight')}, each decided on at its scheduled departure from "
        "what was known at that moment, and judged when it landed."
    )
    starts = [each.start_us for one in report.histories for each in one.periods]
    return f"{told} Drawn are the weeks of {day(min(starts))} to {day(max(starts))}." if starts else told


def _tiles(report: FlightsReport) -> tuple[Tile, ...]:
    figures = report.figures
    return (
        Tile("Events", count(figures.events)),
        Tile("Decisions", count(figures.decisions)),
        Tile("Outcomes", count(figures.outcomes)),
        Tile("Expired", count(figures.expired)),
        Tile("Wall time", duration(figures.seconds)),
        Tile("Events per second", count(figures.events_per_second)),
    )
