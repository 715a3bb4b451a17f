"""The contents of one view in one worker."""

from collections import namedtuple
from typing import Any

from tropism.core.time import to_us
from tropism.runtime.compiled import Moment, compiled
from tropism.runtime.series import Series
from tropism.runtime.view import Reader, View

EMPTY: dict[str, Any] = {"count": 0, "total": 0.0}
FEW = 2
"""So many entries are not worth a trimming."""


class Table:
    """The contents of one view: a series a key, and which keys changed since they were last stored.

    ``add`` takes in an event that became known at a moment, under a subject: wholly, or it raises.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.series: dict[str, Series] = {}
        self.changed: set[str] = set()
        columns = view.columns
        row = namedtuple(f"Row_{view.name.replace('-', '_')}", list(columns))  # type: ignore[misc]  # noqa: PYI024 (its columns are known only here)
        empty = row(*(EMPTY.get(a.kind) for a in columns.values()))
        self.add, self.bind = compiled(view, self.series, self.changed, row, empty)
        self.window_us = max((to_us(a.window) for a in columns.values() if a.window is not None), default=0)
        self.latest = any(a.kind in {"last", "age"} and a.window is None for a in columns.values())

    def read(self, key: str, as_of_us: int, exclude: str | None) -> Any:
        """Return the row of a key as of a moment, without the entries of one subject."""
        return self.bind(Moment(as_of_us, exclude))(key)

    def reader(self, as_of_us: int, exclude: str | None) -> Reader:
        """Return the view as of a moment, without one subject."""
        return self.bind(Moment(as_of_us, exclude))

    def trim(self, before_us: int, keys: set[str]) -> None:
        """Forget, under some keys, what no read at or after a moment can ask for."""
        before_us = before_us - self.window_us
        for key in keys:
            series = self.series[key]
            times = series.times
            # Trimming moves all that stays, so it must free something worth it.
            worth = len(times) // 8 + FEW
            if worth < len(times) and times[worth] < before_us:
                series.trim(before_us, latest=self.latest)

    def pack(self, key: str) -> bytes:
        """Return what to store of a key."""
        return self.series[key].pack()

    def load(self, key: str, data: bytes) -> None:
        """Take back a stored series."""
        self.series[key] = Series.unpack(data)
