"""Feature tables kept from events under their own key, read as of a moment."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.core.time import to_us


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One column of a view: what to take from each event, and how to combine it."""

    kind: str
    value: Callable[[Any], Any] | None = None
    window: timedelta | None = None


def count(*, window: timedelta | None = None) -> Aggregate:
    """How many events; 0 where there are none."""
    return Aggregate("count", None, window)


def total(value: Callable[[Any], float | None], *, window: timedelta | None = None) -> Aggregate:
    """Sum of a value, leaving out events where it is None; 0.0 where there are none."""
    return Aggregate("total", value, window)


def mean(value: Callable[[Any], float | None], *, window: timedelta | None = None) -> Aggregate:
    """Mean of a value, leaving out events where it is None; None where there are none."""
    return Aggregate("mean", value, window)


def last(value: Callable[[Any], Any], *, window: timedelta | None = None) -> Aggregate:
    """Value of the latest event; None where there is none. Any JSON value will do."""
    return Aggregate("last", value, window)


def age(*, window: timedelta | None = None) -> Aggregate:
    """Seconds since the latest event; None where there is none."""
    return Aggregate("age", None, window)


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
    """

    def __init__(
        self,
        name: str,
        on: type[Any] | tuple[type[Any], ...],
        *,
        by: Callable[[Any], str | None],
        window: timedelta | None = None,
        at: Callable[[Any], int] | None = None,
        allowance: timedelta = timedelta(0),
        own: bool = False,
        **columns: Aggregate,
    ) -> None:
        self.name = name
        self.on: tuple[type[Event], ...] = on if isinstance(on, tuple) else (on,)
        self.by = by
        self.at = at
        self.allowance_us = to_us(allowance)
        self.own = own
        self.columns = {
            column: Aggregate(a.kind, a.value, a.window or window) for column, a in columns.items()
        }
        _check(self)

    def __repr__(self) -> str:
        """Name it as its constructor does."""
        return f"View({self.name!r})"


def _check(view: View) -> None:
    if not view.columns:
        raise InvalidInputError(
            f"Cannot keep view {view.name!r}: it has no columns. Give it one, such as n=count()."
        )
    endless = [c for c, a in view.columns.items() if a.window is None and a.kind == "count"]
    if endless:
        raise InvalidInputError(
            f"Cannot keep view {view.name!r}: column {endless[0]!r} counts without a window. "
            f"Give it one, such as window=hours(3), or use total(lambda e: 1)."
        )
