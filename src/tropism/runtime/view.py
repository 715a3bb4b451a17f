"""Feature tables kept from events under their own key, read as of a moment."""

from bisect import bisect_left
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite
from typing import Any, Protocol

import msgspec

from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.core.time import MICROSECONDS, to_us
from tropism.runtime.series import Series


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
        on: type[Event] | tuple[type[Event], ...],
        *,
        by: Callable[[Any], str | None],
        window: timedelta | None = None,
        at: Callable[[Any], int] | None = None,
        allowance: timedelta = timedelta(0),
        own: bool = False,
        **columns: Aggregate,
    ) -> None:
        self.name = name
        self.on = on if isinstance(on, tuple) else (on,)
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


class Table:
    """The contents of one view: a series a key, and which keys changed since they were last stored."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.series: dict[str, Series] = {}
        self.changed: set[str] = set()
        self._own: dict[str, list[tuple[str, int]]] = {}
        self._row = namedtuple(f"Row_{view.name.replace('-', '_')}", list(view.columns))  # type: ignore[misc]  # noqa: PYI024 (its columns are known only here)
        columns = list(view.columns.values())
        self._sum_values = [a.value for a in columns if a.kind in {"total", "mean"}]
        self._last_values = [a.value for a in columns if a.kind == "last"]
        self._plan = _plan(columns)
        self._empty = self._row(*[empty for _, _, _, empty in self._plan])
        windows = [to_us(a.window) for a in columns if a.window is not None]
        self.window_us = max(windows, default=0)

    def add(self, event: Any, time_us: int, subject: str) -> None:
        """Take in an event that became known at a moment."""
        key = self.view.by(event)
        if key is None:
            return
        # Whatever may raise comes first: an event is taken in wholly, or not at all.
        sums = [_finite(value(event)) for value in self._sum_values]  # type: ignore[misc]
        lasts = [value(event) for value in self._last_values]  # type: ignore[misc]
        if lasts:
            msgspec.msgpack.encode(lasts)
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series(len(self._sum_values), len(self._last_values))
        series.add(time_us, subject, sums, lasts)
        self.changed.add(key)
        own = self._own.get(subject)
        if own is None:
            self._own[subject] = [(key, time_us)]
        else:
            own.append((key, time_us))

    def read(self, key: str, as_of_us: int, exclude: str | None) -> Any:
        """Return the row of a key as of a moment, without the entries of one subject."""
        series = self.series.get(key)
        if series is None:
            return self._empty
        times = series.times
        stop = len(times) if times[-1] < as_of_us else bisect_left(times, as_of_us)
        own = self._own.get(exclude) if exclude is not None else None
        mine = _own_indices(series, own, key, as_of_us, exclude) if own is not None else ()
        cells: list[Any] = []
        known_window_us, start = 0, 0
        for kind, which, window_us, _ in self._plan:
            if window_us != known_window_us:
                known_window_us = window_us
                start = bisect_left(times, as_of_us - window_us, 0, stop) if window_us else 0
            if kind == "mean" and not mine and window_us:
                totals, counts = series.totals[which]
                number = counts[stop] - counts[start]
                cells.append((totals[stop] - totals[start]) / number if number else None)
            else:
                cells.append(_cell(kind, series, which, (start, stop), mine, as_of_us, window_us > 0))
        return self._row(*cells)

    def reader(self, as_of_us: int, exclude: str | None) -> Reader:
        """Return the view as of a moment, without one subject."""
        hidden = None if self.view.own else exclude
        return lambda key: self.read(key, as_of_us, hidden)

    def trim(self, before_us: int, keys: set[str]) -> None:
        """Forget, under some keys, what no read at or after a moment can ask for."""
        for key in keys:
            series = self.series[key]
            # A tenth of slack: trimming moves all that stays, so it must free something worth it.
            if series.times[0] < before_us - self.window_us - self.window_us // 8:
                for subject, time_us in series.trim(before_us - self.window_us):
                    self._disown(subject, (key, time_us))

    def _disown(self, subject: str, entry: tuple[str, int]) -> None:
        own = self._own[subject]
        own.remove(entry)
        if not own:
            del self._own[subject]

    def load(self, key: str, data: bytes) -> None:
        """Take back a stored series."""
        series = self.series[key] = Series.unpack(data)
        for subject, time_us in zip(series.subjects, series.times, strict=True):
            self._own.setdefault(subject, []).append((key, time_us))


def _finite(value: float | None) -> float | None:
    """Refuse what would spoil every later sum of its key."""
    if value is None:
        return None
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"{number} cannot be summed")
    return number


_Plan = list[tuple[str, int, int, Any]]


def _plan(columns: list[Aggregate]) -> _Plan:
    plan: _Plan = []
    sums = lasts = 0
    for a in columns:
        window_us = 0 if a.window is None else to_us(a.window)
        which = sums if a.kind in {"total", "mean"} else lasts
        empty = {"count": 0, "total": 0.0}.get(a.kind)
        plan.append((a.kind, which, window_us, empty))
        sums += a.kind in {"total", "mean"}
        lasts += a.kind == "last"
    return plan


def _own_indices(
    series: Series, own: list[tuple[str, int]], key: str, as_of_us: int, subject: str | None
) -> tuple[int, ...]:
    """Return where the entries of one subject before a moment lie, knowing its keys and times."""
    if len(own) == 1 and (own[0][0] != key or own[0][1] >= as_of_us):
        return ()
    times_us = {time_us for where, time_us in own if time_us < as_of_us and where == key}
    return tuple(
        index
        for time_us in sorted(times_us)
        for index in range(*series.range(time_us, time_us + 1))
        if series.subjects[index] == subject
    )


def _cell(
    kind: str,
    series: Series,
    which: int,
    span: tuple[int, int],
    mine: tuple[int, ...],
    as_of_us: int,
    windowed: bool,
) -> Any:
    start, stop = span
    mine = tuple(index for index in mine if index >= start)
    if kind == "count":
        return stop - start - len(mine)
    if kind in {"mean", "total"}:
        amount, number = series.sum(which, start if windowed else None, stop)
        for i in mine:
            own_amount, own_number = series.sum(which, i, i + 1)
            amount, number = amount - own_amount, number - own_number
        return amount if kind == "total" else amount / number if number else None
    at = stop - 1
    while at >= start and at in mine:
        at -= 1
    if at < start:
        return None
    return series.values[which][at] if kind == "last" else (as_of_us - series.times[at]) / MICROSECONDS
