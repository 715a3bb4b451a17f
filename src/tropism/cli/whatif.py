"""``tropism whatif``: would a loop pay on a table of one's own?"""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tropism.cli.console import aside, print_json
from tropism.cli.options import JsonOption
from tropism.cli.pages import check_place, write_page
from tropism.cli.telling import telling
from tropism.cli.work import finish
from tropism.core.errors import InvalidInputError

if TYPE_CHECKING:
    from tropism.whatif.compare import Way
    from tropism.whatif.story import Answer

NAMES = {"no-change": "no change", "static": "trained once", "cron": "by the calendar", "tropism": "Tropism"}
ABSENT = "\N{EN DASH}"


def whatif(
    table: Annotated[
        Path, typer.Argument(help="A .csv, .tsv or .parquet file with a row for each decision.")
    ],
    time: Annotated[str, typer.Option(help="The column that says when each row was known.", metavar="COL")],
    label: Annotated[str, typer.Option(help="The column to predict: two values, or none.", metavar="COL")],
    label_at: Annotated[
        str | None, typer.Option(help="The column that says when the label was known.", metavar="COL")
    ] = None,
    delay_rows: Annotated[
        int | None, typer.Option(min=1, help="Or: it was known after so many more rows.", metavar="N")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="The column that names the row; no feature.", metavar="COL")
    ] = None,
    model: Annotated[
        str, typer.Option(help="hist-gradient-boosting, logistic, or module:function of your own.")
    ] = "hist-gradient-boosting",
    drop: Annotated[
        list[str] | None, typer.Option(help="A column to leave out; may be repeated.", metavar="COL")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every training.")] = 0,
    output: Annotated[
        Path | None, typer.Option(help="Where to write the HTML card; otherwise whatif-TABLE.html.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Replay a table of history and say whether a closed loop would have paid.

    Every row is decided before its label is known, four ways: by the last label, by a model trained once, by
    one retrained by the calendar, and by Tropism's loop. The same table and seed give the same figures.
    """
    from tropism.whatif.asking import Question
    from tropism.whatif.table import Roles

    if (label_at is None) == (delay_rows is None):
        fact = "it is not said" if label_at is None else "--label-at and --delay-rows both say"
        raise InvalidInputError(
            f"Cannot replay {str(table)!r}: {fact} when a label was known. "
            f"Give either --label-at COL or --delay-rows N."
        )
    roles = Roles(time, label, label_at, delay_rows, key, tuple(drop or ()))
    card = output or Path(f"whatif-{table.stem}.html")
    check_place(card, what="card", option="--output", read=[table])
    answer = _ask(Question(table, roles, model, seed))
    _write(card, answer)
    if json:
        _print_document(answer, card)
    else:
        _report(answer, card)


def _ask(question: Any) -> "Answer":
    from dataclasses import replace
    from importlib.metadata import version

    from tropism.whatif.asking import ask

    # A model of the user's own may print.
    with telling(NAMES) as teller, aside():
        answer = finish(ask(question, teller))
    command = shlex.join(["tropism", *sys.argv[1:]])
    return replace(answer, version=version("tropism"), command=command)


def _write(card: Path, answer: "Answer") -> None:
    from tropism.web.whatif_card import render
    from tropism.whatif.story import card_of

    write_page(card, render(card_of(answer)), what="card", option="--output")


def _print_document(answer: "Answer", card: Path) -> None:
    from tropism.whatif.story import document_of

    print_json({**document_of(answer), "card": str(card)})


def _report(answer: "Answer", card: Path) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False, soft_wrap=True)
    for note in answer.table.notes:
        mark = "[bold red]Careful:[/bold red]" if note.level == "warning" else "[dim]Note:[/dim]"
        console.print(f"{mark} {escape(note.text)}")
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("")
    for title in ("accuracy", "AUC", "log loss", "trainings", "promotions", "alarms"):
        shown.add_column(title, justify="right")
    for way in answer.comparison.ways:
        shown.add_row(NAMES[way.name], *_figures(way), style="bold" if way.name == "tropism" else None)
    console.print(f"\n{answer.comparison.scored:,} rows scored, of {len(answer.table):,}\n")
    console.print(shown)
    found = answer.verdict
    console.print(f"\n[bold]{escape(found.sentence)}[/bold]\n{escape(found.detail)}")
    console.print(f"Card: {escape(str(card))}  [dim]({answer.seconds:.1f} s)[/dim]")


def _figures(way: "Way") -> list[str]:
    quality = way.quality
    accuracy = ABSENT if quality.accuracy is None else f"{quality.accuracy:.1%}"
    others = [ABSENT if v is None else f"{v:.4f}" for v in (quality.auc, quality.log_loss)]
    counts = [ABSENT if v is None else f"{v:,}" for v in (way.trainings, way.promotions, way.alarms)]
    return [accuracy, *others, *counts]
