"""What commands say: reports on standard output, everything else on standard error."""

import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def say(text: str) -> None:
    """Write a line of progress or advice to standard error."""
    print(text, file=sys.stderr, flush=True)


def visible(text: str) -> str:
    """Return text with its control characters spelled out: what comes from outside moves no cursor."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


@contextmanager
def aside() -> Iterator[None]:
    """Have what other code prints meanwhile, in whatever way, go to standard error: output is for reports."""
    output = sys.stdout
    output.flush()
    try:
        kept = os.dup(1)
    except OSError:  # it is closed
        kept = None
    if kept is not None:
        os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = output
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)


def print_json(document: Any) -> None:
    """Write one JSON document to standard output, and nothing else."""
    import msgspec

    encoded = msgspec.json.encode(document, enc_hook=str)
    print(msgspec.json.format(encoded, indent=2).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, none: str) -> None:
    """Write rows as a table to standard output, or say on standard error that there are none."""
    found = [["-" if value is None else visible(str(value)) for value in row] for row in rows]
    if not found:
        say(none)
    elif sys.stdout.isatty():
        _print_wrapped(columns, found)
    else:
        # Into a pipe nothing is wrapped or cut off: other programs read it.
        widths = [max(map(len, cells)) for cells in zip(columns, *found, strict=True)]
        for row in (columns, *found):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_wrapped(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console(highlight=False).print(table)


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
