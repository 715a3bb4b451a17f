"""The card of `tropism whatif`: would a loop have paid on this table? One page that can be passed on."""

from dataclasses import dataclass

from tropism.web.facts import (
    TONES,
    History,
    RowName,
    Scores,
    Step,
    described,
    evidence,
    lines,
    pin_keys,
    promotions,
)
from tropism.web.layout import Frame
from tropism.web.lines import LineChart
from tropism.web.multiples import figure, line_legend, small_multiples
from tropism.web.page import Column, Header, Row, Tile, ledger, note, page, score_table, section
from tropism.web.svg import EMPTY, Markup, tag, text
from tropism.web.whatif_verdict import Verdict, judge
from tropism.web.words import ABSENT, count, day, minute

NAMES: dict[RowName, str] = {
    "no-change": "No change",
    "static": "Trained once",
    "cron": "By the calendar",
    "tropism": "Tropism",
    "hindsight": "Best in hindsight",
}
"""What the rows are called on the card."""

_COLUMNS = (
    Column("Accuracy", 1, "higher", percent=True),
    Column("AUC", 3, "higher"),
    Column("Log loss", 3, "lower"),
    Column("Trainings", 0),
    Column("Promotions", 0),
    Column("Alarms", 0),
)


@dataclass(frozen=True, slots=True)
class WhatIfCard:
    """All that the card shows, as plain values; instants in microseconds since 1970 UTC."""

    table: str
    rows: int
    labels: int
    start_us: int | None
    end_us: int | None
    model: str
    scores: tuple[Scores, ...]
    histories: tuple[History, ...] = ()
    steps: tuple[Step, ...] = ()
    version: str = ""
    seed: int = 0
    digest: str = ""
    command: str = "tropism whatif"
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def verdict(card: WhatIfCard) -> Verdict:
    """Return whether a loop would pay on this table."""
    return judge(card.scores, card.histories)


def render(card: WhatIfCard) -> str:
    """Return the card as one self-contained HTML page: the same values give the same bytes."""
    found = verdict(card)
    header = Header(card.table, found.sentence, found.detail, _tiles(card), (found.badge, found.answer))
    footer = [
        ("Made by", f"Tropism {card.version}".strip()),
        ("Command", card.command),
        ("Seed", str(card.seed)),
        ("Digest", card.digest or ABSENT),
    ]
    sections = [_table(card), _quality(card), _remarks(card)]
    return page(f"Would a loop pay? {card.table}", header, sections, footer, card=True)


def _tiles(card: WhatIfCard) -> tuple[Tile, ...]:
    known = card.start_us is not None and card.end_us is not None
    return (
        Tile("Rows", count(card.rows)),
        Tile("Labels", count(card.labels)),
        Tile("From", day(card.start_us) if known and card.start_us is not None else ABSENT),
        Tile("To", day(card.end_us) if known and card.end_us is not None else ABSENT),
    )


def _table(card: WhatIfCard) -> Markup:
    return section(
        "The same rows, decided four ways",
        f"Every row was decided before its label was known, with {card.model}; the best figure of each "
        "column stands out.",
        score_table(_COLUMNS, [_row(each) for each in card.scores]),
    )


def _row(scores: Scores) -> Row:
    values = (
        scores.accuracy,
        scores.auc,
        scores.log_loss,
        scores.trainings,
        scores.promotions,
        scores.alarms,
    )
    return Row(NAMES[scores.row], TONES[scores.row], values, hero=scores.row == "tropism")


def _quality(card: WhatIfCard) -> Markup:
    learning = [each for each in card.histories if each.row != "no-change"]
    pins = promotions(card.steps)
    loss = LineChart(
        "Log loss over time",
        "The log loss of each way to decide, period by period; lower is better.",
        lines(learning, "log_loss", NAMES),
        markers=pins,
    )
    others = [
        LineChart("AUC, higher is better", "AUC per period.", lines(learning, "auc", NAMES), named=False),
        LineChart(
            "Accuracy, higher is better",
            "Accuracy per period.",
            lines(card.histories, "accuracy", NAMES),
            named=False,
        ),
    ]
    legend = line_legend(lines(card.histories, "accuracy", NAMES)[::-1], *pin_keys(pins))
    return section(
        "Quality over time",
        "Log loss is what being sure of the wrong thing costs: lower is better. Where the lines part, "
        "learning matters.",
        figure(loss, legend=legend, wide=Frame(830, 290), narrow=Frame(380, 270)),
        small_multiples(others, wide=Frame(400, 180), narrow=Frame(380, 180), across=2),
        _ledger(card.steps),
    )


def _remarks(card: WhatIfCard) -> Markup:
    """Return what one should know of the table, what puts the answer in doubt first."""
    if not card.warnings and not card.notes:
        return EMPTY
    doubts = [tag("p", tag("strong", text("Careful. ")), text(each), class_="note") for each in card.warnings]
    read = "What was found in it, and how it was handled."
    return section("What to know of this table", read, *doubts, *(note(each) for each in card.notes))


def _ledger(steps: tuple[Step, ...]) -> Markup:
    rows = [
        (minute(each.at_us), described(each), evidence(each) or ABSENT)
        for each in sorted(steps, key=lambda each: each.at_us)
    ]
    if not rows:
        return EMPTY
    return ledger(f"All {len(rows)} transitions of the loop", ("When", "What and why", "Evidence"), rows)
