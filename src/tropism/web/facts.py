"""What both reports are filled with: plain values, None where one is not known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tropism.web.layout import Marker, Tone
from tropism.web.lines import Series
from tropism.web.multiples import key
from tropism.web.svg import Markup
from tropism.web.words import decimal, finite, minute

RowName = Literal["no-change", "static", "cron", "tropism", "hindsight"]
"""Who decided: the last label repeated, a model trained once, or by the calendar, the loop, or hindsight."""

TONES: dict[RowName, Tone] = {
    "no-change": "plum",
    "static": "ochre",
    "cron": "sky",
    "tropism": "leaf",
    "hindsight": "stone",
}


@dataclass(frozen=True, slots=True)
class Scores:
    """What a row's decisions were worth over the whole period, and what they cost; None where not known.

    Units: log_loss in nats; capture_top_decile = share of all positives among the tenth of highest outputs.
    """

    row: RowName
    auc: float | None = None
    log_loss: float | None = None
    brier: float | None = None
    calibration_error: float | None = None
    capture_top_decile: float | None = None
    accuracy: float | None = None
    trainings: int | None = None
    promotions: int | None = None
    alarms: int | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a row's decisions of one period were; ``start_us`` is where the period starts."""

    start_us: int
    outcomes: int
    auc: float | None = None
    log_loss: float | None = None
    brier: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The quality of one row, period by period."""

    row: RowName
    periods: tuple[Quality, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """A transition of the loop: what happened to which version, why, by whom, and on what evidence."""

    at_us: int
    kind: str
    version: int | None
    reason: str = ""
    by: str = ""
    evidence: tuple[tuple[str, float], ...] = ()


_BACK_TO_FRONT: tuple[RowName, ...] = ("hindsight", "no-change", "static", "cron", "tropism")
Metric = Literal["auc", "log_loss", "brier", "accuracy"]


def lines(histories: Sequence[History], metric: Metric, names: Mapping[RowName, str]) -> tuple[Series, ...]:
    """Return a metric over time as lines, Tropism's last and so on top."""
    return tuple(
        _line(each.row, [(one.start_us, _metric(one, metric)) for one in each.periods], names)
        for each in sorted(histories, key=lambda each: _BACK_TO_FRONT.index(each.row))
    )


def gains(
    histories: Sequence[History], metric: Metric, over: RowName, names: Mapping[RowName, str]
) -> tuple[Series, ...]:
    """Return how far each row's metric lies above another row's, period by period, as lines."""
    base = {
        one.start_us: _metric(one, metric) for each in histories if each.row == over for one in each.periods
    }
    return tuple(
        _line(
            each.row,
            [(one.start_us, _less(_metric(one, metric), base.get(one.start_us))) for one in each.periods],
            names,
        )
        for each in sorted(histories, key=lambda each: _BACK_TO_FRONT.index(each.row))
        if each.row != over
    )


def promotions(steps: Sequence[Step]) -> tuple[Marker, ...]:
    """Return the promotions, and what was rolled back, as events of a chart."""
    return tuple(
        Marker(
            each.at_us,
            "" if each.version is None else f"v{each.version}",
            f"{minute(each.at_us)}: {described(each)}",
            "rose" if each.kind == "rolled back" else "leaf",
        )
        for each in steps
        if each.kind in {"promoted", "rolled back"}
    )


def pin_keys(pins: Sequence[Marker]) -> list[Markup]:
    """Return the keys of the events that occur."""
    names: tuple[tuple[Tone, str], ...] = (("leaf", "promotion"), ("rose", "rolled back"))
    return [key("pin", name, tone) for tone, name in names if any(each.tone == tone for each in pins)]


def described(step: Step) -> str:
    """Return a transition in words."""
    version = f"v{step.version} " if step.version is not None else ""
    return f"{version}{step.kind}{': ' if step.reason else ''}{step.reason}"


def evidence(step: Step) -> str:
    """Return the evidence of a transition in words."""
    return ", ".join(f"{name} {_figure(value)}" for name, value in step.evidence)


def _line(row: RowName, points: Sequence[tuple[int, float | None]], names: Mapping[RowName, str]) -> Series:
    aside = row in {"hindsight", "no-change"}
    return Series(names[row], tuple(points), TONES[row], strong=row == "tropism", dashed=aside)


def _metric(quality: Quality, metric: Metric) -> float | None:
    found: dict[Metric, float | None] = {
        "auc": quality.auc,
        "log_loss": quality.log_loss,
        "brier": quality.brier,
        "accuracy": quality.accuracy,
    }
    return finite(found[metric])


def _less(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _figure(value: float) -> str:
    whole = float(value).is_integer() and abs(value) < 1e15
    return decimal(value, 0 if whole else 4 if abs(value) < 10 else 1)
