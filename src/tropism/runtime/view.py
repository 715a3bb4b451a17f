"""Feature tables kept from events under their own key, read as of a moment."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal, Protocol

from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.core.time import to_us
from tropism.runtime.windows import Aligned, Session, Window

RUNNING = frozenset({"count", "total", "mean", "last", "age"})
"""The columns that running totals suffice for, where windows slide by the time at which events are known."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One column of a view: what to take from each event, and how to combine it.

    ``window`` is how far it slides behind a moment; ``span`` is a window of another kind.
    """

    kind: str
    value: Callable[[Any], Any] | None = None
    window: timedelta | None = None
    span: Aligned | Session | None = None
    denominator: Callable[[Any], float | None] | None = None
    q: float | None = None
    ttl: timedelta | None = None


def aggregate(
    kind: str, value: Callable[[Any], Any] | None = None, window: Window | None = None, **more: Any
) -> Aggregate:
    """Return a column of a kind, over a window or that of its view."""
    column = Aggregate(kind, value, **more)
    return column if window is None else _over(column, window)


def _over(column: Aggregate, window: Window) -> Aggregate:
    if not isinstance(window, timedelta):
        return replace(column, span=window)
    return replace(column, window=window)


def count(*, window: Window | None = None) -> Aggregate:
    """How many events; 0 where there are none."""
    return aggregate("count", None, window)


def total(value: Callable[[Any], float | None], *, window: Window | None = None) -> Aggregate:
    """Sum of a value, leaving out events where it is None; 0.0 where there are none."""
    return aggregate("total", value, window)


def mean(value: Callable[[Any], float | None], *, window: Window | None = None) -> Aggregate:
    """Mean of a value, leaving out events where it is None; None where there are none."""
    return aggregate("mean", value, window)


def last(
    value: Callable[[Any], Any], *, window: Window | None = None, ttl: timedelta | None = None
) -> Aggregate:
    """Value of the latest event; None where there is none. Any JSON value will do.

    A value older than ``ttl`` reads as None.
    """
    return aggregate("last", value, window, ttl=ttl)


def age(*, window: Window | None = None) -> Aggregate:
    """Seconds since the latest event; None where there is none."""
    return aggregate("age", None, window)


class Row(Protocol):
    """What a view holds for a key as of a moment: an attribute per column."""

    def __getattr__(self, name: str) -> Any:
        """Return the column of that name."""

    def __getitem__(self, index: int) -> Any:
        """Return the column of that number."""


class Reader(Protocol):
    """A view as of the moment of the event at hand, without that event's own subject."""

    def __call__(self, key: str) -> Row:
        """Return what the view holds for a key."""
        ...


class View:
    """A feature table kept from events under its own key, in event time.

    ``View("landings-by-origin", FlightLanded, by=lambda e: e.origin, window=hours(3), late=mean(is_late))``
    keeps a column ``late``. A read as of a moment sees only what was known strictly before it, and
    nothing of the reading event's own subject. A column without a window (neither its own nor the
    view's) covers all that was ever seen; ``count`` needs one, for all that was ever seen is
    ``total(lambda e: 1)``.

    ``at`` gives the moment from which an event counts, if not the one at which it became known, and
    ``allowance`` by how much at least it lies behind its cause: a read then needs the sources only up
    to its own moment less the allowance. ``own`` lets a reader see events of its own subject: never in a
    view that features are read from, for those would tell what is to be predicted.

    Windows slide (a duration), or are ``tumbling``, ``sliding(every=...)`` or ``session``. They go by when
    events became known; with a ``lateness`` by the events' own time (or ``at``), and then an event that is
    known later than that is left out and counted, or with ``beyond_lateness="dead_letter"`` put among the
    dead letters.

    Raises: InvalidInputError for what cannot be kept.
    """

    def __init__(
        self,
        name: str,
        on: type[Any] | tuple[type[Any], ...],
        *,
        by: Callable[[Any], str | None],
        window: Window | None = None,
        at: Callable[[Any], int] | None = None,
        allowance: timedelta = timedelta(0),
        own: bool = False,
        lateness: timedelta | None = None,
        beyond_lateness: Literal["count", "dead_letter"] = "count",
        **columns: Aggregate,
    ) -> None:
        self.name = name
        self.on: tuple[type[Event], ...] = on if isinstance(on, tuple) else (on,)
        self.by = by
        self.at = at
        self.allowance_us = to_us(allowance)
        self.own = own
        self.window = window
        self.lateness_us = None if lateness is None else to_us(lateness)
        self.beyond_lateness = beyond_lateness
        self.columns = {column: _placed(a, window) for column, a in columns.items()}
        _check(self)

    def __repr__(self) -> str:
        """Name it as its constructor does."""
        return f"View({self.name!r})"

    @property
    def is_running(self) -> bool:
        """Whether running totals suffice for it; otherwise reads go through what windows hold."""
        return self.lateness_us is None and all(
            a.kind in RUNNING and a.span is None for a in self.columns.values()
        )


def _placed(column: Aggregate, window: Window | None) -> Aggregate:
    """Return a column over its own window or its view's; where windows slide, a ttl is one, too."""
    if column.window is None and column.span is None and window is not None:
        column = _over(column, window)
    if column.ttl is None or column.span is not None:
        return column
    return replace(column, ttl=None, window=min(column.ttl, column.window or column.ttl))


def _check(view: View) -> None:
    if not view.columns:
        raise InvalidInputError(
            f"Cannot keep view {view.name!r}: it has no columns. Give it one, such as n=count()."
        )
    endless = [c for c, a in view.columns.items() if a.window is None and a.span is None]
    if view.is_running:
        endless = [c for c in endless if view.columns[c].kind == "count"]
    if endless and view.is_running:
        raise InvalidInputError(
            f"Cannot keep view {view.name!r}: column {endless[0]!r} counts without a window. "
            f"Give it one, such as window=hours(3), or use total(lambda e: 1)."
        )
    if endless:
        raise InvalidInputError(
            f"Cannot keep view {view.name!r}: column {endless[0]!r} has no window, which it needs beside "
            f"lateness, tumbling windows, sessions, and aggregates that are not sums. "
            f"Give it one, or move it to a view of its own."
        )
    _check_times(view)
    _check_columns(view)


def _check_times(view: View) -> None:
    if view.lateness_us is not None and view.lateness_us < 0:
        raise InvalidInputError(
            f"Cannot keep view {view.name!r}: its lateness of {view.lateness_us / 1e6:g} s is negative. "
            f"Choose one such as minutes(10)."
        )
    if not view.is_running and view.allowance_us:
        raise InvalidInputError(
            f"Cannot keep view {view.name!r}: it has an allowance of {view.allowance_us / 1e6:g} s, which is "
            f"kept only for sliding counts, sums and latest values without lateness. Leave one of them out."
        )
    if not view.is_running and view.at is not None and view.lateness_us is None:
        raise InvalidInputError(
            f"Cannot keep view {view.name!r}: it says 'at' when events count, and not how late they may be "
            f"known. Give it a lateness, such as lateness=minutes(10)."
        )


def _check_columns(view: View) -> None:
    for name, a in view.columns.items():
        if a.q is not None and not 0 <= a.q <= 1:
            raise InvalidInputError(
                f"Cannot keep view {view.name!r}: column {name!r} asks for quantile {a.q}. "
                f"Choose one from 0 to 1."
            )
        for duration in (a.ttl, a.window):
            if duration is not None and to_us(duration) <= 0:
                raise InvalidInputError(
                    f"Cannot keep view {view.name!r}: column {name!r} covers {duration}. "
                    f"Choose a duration, such as hours(3)."
                )
