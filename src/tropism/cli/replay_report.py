"""A replay's report for people."""

from pathlib import Path

import msgspec

from tropism.cli.console import print_table, visible
from tropism.runtime.replay.report import Example, Report

_SHOWN_CHARACTERS = 60


def print_report(report: Report, file: Path) -> None:
    """Print what differs, what failed, and what that means."""
    print(f"{report.service}: {report.events:,} events, {report.start} to {report.until}\n")
    difference = report.difference
    rows = [
        (name, tally.same, tally.moved, tally.changed, tally.missing, tally.new)
        for name, tally in sorted(difference.by_type.items())
    ]
    print_table(("output", "same", "moved", "changed", "missing", "new"), rows, none="No outputs.")
    for example in difference.examples:
        print(visible(f"\n{example.kind} {example.type} {example.subject or '-'} {example.id}"))
        _print_fields(example)
    for failure in report.failures:
        print(visible(f"\nfailed {failure.handler or '-'} on {failure.type} {failure.id}: {failure.cause}"))
    for what, count in sorted(report.refused.items()):
        print(f"\nrefused {count:,} times: {what}")
    for note in report.notes:
        print(f"\nNote: {note}")
    same = "All as before." if difference.total.is_same and not report.failed else "Not as before."
    print(f"\n{same} What was told is in {str(file)!r}.")


def _print_fields(example: Example) -> None:
    for name, (before, after) in example.fields.items():
        print(visible(f"  {name}: {_short(before)} -> {_short(after)}"))


def _short(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
