"""Windows of time: which of a key's events a column covers, as of a moment.

All begin and end at instants since 1970 UTC, so they are the same everywhere, in summer and in winter. A
window holds what lies at or after its start, and before its end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple

from tropism.core.errors import InvalidInputError
from tropism.core.time import to_us

FAR_US = 2**62
"""Further from 1970 than any instant, and within what is stored."""


def instant(value: Any) -> int:
    """Return when an event counts, as a view's function says. Raises: ValueError if no instant lies there."""
    found = int(value)
    if not -FAR_US < found < FAR_US:
        raise ValueError("its time lies further from 1970 than any instant")
    return found


def text_key(value: Any) -> str:
    """Return a key that a view's function gives. Raises: TypeError for one that is stored as another."""
    if not isinstance(value, str):
        raise TypeError(f"a key is text, and this is a {type(value).__name__}; give str(...)")
    return value


class Entry(NamedTuple):
    """One event of a key: its own time, its id and its topic order it."""

    time_us: int
    id: str
    topic: str
    known_us: int
    subject: str
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Sliding:
    """The time right before a moment."""

    size_us: int

    def bounds_us(self, as_of_us: int, _: int) -> tuple[int, int]:
        """Return from when to when it reaches, as of a moment."""
        return as_of_us - self.size_us, as_of_us

    def horizon_us(self, low_us: int, _: int) -> int:
        """Return before when nothing is asked for by reads at or after a moment."""
        return low_us - self.size_us


@dataclass(frozen=True, slots=True)
class Aligned:
    """One of many windows of a size, a new one ``every_us``: the last complete one, or the current."""

    size_us: int
    every_us: int
    offset_us: int = 0
    current: bool = False

    def floor_us(self, time_us: int) -> int:
        """Return the last instant, at or before one, at which a window begins or ends."""
        return time_us - (time_us - self.offset_us) % self.every_us

    def bounds_us(self, as_of_us: int, lateness_us: int) -> tuple[int, int]:
        """Return from when to when it reaches, as of a moment."""
        if self.current:
            return self.floor_us(as_of_us), as_of_us
        end_us = self.floor_us(as_of_us - lateness_us)
        return end_us - self.size_us, end_us

    def horizon_us(self, low_us: int, lateness_us: int) -> int:
        """Return before when nothing is asked for by reads, or closings, at or after a moment."""
        return self.floor_us(low_us - lateness_us) - self.size_us

    def ends_us(self, time_us: int) -> range:
        """Return when the windows end that hold an instant."""
        first = self.floor_us(time_us) + self.every_us
        return range(first, time_us + self.size_us + 1, self.every_us)


@dataclass(frozen=True, slots=True)
class Session:
    """What came without a pause of ``gap_us``: the newest such run, while it is not too old."""

    gap_us: int
    kept_us: int
    current: bool = False

    def latest(self, entries: Sequence[Entry], as_of_us: int) -> Sequence[Entry]:
        """Return, of a key's visible entries in order, the newest session as of a moment."""
        if not entries:
            return entries
        pause_us = as_of_us - entries[-1].time_us
        if pause_us >= (self.gap_us if self.current else self.kept_us):
            return ()
        return entries[self.start(entries, len(entries) - 1) :]

    def start(self, entries: Sequence[Entry], place: int) -> int:
        """Return where the session begins that an entry is in."""
        while place and entries[place].time_us - entries[place - 1].time_us < self.gap_us:
            place -= 1
        return place


Spec = Sliding | Aligned | Session
Window = timedelta | Aligned | Session
"""What a view's or a column's window may be: a duration stands for a sliding one."""


def tumbling(size: timedelta, *, offset: timedelta = timedelta(0), current: bool = False) -> Window:
    """Windows side by side: a read gives the last complete one, or with ``current`` the one at hand so far.

    They begin at multiples of their size since 1970 UTC, and an ``offset`` later if told.
    """
    _check("tumble", size)
    return Aligned(to_us(size), to_us(size), to_us(offset) % to_us(size), current)


def sliding(size: timedelta, *, every: timedelta | None = None) -> Window:
    """The time right before a moment; with ``every``, the last complete of windows that begin so often."""
    _check("slide", size)
    if every is None:
        return size
    _check("slide", every)
    return Aligned(to_us(size), to_us(every))


def session(gap: timedelta, *, kept: timedelta = timedelta(days=1), current: bool = False) -> Window:
    """A run of events without a pause of ``gap``: a read gives the newest, open or closed.

    With ``current`` it gives only one that is still open. One whose last event is older than ``kept`` is
    forgotten, and reads as empty.
    """
    _check("keep sessions", gap)
    return Session(to_us(gap), max(to_us(kept), to_us(gap)), current)


def spec_of(window: Window) -> Spec:
    """Return a window as what it covers."""
    return Sliding(to_us(window)) if isinstance(window, timedelta) else window


def _check(what: str, duration: timedelta) -> None:
    if to_us(duration) <= 0:
        raise InvalidInputError(
            f"Cannot {what} by {duration}: a window lasts longer than nothing. Choose one such as hours(1)."
        )
