"""The contents of one view in one worker."""

from bisect import bisect_left
from collections import namedtuple
from math import isfinite
from typing import Any

import msgspec

from tropism.core.time import MICROSECONDS, to_us
from tropism.runtime.series import Series
from tropism.runtime.view import Aggregate, Reader, View

MEAN, TOTAL, COUNT, LAST, AGE = range(5)
KINDS = {"mean": MEAN, "total": TOTAL, "count": COUNT, "last": LAST, "age": AGE}

_Plan = tuple[tuple[int, int, int], ...]
"""Per column: its kind, where in a row its value stands, and its window, 0 for all that ever was."""

_PLAIN = frozenset({int, float, str, bool, type(None)})


class Table:
    """The contents of one view: a series a key, and which keys changed since they were last stored."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.series: dict[str, Series] = {}
        self.changed: set[str] = set()
        self._own: dict[str, list[tuple[str, int]]] = {}
        self._row = namedtuple(f"Row_{view.name.replace('-', '_')}", list(view.columns))  # type: ignore[misc]  # noqa: PYI024 (its columns are known only here)
        columns = list(view.columns.values())
        self._sum_values = [a.value for a in columns if a.kind in {"total", "mean"} and a.value]
        self._last_values = [a.value for a in columns if a.kind == "last" and a.value]
        self._plan = _plan(columns)
        empty: list[Any] = [{COUNT: 0, TOTAL: 0.0}.get(kind) for kind, _, _ in self._plan]
        self._empty = self._row(*empty)
        windows = [to_us(a.window) for a in columns if a.window is not None]
        self.window_us = max(windows, default=0)

    def add(self, event: Any, time_us: int, subject: str) -> None:
        """Take in an event that became known at a moment."""
        key = self.view.by(event)
        if key is None:
            return
        # Whatever may raise comes first: an event is taken in wholly, or not at all.
        sums = [_finite(value(event)) for value in self._sum_values]
        lasts = [_storable(value(event)) for value in self._last_values]
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series(len(sums))
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
        own = self._own.get(exclude) if exclude is not None else None
        if own is not None:
            times_us = [time_us for where, time_us in own if time_us < as_of_us and where == key]
            if times_us:
                return self._row(*self._cells_without(series, as_of_us, exclude, times_us))
        times, rows = series.times, series.rows
        stop = len(times) if times[-1] < as_of_us else bisect_left(times, as_of_us)
        end = rows[stop - 1] if stop else series.base
        begin, start, known_us = series.base, 0, 0
        cells: list[Any] = []
        for kind, at, window_us in self._plan:
            if window_us != known_us:
                known_us = window_us
                start = bisect_left(times, as_of_us - window_us, 0, stop) if window_us else 0
                begin = rows[start - 1] if start else series.base
            if kind == MEAN:
                number = end[at + 1] - begin[at + 1] if window_us else end[at + 1]
                amount = end[at] - begin[at] if window_us else end[at]
                cells.append(amount / number if number else None)
            elif kind == LAST:
                cells.append(end[at] if stop > start else None)
            elif kind == TOTAL:
                cells.append(end[at] - begin[at] if window_us else end[at])
            elif kind == AGE:
                cells.append((as_of_us - times[stop - 1]) / MICROSECONDS if stop > start else None)
            else:
                cells.append(stop - start)
        return self._row(*cells)

    def _cells_without(
        self, series: Series, as_of_us: int, subject: str | None, times_us: list[int]
    ) -> list[Any]:
        """Return the cells of a row as if the entries of one subject, at these times, were not there."""
        times = series.times
        stop = bisect_left(times, as_of_us)
        mine = {
            index
            for time_us in times_us
            for index in range(bisect_left(times, time_us), bisect_left(times, time_us + 1))
            if series.rows[index][0] == subject
        }
        return [_cell(series, column, stop, mine, as_of_us) for column in self._plan]

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
        if len(own) == 1:
            del self._own[subject]
        else:
            own.remove(entry)

    def load(self, key: str, data: bytes) -> None:
        """Take back a stored series."""
        series = self.series[key] = Series.unpack(data)
        for row, time_us in zip(series.rows, series.times, strict=True):
            self._own.setdefault(row[0], []).append((key, time_us))


def _finite(value: float | None) -> float | None:
    """Refuse what would spoil every later sum of its key."""
    if value is None:
        return None
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"{number} cannot be summed")
    return number


def _storable(value: Any) -> Any:
    """Refuse what could not be stored with the commit."""
    if type(value) not in _PLAIN:
        msgspec.msgpack.encode(value)
    return value


def _plan(columns: list[Aggregate]) -> _Plan:
    plan: list[tuple[int, int, int]] = []
    sums, at_sum = sum(a.kind in {"total", "mean"} for a in columns), 1
    at_last = 1 + 2 * sums
    for a in columns:
        window_us = 0 if a.window is None else to_us(a.window)
        summed = a.kind in {"total", "mean"}
        plan.append((KINDS[a.kind], at_sum if summed else at_last, window_us))
        at_sum += 2 * summed
        at_last += a.kind == "last"
    return tuple(plan)


def _cell(series: Series, column: tuple[int, int, int], stop: int, mine: set[int], as_of_us: int) -> Any:
    kind, at, window_us = column
    times, rows = series.times, series.rows
    start = bisect_left(times, as_of_us - window_us, 0, stop) if window_us else 0
    own = [index for index in mine if index >= start]
    if kind == COUNT:
        return stop - start - len(own)
    if kind in {MEAN, TOTAL}:
        end, begin = series.row_before(stop), series.row_before(start)
        amount = end[at] - begin[at] if window_us else end[at]
        number = end[at + 1] - begin[at + 1] if window_us else end[at + 1]
        for index in sorted(own):
            before = series.row_before(index)
            amount -= rows[index][at] - before[at]
            number -= rows[index][at + 1] - before[at + 1]
        return amount if kind == TOTAL else amount / number if number else None
    newest = stop - 1
    while newest >= start and newest in mine:
        newest -= 1
    if newest < start:
        return None
    return rows[newest][at] if kind == LAST else (as_of_us - times[newest]) / MICROSECONDS
