"""Values of one key over time, read as of any moment that is still kept."""

from bisect import bisect_left, bisect_right
from typing import Any

import msgspec


class Series:
    """Entries in order of time: sums as running totals, latest values as they are.

    A sum over a window is the difference of two running totals, so a read costs two binary searches
    whatever the window holds. The totals never restart, so trimming changes no later result.
    """

    __slots__ = ("subjects", "times", "totals", "values")

    def __init__(self, sums: int, lasts: int) -> None:
        self.times: list[int] = []
        self.subjects: list[str] = []
        # One list a sum, each with a leading 0, of (running total, running count) pairs kept apart.
        self.totals: list[tuple[list[float], list[int]]] = [([0.0], [0]) for _ in range(sums)]
        self.values: list[list[Any]] = [[] for _ in range(lasts)]

    def add(self, time_us: int, subject: str, sums: list[float | None], lasts: list[Any]) -> None:
        """Add an entry behind those of its moment."""
        if self.times and time_us < self.times[-1]:
            self._insert(time_us, subject, sums, lasts)
            return
        self.times.append(time_us)
        self.subjects.append(subject)
        for (total, count), value in zip(self.totals, sums, strict=True):
            if value is None:
                total.append(total[-1])
                count.append(count[-1])
            else:
                total.append(total[-1] + value)
                count.append(count[-1] + 1)
        for values, value in zip(self.values, lasts, strict=True):
            values.append(value)

    def _insert(self, time_us: int, subject: str, sums: list[float | None], lasts: list[Any]) -> None:
        """Add a late entry: take back what lies behind it, and add all in order."""
        at = bisect_right(self.times, time_us)
        behind = [
            (self.times[i], self.subjects[i], self._sums(i), [values[i] for values in self.values])
            for i in range(at, len(self.times))
        ]
        del self.times[at:], self.subjects[at:]
        for total, count in self.totals:
            del total[at + 1 :], count[at + 1 :]
        for values in self.values:
            del values[at:]
        self.add(time_us, subject, sums, lasts)
        for entry in behind:
            self.add(*entry)

    def _sums(self, index: int) -> list[float | None]:
        return [
            total[index + 1] - total[index] if count[index + 1] > count[index] else None
            for total, count in self.totals
        ]

    def range(self, from_us: int, before_us: int) -> tuple[int, int]:
        """Return the entries at or after one moment and before another, as a half-open index range."""
        times = self.times
        stop = len(times) if times and times[-1] < before_us else bisect_left(times, before_us)
        return bisect_left(times, from_us, 0, stop), stop

    def sum(self, which: int, start: int | None, stop: int) -> tuple[float, int]:
        """Return total and count of a sum over an index range; from None, over all that ever was."""
        total, count = self.totals[which]
        if start is None:
            return total[stop], count[stop]
        return total[stop] - total[start], count[stop] - count[start]

    def trim(self, before_us: int) -> list[tuple[str, int]]:
        """Forget entries before a moment and return their subjects and times.

        The newest entries of two subjects before that moment stay: the latest value is read from
        there, and one of the two may be the reader itself.
        """
        newest = bisect_left(self.times, before_us) - 1
        stop = newest - 1
        while stop > 0 and self.subjects[stop] == self.subjects[newest]:
            stop -= 1
        if stop <= 0:
            return []
        gone = list(zip(self.subjects[:stop], self.times[:stop], strict=True))
        del self.times[:stop], self.subjects[:stop]
        for total, count in self.totals:
            del total[:stop], count[:stop]
        for values in self.values:
            del values[:stop]
        return gone

    def pack(self) -> bytes:
        """Return the series as bytes that :meth:`unpack` reads back exactly."""
        return msgspec.msgpack.encode((self.times, self.subjects, self.totals, self.values))

    @classmethod
    def unpack(cls, data: bytes) -> "Series":
        """Return a packed series."""
        series = cls(0, 0)
        times, subjects, totals, values = msgspec.msgpack.decode(data)
        series.times, series.subjects, series.values = times, subjects, values
        series.totals = [(total, count) for total, count in totals]
        return series
