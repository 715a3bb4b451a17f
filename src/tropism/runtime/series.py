"""Values of one key over time, read as of any moment that is still kept."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Any

import msgspec

Row = Sequence[Any]
"""The subject; per sum its running total and running count; per latest value, the value."""

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[int, list[Any], tuple[Any, ...], list[tuple[Any, ...]]])


class Series:
    """Entries in order of time, each with the running totals up to and with itself.

    A sum over a window is the difference of two rows, so a read costs two binary searches whatever the
    window holds. The totals never restart, so trimming changes no later result.
    """

    __slots__ = ("base", "own", "read_us", "row", "rows", "sums", "times")

    def __init__(self, sums: int) -> None:
        self.sums = sums
        self.times: list[int] = []
        self.rows: list[Row] = []
        self.base: Row = ("", *((0.0, 0) * sums))
        """The row before the first."""
        self.own: dict[str, int | list[int]] = {}
        """Per subject the time of its entry or, where it has several, their times in order."""
        self.read_us: int | None = None
        """As of when it was read last, if nothing came since; and what was found, nobody left out."""
        self.row: Any = None

    def claim(self, subject: str, time_us: int) -> None:
        """Note when a subject has an entry, so that its own reads can leave it out."""
        known = self.own.get(subject)
        if known is None:
            self.own[subject] = time_us
        elif isinstance(known, list):
            insort(known, time_us)
        else:
            self.own[subject] = [known, time_us] if known <= time_us else [time_us, known]

    def places(self, subject: str, before_us: int) -> list[int]:
        """Return where the entries of a subject before a moment stand, in order."""
        known, times, rows = self.own[subject], self.times, self.rows
        if not isinstance(known, list):
            index = bisect_left(times, known)
            while rows[index][0] != subject:
                index += 1
            return [index] if known < before_us else []
        found: list[int] = []
        index = 0
        for time_us in known[: bisect_left(known, before_us)]:
            # Several at one moment stand in order of arrival, maybe with others between them.
            index = max(index, bisect_left(times, time_us))
            while rows[index][0] != subject:
                index += 1
            found.append(index)
            index += 1
        return found

    def trim(self, before_us: int, *, latest: bool) -> None:
        """Forget entries before a moment, but for the newest of them.

        Where the ``latest`` of all that ever was is read, the newest of another subject stays as well,
        for the subject of the newest may be the reader itself.
        """
        newest = bisect_left(self.times, before_us) - 1
        other = newest - 1 if latest else -1
        rows = self.rows
        while other >= 0 and rows[other][0] == rows[newest][0]:
            other -= 1
        if other >= 0:
            self._forget(0, other)
            self._forget(1, newest - other)
        elif newest > 0:
            self._forget(0, newest)

    def _forget(self, start: int, stop: int) -> None:
        """Drop entries, the first that their subjects still have; the totals behind them hold them."""
        gone = self.rows[start:stop]
        if gone and not start:
            self.base = gone[-1]
        del self.times[start:stop], self.rows[start:stop]
        own = self.own
        several: dict[str, int] = {}
        for row in gone:
            subject = row[0]
            known = own.pop(subject, None)
            if isinstance(known, list):
                own[subject] = known
                several[subject] = several.get(subject, 0) + 1
        for subject, number in several.items():
            known = own[subject]
            if isinstance(known, list):
                del known[:number]
                if len(known) == 1:
                    own[subject] = known[0]
                elif not known:
                    del own[subject]

    def pack(self) -> bytes:
        """Return the series as bytes that :meth:`unpack` reads back exactly."""
        return _ENCODER.encode((self.sums, self.times, self.base, self.rows))

    @classmethod
    def unpack(cls, data: bytes) -> "Series":
        """Return a packed series."""
        sums, times, base, rows = _DECODER.decode(data)
        series = cls(sums)
        series.times, series.base, series.rows = times, base, list(rows)
        for row, time_us in zip(rows, times, strict=True):
            series.claim(row[0], time_us)
        return series
