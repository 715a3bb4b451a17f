"""The parts of the flights report, each with one sentence on how to read it."""

from collections.abc import Sequence

from tropism.web.bars import Bucket, Histogram, Parts
from tropism.web.calibration import CalibrationPlot, CalibrationPoint
from tropism.web.facts import (
    TONES,
    History,
    Metric,
    RowName,
    Scores,
    Step,
    described,
    evidence,
    gains,
    lines,
    pin_keys,
    promotions,
)
from tropism.web.heat import HeatMap, HeatRow, shade_legend
from tropism.web.layout import Band, Chart, Frame
from tropism.web.lines import LineChart
from tropism.web.multiples import figure, key, line_legend, small_multiples
from tropism.web.page import Column, Row, ledger, note, score_table, section
from tropism.web.spans import Span, Timeline, stage_legend
from tropism.web.svg import EMPTY, Markup
from tropism.web.words import ABSENT, duration, finite, minute

NAMES: dict[RowName, str] = {
    "no-change": "No change",
    "static": "Static, January",
    "cron": "Weekly cron",
    "tropism": "Tropism",
    "hindsight": "Best in hindsight",
}
"""What the rows are called on the page."""

_FEATURES_MOST = 40
_PSI_STEPS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
_COLUMNS = (
    Column("AUC", 3, "higher"),
    Column("Log loss", 3, "lower"),
    Column("Brier", 4, "lower"),
    Column("Calibration error", 4, "lower"),
    Column("Late flights in top 10 %", 1, "higher", percent=True),
    Column("Trainings", 0),
    Column("Promotions", 0),
)


def score_section(rows: Sequence[Scores]) -> Markup:
    """Return the table of the rows."""
    return section(
        "Four ways to decide, on the same flights",
        "The best figure of each column that could have been had at the time stands out; best in "
        "hindsight has seen the whole year before deciding on it, and marks what is out of reach.",
        score_table(_COLUMNS, [_row(each) for each in rows]),
    )


def quality_section(histories: Sequence[History], steps: Sequence[Step], storms: Sequence[Band]) -> Markup:
    """Return quality over time: AUC large, log loss and Brier score beside each other."""
    pins, bands = promotions(steps), _drawn(storms, histories)
    auc = LineChart(
        "AUC per week",
        "How well late flights were told from others, week by week.",
        lines(histories, "auc", NAMES),
        bands,
        pins,
        period="Week of",
    )
    panels: tuple[tuple[str, Metric], ...] = (
        ("Log loss per week, lower is better", "log_loss"),
        ("Brier score per week, lower is better", "brier"),
    )
    others = [
        LineChart(title, title, lines(histories, metric, NAMES), bands, named=False, period="Week of")
        for title, metric in panels
    ]
    return section(
        "Quality, week by week",
        "AUC is the chance that a late flight was given a higher output than one on time: one half is a "
        "coin, and higher is better. Point at a week for its values.",
        figure(auc, legend=_legend(auc), wide=Frame(1000, 390), narrow=Frame(380, 300)),
        small_multiples(others, wide=Frame(484, 210), narrow=Frame(380, 190), across=2),
    )


def gain_section(histories: Sequence[History], steps: Sequence[Step], storms: Sequence[Band]) -> Markup:
    """Return what each row gains over the static model."""
    bands = _drawn(storms, histories)
    chart = LineChart(
        "AUC gained over the static model, per week",
        "The AUC of each row less that of the static model; above zero, learning helped.",
        gains(histories, "auc", "static", NAMES),
        bands,
        promotions(steps),
        baseline=0.0,
        period="Week of",
    )
    return section(
        "What learning adds",
        "The same weeks, less the static model's AUC: above the line, learning helped; what all models "
        "found hard, such as a storm, cancels out.",
        figure(chart, legend=_legend(chart), wide=Frame(1000, 300), narrow=Frame(380, 260)),
    )


def versions_section(versions: Sequence[Span], steps: Sequence[Step], storms: Sequence[Band]) -> Markup:
    """Return the timeline of versions, and the ledger of all transitions."""
    chart = Timeline(
        "Timeline of versions",
        "For each version, when it was trained, in shadow, in canary, champion, watched or rolled back.",
        tuple(versions),
        tuple(storms),
    )
    return section(
        "Who decided, and when",
        "Read each row from left to right: a challenger is trained, proves itself in shadow and canary, "
        "and replaces the champion, which is watched for a while in case it has to return.",
        figure(chart, legend=stage_legend(chart.spans)),
        _ledger(steps),
    )


def drift_section(drift: Sequence[HeatRow], steps: Sequence[Step]) -> Markup:
    """Return drift per feature and week, what drifted most at the top."""
    ordered = sorted(drift, key=lambda each: (-_peak(each), each.name))
    chart = HeatMap(
        "Drift per feature and week",
        "The population stability index of each feature against the champion's training, week by week.",
        tuple(ordered[:_FEATURES_MOST]),
        _PSI_STEPS,
        "PSI",
        promotions(steps),
    )
    left_out = len(ordered) - _FEATURES_MOST
    return section(
        "Drift, feature by feature",
        "How far each feature's values have moved from those the champion of that week was trained on "
        "(population stability index): below 0.1 is steady, above 0.2 a change worth knowing.",
        figure(chart, legend=shade_legend(chart)),
        note(f"The {left_out} features that drifted least are not shown.") if left_out > 0 else EMPTY,
    )


def calibration_section(curves: Sequence[tuple[str, RowName, Sequence[CalibrationPoint]]]) -> Markup:
    """Return a calibration plot for each row."""
    plots: list[Chart] = [
        CalibrationPlot(name, f"Calibration of {name}.", tuple(points), TONES[row])
        for name, row, points in curves
    ]
    if not plots:
        plots = [CalibrationPlot("Calibration", "No curve is known yet.", ())]
    return section(
        "Calibration: can the outputs be taken at their word?",
        "Of the flights that were given 0.3, three in ten should be late: the closer to the diagonal, "
        "the better; a curve below it promised too much. The bars count how often each output was given.",
        small_multiples(plots, wide=Frame(230, 320), narrow=Frame(172, 260), across=4, across_narrow=2),
    )


def latency_section(buckets: Sequence[Bucket], quantiles: Sequence[tuple[float, float | None]]) -> Markup:
    """Return how long decisions took."""
    marks = tuple((f"p{share * 100:g}", seconds) for share, seconds in quantiles)
    chart = Histogram(
        "Latency of decisions",
        "How many decisions took how long; " + ", ".join(f"{name} {duration(each)}" for name, each in marks),
        tuple(buckets),
        marks,
    )
    return section(
        "How long a decision takes",
        "Each bar counts decisions of about the same duration, on a logarithmic axis; 99 of 100 "
        "decisions took no longer than the mark p99.",
        figure(chart, wide=Frame(1000, 230), narrow=Frame(380, 220)),
    )


def stages_section(stages: Sequence[tuple[str, float]]) -> Markup:
    """Return where the wall time went."""
    chart = Parts("Where the time went", "Wall time of each stage of the run.", tuple(stages))
    return section(
        "Where the time went",
        "Wall time stage by stage, baselines included; of an interrupted run, since it last went on.",
        figure(chart, wide=Frame(1000, 200), narrow=Frame(380, 200)),
    )


def _row(scores: Scores) -> Row:
    values = (
        scores.auc,
        scores.log_loss,
        scores.brier,
        scores.calibration_error,
        scores.capture_top_decile,
        scores.trainings,
        scores.promotions,
    )
    name = NAMES[scores.row]
    return Row(name, TONES[scores.row], values, hero=scores.row == "tropism", aside=scores.row == "hindsight")


def _drawn(storms: Sequence[Band], histories: Sequence[History]) -> tuple[Band, ...]:
    """Return the storms within the periods that are drawn: a legend names no other."""
    starts = [one.start_us for each in histories for one in each.periods]
    return tuple(
        each for each in storms if starts and each.start_us <= max(starts) and each.end_us >= min(starts)
    )


def _legend(chart: LineChart) -> Markup:
    bands = [key("band", "storm")] if chart.bands else []
    return line_legend(chart.series[::-1], *bands, *pin_keys(chart.markers))


def _ledger(steps: Sequence[Step]) -> Markup:
    if not steps:
        return EMPTY
    rows = [
        (minute(each.at_us), described(each), each.by or ABSENT, evidence(each) or ABSENT)
        for each in sorted(steps, key=lambda each: each.at_us)
    ]
    return ledger(
        f"All {len(rows)} transitions, with their evidence", ("When", "What and why", "By", "Evidence"), rows
    )


def _peak(row: HeatRow) -> float:
    return max((known for _, value in row.values if (known := finite(value)) is not None), default=-1.0)
