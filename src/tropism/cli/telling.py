"""How far a long command is: a bar on a terminal, else a line now and then."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from tropism.cli.console import is_terminal, say
from tropism.core.time import iso

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_TOLD_SECONDS = 10.0
_NO_MOMENT_US = 2**60


class Step(Protocol):
    """What is done, how much of how much (0 where not known), up to when, and which version decides."""

    @property
    def stage(self) -> str:
        """Its name."""
        ...

    @property
    def done(self) -> int:
        """How much is done."""
        ...

    @property
    def total(self) -> int:
        """Of how much."""
        ...

    @property
    def time_us(self) -> int | None:
        """Up to when, in event time."""
        ...

    @property
    def champion(self) -> int:
        """Which version decides."""
        ...


class Teller:
    """Shows every step it is told of."""

    def __init__(self, words: Mapping[str, str], bar: "Bar | None") -> None:
        self._words = words
        self._bar = bar
        self._task = None if bar is None else bar.add_task("reading", total=None, note="")
        self._told = time.monotonic()
        self._stage, self._begun = "", (self._told, 0)

    def __call__(self, progress: "Step") -> None:
        """Show a step."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._begun = progress.stage, (now, progress.done)
        note = self._note(progress, now)
        words = self._words.get(progress.stage, progress.stage)
        if self._bar is not None and self._task is not None:
            total = progress.total or None
            self._bar.update(self._task, description=words, completed=progress.done, total=total, note=note)
        elif now - self._told >= _TOLD_SECONDS:
            self._told = now
            far = f": {progress.done:,} of {progress.total:,}" if progress.total else ""
            say(f"{words}{far}  {note}".rstrip())

    def _note(self, progress: "Step", now: float) -> str:
        if progress.time_us is None or not 0 < abs(progress.time_us) < _NO_MOMENT_US:
            return ""
        begun, before = self._begun
        rate = (progress.done - before) / max(now - begun, 0.1)
        champion = f"champion v{progress.champion}" if progress.champion else "no version yet"
        return f"{iso(progress.time_us)[:16].replace('T', ' ')}  {rate:,.0f} events/s  {champion}"


@contextmanager
def telling(words: Mapping[str, str]) -> Iterator[Teller]:
    """Show progress for as long as it lasts; ``words`` names the stages."""
    if not is_terminal():
        yield Teller(words, None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns: list[Any] = [TextColumn("{task.description:<16}"), BarColumn(bar_width=None)]
    columns += [TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn(compact=True)]
    columns += [TextColumn("{task.fields[note]}")]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Teller(words, bar)
