"""What came of a year of flights, on the screen."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tropism.demo.flights.comparing import Way

ABSENT = "\N{EN DASH}"
NAMES = {
    "static": "static, January",
    "cron": "weekly cron",
    "adaptive": "Tropism",
    "hindsight": "best in hindsight",
}
TITLES = ("AUC", "log\nloss", "Brier", "calib.\nerror", "late in\ntop 10 %", "trainings", "promotions")


def print_flights(ways: tuple["Way", ...], summary: dict[str, Any], scored: str) -> None:
    """Print the table, or why there is none, what was counted, and where the time went."""
    from rich.console import Console
    from rich.table import Table

    from tropism.demo.flights.story import parts_of

    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    if scored:
        table = Table(box=None, pad_edge=False, collapse_padding=True, header_style="bold")
        table.add_column("")
        for title in TITLES:
            table.add_column(title, justify="right", vertical="bottom")
        for way in ways:
            style = "bold" if way.name == "adaptive" else None
            table.add_row(NAMES[way.name], *_figures(way), style=style)
        console.print(f"\nLate arrivals, scored on flights of {scored}\n")
        console.print(table)
    else:
        console.print(
            "\nNothing was scored: January is there to learn from, and scoring begins on 2013-02-01. "
            "Run at least --until 2013-02-15 for the table."
        )
    console.print(
        f"\n{summary['events']:,} events, {summary['decisions']:,} decisions = {summary['outcomes']:,} "
        f"outcomes + {summary['expired']:,} expired; {summary['promotions']} promotions, "
        f"{summary['rollbacks']} rollbacks"
    )
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in parts_of(summary["stages"]))
    rate = summary["events_per_second"]
    speed = ABSENT if rate is None else f"{rate:,.0f}"
    console.print(f"time: {spent}; {speed} events/s on the event path")


def _figures(way: "Way") -> list[str]:
    s = way.scores
    plain = (None,) * 4 if s is None else (s.roc_auc, s.log_loss, s.brier, s.calibration_error)
    figures = [ABSENT if value is None else f"{value:.4f}" for value in plain]
    caught = ABSENT if s is None or s.capture is None else f"{s.capture:.1%}"
    counts = [ABSENT if value is None else str(value) for value in (way.trainings, way.promotions)]
    return [*figures, caught, *counts]
