"""What commands say: reports on standard output, everything else on standard error."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec


def say(text: str) -> None:
    """Write a line of progress or advice to standard error."""
    print(text, file=sys.stderr, flush=True)


def print_json(document: Any) -> None:
    """Write one JSON document to standard output, and nothing else."""
    encoded = msgspec.json.encode(document, enc_hook=str)
    print(msgspec.json.format(encoded, indent=2).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, none: str) -> None:
    """Write rows as a table to standard output, or say on standard error that there are none."""
    from rich.console import Console
    from rich.table import Table

    found = [[_cell(value) for value in row] for row in rows]
    if not found:
        say(none)
        return
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in found:
        table.add_row(*row)
    # Into a pipe nothing is cut off: other programs read it.
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False)
    with console.capture() as shown:
        console.print(table)
    print("\n".join(line.rstrip() for line in shown.get().splitlines()))


def _cell(value: object) -> str:
    from rich.markup import escape

    return "-" if value is None else escape(str(value))


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on a terminal; without one, only ``--yes`` agrees."""
    if yes:
        return True
    if not sys.stdin.isatty():
        say(f"{question} Not without --yes, because nobody can be asked here.")
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def is_terminal() -> bool:
    """Say whether standard error is a terminal, where progress may be drawn."""
    return sys.stderr.isatty()
