"""Values of one key over time, read as of any moment that is still kept."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any

import msgspec

Row = Sequence[Any]
"""The subject; per sum its running total and running count; per latest value, the value."""


class Series:
    """Entries in order of time, each with the running totals up to and with itself.

    A sum over a window is the difference of two rows, so a read costs two binary searches whatever the
    window holds. The totals never restart, so trimming changes no later result.
    """

    __slots__ = ("base", "rows", "sums", "times")

    def __init__(self, sums: int) -> None:
        self.sums = sums
        self.times: list[int] = []
        self.rows: list[Row] = []
        self.base: Row = ("", *((0.0, 0) * sums))
        """The row before the first."""

    def add(self, time_us: int, subject: str, sums: Sequence[float | None], lasts: Sequence[Any]) -> None:
        """Add an entry behind those of its moment."""
        times, rows = self.times, self.rows
        if times and time_us < times[-1]:
            self._insert(time_us, subject, sums, lasts)
            return
        before = rows[-1] if rows else self.base
        row: list[Any] = [subject]
        at = 1
        for value in sums:
            if value is None:
                row += (before[at], before[at + 1])
            else:
                row += (before[at] + value, before[at + 1] + 1)
            at += 2
        row += lasts
        times.append(time_us)
        rows.append(row)

    def _insert(self, time_us: int, subject: str, sums: Sequence[float | None], lasts: Sequence[Any]) -> None:
        """Add a late entry: take back what lies behind it, and add all in order."""
        at = bisect_right(self.times, time_us)
        behind = [
            (self.times[i], self.rows[i][0], self._values(i), self.rows[i][1 + 2 * self.sums :])
            for i in range(at, len(self.times))
        ]
        del self.times[at:], self.rows[at:]
        self.add(time_us, subject, sums, lasts)
        for entry in behind:
            self.add(*entry)

    def _values(self, index: int) -> list[float | None]:
        """Return what an entry added to each sum."""
        row, before = self.rows[index], self.row_before(index)
        return [
            row[at] - before[at] if row[at + 1] > before[at + 1] else None
            for at in range(1, 1 + 2 * self.sums, 2)
        ]

    def row_before(self, index: int) -> Row:
        """Return the row in front of an index."""
        return self.rows[index - 1] if index else self.base

    def trim(self, before_us: int) -> list[tuple[str, int]]:
        """Forget entries before a moment and return their subjects and times.

        The newest entries of two subjects before that moment stay: the latest value is read from
        there, and one of the two may be the reader itself.
        """
        rows = self.rows
        newest = bisect_left(self.times, before_us) - 1
        stop = newest - 1
        while stop > 0 and rows[stop][0] == rows[newest][0]:
            stop -= 1
        if stop <= 0:
            return []
        gone = [(row[0], time_us) for row, time_us in zip(rows[:stop], self.times[:stop], strict=True)]
        self.base = rows[stop - 1]
        del self.times[:stop], rows[:stop]
        return gone

    def pack(self) -> bytes:
        """Return the series as bytes that :meth:`unpack` reads back exactly."""
        return msgspec.msgpack.encode((self.sums, self.times, self.base, self.rows))

    @classmethod
    def unpack(cls, data: bytes) -> "Series":
        """Return a packed series."""
        sums, times, base, rows = msgspec.msgpack.decode(data)
        series = cls(sums)
        series.times, series.base, series.rows = times, base, rows
        return series
