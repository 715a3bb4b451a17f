"""A year of flights as the report sees it, and what a table gives: made up, seeded, of realistic size."""

import math
import random

from tropism.core.time import MICROSECONDS, parse_iso
from tropism.web.charts import Band, Bucket, CalibrationPoint, HeatRow, Span
from tropism.web.facts import History, Quality, Scores, Step
from tropism.web.flights_report import Calibration, FlightsReport, KeyFigures, Latency
from tropism.web.whatif_card import WhatIfCard

DAY = 86_400 * MICROSECONDS
WEEK = 7 * DAY
START = parse_iso("2013-02-03T05:00:00Z")
WEEKS = [START + WEEK * k for k in range(48)]
FEATURES = (
    "late share of landings, origin, 3 h", "late share of landings, destination, 4 h", "mean departure delay, origin, 1 h",
    "mean departure delay, origin, 3 h", "mean departure delay, origin and carrier, 3 h", "delay of aircraft's previous leg",
    "turnaround of aircraft", "wind speed", "wind gust", "visibility", "precipitation", "pressure", "temperature", "dew point",
    "humidity", "hour of departure", "day of week", "month", "distance", "carrier", "origin", "destination", "seats",
    "age of aircraft", "flights due but not yet gone, origin",
)  # fmt: skip
PROMOTED = (9, 17, 31, 34, 58, 95, 121, 140, 178, 199, 203, 262)  # days after the start
STORMS = (
    (5, 3.2, "Nemo, 31 % cancelled"), (32, 1.5, "6 Mar, 14 % cancelled"), (94, 1.1, "8 May, 6 %"),
    (140, 1.0, "23 Jun, 9 %"), (147, 2.0, "30 Jun, 8 % cancelled"), (155, 1, "8 Jul, 7 %"),
    (171, 1.0, "23 Jul, 8 %"), (221, 1.3, "12 Sep, 11 %"), (305, 2.0, "5 Dec, 9 % cancelled"), (309, 1.6, "9 Dec, 12 % cancelled"),
)  # fmt: skip


def flights(seed: int = 7) -> FlightsReport:
    chance = random.Random(seed)
    return FlightsReport(
        figures=KeyFigures(1_040_172, 336_776, 327_346, 9_430, 171.4, 26_412.0),
        rows=(
            Scores("static", 0.7291, 0.4763, 0.1551, 0.0312, 0.242, trainings=1, promotions=0),
            Scores("cron", 0.7742, 0.4471, 0.1449, 0.0121, 0.284, trainings=48, promotions=48),
            Scores("tropism", 0.7751, 0.4466, 0.1447, 0.0104, 0.285, trainings=21, promotions=12),
            Scores("hindsight", 0.7893, 0.4380, 0.1418, 0.0049, 0.297, trainings=1),
        ),
        histories=histories(chance),
        steps=steps(),
        storms=tuple(Band(START + int(a * DAY), START + int((a + b) * DAY), name) for a, b, name in STORMS),
        drift=tuple(HeatRow(name, drift(chance, k)) for k, name in enumerate(FEATURES)),
        calibration=tuple(Calibration(row, curve(bend)) for row, bend in (("static", 1.5), ("cron", 1.12), ("tropism", 1.06), ("hindsight", 1.0))),  # type: ignore[arg-type]
        latency=Latency(
            ((0.5, 0.000_41), (0.9, 0.000_92), (0.99, 0.0031)),
            tuple(Bucket(1e-4 * 1.12**k, 1e-4 * 1.12 ** (k + 1), int(48_000 * math.exp(-(((k - 13) / 6.5) ** 2))) + max(0, 300 - 6 * k)) for k in range(45)),
        ),
        versions=spans(),
        stages=(("reading the tables", 6.2), ("views and features", 41.0), ("decisions", 58.3), ("trainings", 39.9), ("weekly cron", 96.0), ("best in hindsight", 11.4), ("committing", 19.2)),
        version="0.1.0",
        seed=7,
        digest="sha256:5e1f6c0c9c7a1b5a3f0cf1b2c9d35f77b0a3a1c6d4a8b1f2e9d0c3b4a5f60718",
        command="tropism demo flights --seed 7",
    )  # fmt: skip


def histories(chance: random.Random) -> tuple[History, ...]:
    made = []
    hard = [0.02 * math.sin(k / 3.1) + chance.gauss(0, 0.009) for k in range(len(WEEKS))]
    for row, level, decay in (
        ("static", 0.765, 0.00145),
        ("cron", 0.774, 0.0),
        ("tropism", 0.775, 0.0),
        ("hindsight", 0.789, 0.0),
    ):
        periods = []
        for k, start in enumerate(WEEKS):
            auc = level - decay * k + hard[k] + chance.gauss(0, 0.004)
            loss = 0.95 - 0.65 * auc - 1.5 * hard[k]
            periods.append(Quality(start, 6_500 + chance.randrange(800), auc, loss, loss * 0.325))
        made.append(History(row, tuple(periods)))  # type: ignore[arg-type]
    return tuple(made)


def steps() -> tuple[Step, ...]:
    made = [Step(START - 2 * DAY, "promoted", 1, "first version", "policy")]
    for k, days in enumerate(PROMOTED):
        at = START + days * DAY
        facts = (
            ("outcomes", 5_120.0 + 37 * k),
            ("brier_difference", -0.0031 - k * 1e-4),
            ("e_value", 23.4 + k),
        )
        made.append(
            Step(
                at - 5 * DAY,
                "training requested",
                k + 2,
                "performance: log loss .012 above its reference",
                "policy",
            )
        )
        made.append(
            Step(
                at - 5 * DAY + 9 * 60 * MICROSECONDS,
                "shadow started",
                k + 2,
                "backtest passed",
                "policy",
                facts[:1],
            )
        )
        made.append(Step(at, "promoted", k + 2, "the challenger's Brier score is lower", "policy", facts))
    made.append(
        Step(START + 207 * DAY, "rolled back", 12, "loss rose after promotion", "watch", (("e_value", 41.0),))
    )
    return tuple(made)


def spans() -> tuple[Span, ...]:
    ends = [START + days * DAY for days in PROMOTED] + [WEEKS[-1] + WEEK]
    made = [
        Span("v1", "training", START - 3 * DAY, START - 2 * DAY),
        Span("v1", "champion", START - 2 * DAY, ends[0]),
    ]
    for k, at in enumerate(ends[:-1]):
        name = f"v{k + 2}"
        made += [
            Span(name, "training", at - 5 * DAY, at - 5 * DAY + 600 * MICROSECONDS),
            Span(name, "shadow", at - 5 * DAY + 600 * MICROSECONDS, at - 2 * DAY),
            Span(name, "canary", at - 2 * DAY, at),
            Span(name, "champion", at, ends[k + 1] if k < 11 else None),
            Span(f"v{k + 1}", "watch", at, at + 6 * DAY),
        ]
    made.append(Span("v12", "rolled back", ends[11], ends[11] + 3 * DAY, "loss rose after promotion"))
    made += [
        Span("v14", "training", START + 280 * DAY, START + 281 * DAY),
        Span("v14", "shadow", START + 281 * DAY, START + 296 * DAY, "grew stale"),
    ]
    return tuple(made)


def drift(chance: random.Random, k: int) -> tuple[tuple[int, float | None], ...]:
    made: list[tuple[int, float | None]] = []
    for week, start in enumerate(WEEKS):
        season = 0.5 * max(0.0, math.sin((week + 4) / 7.5)) if 7 <= k < 15 else 0.02
        burst = 0.3 if k < 6 and week in {1, 20, 21, 24, 44} else 0.0
        value = abs(chance.gauss(season * (1 - abs(k - 11) / 9) + burst, 0.02))
        made.append((start, None if week < 1 or (k == 22 and week < 20) else value))
    return tuple(made)


def curve(bend: float) -> tuple[CalibrationPoint, ...]:
    return tuple(
        CalibrationPoint((k + 0.5) / 10, ((k + 0.5) / 10) ** bend, int(90_000 * math.exp(-k / 2.6)))
        for k in range(10)
    )


def card(
    seed: int = 7, *, table: str = "shipments.parquet", weeks: int = 40, decay: float = 0.0022
) -> WhatIfCard:
    chance = random.Random(seed)
    made = []
    for row, loss, slope, accuracy in (
        ("no-change", None, 0.0, 0.71),
        ("static", 0.45, decay, 0.8),
        ("cron", 0.445, 0.0, 0.812),
        ("tropism", 0.444, 0.0, 0.813),
    ):
        periods = []
        for k in range(weeks):
            noise = chance.gauss(0, 0.012)
            own = None if loss is None else loss + slope * k + noise
            periods.append(
                Quality(
                    START + WEEK * k,
                    900,
                    None if own is None else 1.2 - own,
                    own,
                    accuracy=accuracy - slope * k * 0.4 - noise,
                )
            )
        made.append(History(row, tuple(periods)))  # type: ignore[arg-type]
    return WhatIfCard(
        table=table,
        rows=42_310,
        labels=39_877,
        start_us=START,
        end_us=START + WEEK * weeks,
        model="hist-gradient-boosting",
        scores=(
            Scores("no-change", accuracy=0.709),
            Scores("static", 0.702, 0.493, accuracy=0.782, trainings=1, promotions=0, alarms=0),
            Scores("cron", 0.755, 0.445, accuracy=0.812, trainings=40, promotions=40, alarms=0),
            Scores("tropism", 0.756, 0.444, accuracy=0.813, trainings=9, promotions=6, alarms=3),
        ),
        histories=tuple(made),
        steps=tuple(each for each in steps() if each.at_us < START + WEEK * weeks),
        version="0.1.0",
        seed=seed,
        digest="sha256:0b7d3f",
        command=f"tropism whatif {table} --time shipped_at --label late --label-at arrived_at",
    )
