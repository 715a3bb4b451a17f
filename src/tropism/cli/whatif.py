"""``tropism whatif``: would a loop pay on a table of one's own?"""

import asyncio
import os
import shlex
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tropism.cli.console import is_terminal, print_json, say
from tropism.cli.options import JsonOption
from tropism.core.errors import InvalidInputError
from tropism.core.time import iso

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from tropism.whatif.compare import Way
    from tropism.whatif.replay import Progress
    from tropism.whatif.story import Answer

NAMES = {"no-change": "no change", "static": "trained once", "cron": "by the calendar", "tropism": "Tropism"}
ABSENT = "\N{EN DASH}"
_TOLD_SECONDS = 10.0


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
    _check_place(card)
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

    with _telling() as teller:
        answer = asyncio.run(ask(question, teller))
    command = shlex.join(["tropism", *sys.argv[1:]])
    return replace(answer, version=version("tropism"), command=command)


def _check_place(card: Path) -> None:
    """Refuse a place that cannot be written to before the work is done, and change nothing yet."""
    there = next(parent for parent in card.absolute().parents if parent.exists())
    if card.is_dir() or not there.is_dir() or not os.access(there, os.W_OK):
        fact = "it is a folder" if card.is_dir() else f"{str(there)!r} is no folder that may be written to"
        raise InvalidInputError(f"Cannot write the card {str(card)!r}: {fact}. Choose another --output.")


def _write(card: Path, answer: "Answer") -> None:
    from tropism.web.whatif_card import render
    from tropism.whatif.story import card_of

    try:
        card.parent.mkdir(parents=True, exist_ok=True)
        card.write_text(render(card_of(answer)), "utf-8")
    except OSError as error:
        raise InvalidInputError(
            f"Cannot write the card {str(card)!r}: {error.strerror or error}. Choose another --output."
        ) from error


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


class _Teller:
    """Shows how far it is: a bar on a terminal, else a line now and then."""

    def __init__(self, bar: "Bar | None") -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("reading", total=None, note="")
        self._stage, self._begun, self._told = "", time.monotonic(), time.monotonic()

    def __call__(self, progress: "Progress") -> None:
        """Show a step."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._begun = progress.stage, now
        rate = progress.done / max(now - self._begun, 0.1)
        note = ""
        if progress.time_us is not None and abs(progress.time_us) < 2**60:
            champion = f"champion v{progress.champion}" if progress.champion else "no version yet"
            note = f"{iso(progress.time_us)[:16].replace('T', ' ')}  {rate:,.0f} events/s  {champion}"
        words = NAMES.get(progress.stage, progress.stage)
        if self._bar is not None and self._task is not None:
            total = progress.total or None
            self._bar.update(self._task, description=words, completed=progress.done, total=total, note=note)
        elif now - self._told >= _TOLD_SECONDS:
            self._told = now
            say(f"{words}: {progress.done:,} of {progress.total:,}  {note}".rstrip())


class _Shown:
    """A bar for as long as it lasts."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns: list[Any] = [TextColumn("{task.description:<16}"), BarColumn(bar_width=None)]
        columns += [TextColumn("{task.percentage:>3.0f} %"), TextColumn("{task.fields[note]}")]
        self._bar = Progress(*columns, console=Console(stderr=True), transient=True)

    def __enter__(self) -> _Teller:
        return _Teller(self._bar.__enter__())

    def __exit__(self, *raised: object) -> None:
        self._bar.stop()


def _telling() -> AbstractContextManager[_Teller]:
    return _Shown() if is_terminal() else nullcontext(_Teller(None))
