"""The contents of a view whose windows are not all running totals: its events one by one, by key."""

from collections import namedtuple
from collections.abc import Sequence
from typing import Any, Protocol

from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError
from tropism.core.time import MICROSECONDS
from tropism.runtime.compiled import Moment
from tropism.runtime.entries import Entries
from tropism.runtime.folding import columns_of, taken
from tropism.runtime.late import Late
from tropism.runtime.view import Reader, View
from tropism.runtime.windows import Entry, Session, Spec, instant, spec_of, text_key

AHEAD_MAX = 1000
"""So many keys whose newest entry lies ahead are passed over at a time, to forget those behind them."""


class LateError(InvalidInputError):
    """An event became known later than its view's lateness allows."""


class Closer(Protocol):
    """Who is told of a view's windows, to say when they are closed."""

    def note(self, key: str, time_us: int) -> None:
        """Take note of an entry."""

    def is_closed(self, key: str, time_us: int) -> bool:
        """Say whether the window of an entry was closed before the entry came."""
        ...

    @property
    def needed_us(self) -> int:
        """The moment as of which windows may still be read."""
        ...


class Windowed:
    """The contents of one view: entries a key, and which keys changed since they were last stored.

    An entry counts in the window of its own time, for reads as of moments after it became known. Without a
    lateness its own time is that at which it became known.
    """

    def __init__(self, view: View) -> None:
        self.view = view
        self.series: dict[str, Entries] = {}
        self.changed: set[str] = set()
        self.late = Late()
        """How many events came too late to be placed."""
        self.closers: list[Closer] = []
        self._touched: dict[str, None] = {}
        aggregates = list(view.columns.values())
        self._row = namedtuple(f"Row_{view.name.replace('-', '_')}", list(view.columns))  # type: ignore[misc]  # noqa: PYI024 (its columns are known only here)
        self._take = taken(aggregates)
        self._columns = columns_of(aggregates)
        windows = [a.span or a.window for a in aggregates]
        self._specs: list[Spec] = [spec_of(window) for window in windows if window is not None]
        self._lateness_us = view.lateness_us or 0
        self._empty = self._row(*(column.fold((), 0) for column in self._columns))

    # -- adding -----------------------------------------------------------------------------------

    def add(self, event: Any, known_us: int, record: Record) -> bool:
        """Take in an event that became known at a moment: wholly, or it raises, or it is too late.

        Say whether it came to a window that was closed: fed again from the log, it would not.

        Raises: LateError for one that is too late, where the view wants it so.
        """
        key = self.view.by(event)
        if key is None:
            return False
        key = text_key(key)
        time_us = self._time_us(event, known_us, record)
        behind_us = known_us - time_us
        is_late = behind_us > self._lateness_us
        if is_late or (self.closers and any(each.is_closed(key, time_us) for each in self.closers)):
            self.late.count += 1
            if self.view.beyond_lateness == "dead_letter":
                raise LateError(self._too_late(record, behind_us))
            return not is_late
        values = self._take(event)
        kept = self.series.get(key)
        if kept is None:
            kept = self.series[key] = Entries()
        kept.add(Entry(time_us, record.id, record.topic, known_us, record.subject, values))
        self._note(key, time_us)
        return False

    def _time_us(self, event: Any, known_us: int, record: Record) -> int:
        if self.view.lateness_us is None:
            return known_us
        return record.time_us if self.view.at is None else instant(self.view.at(event))

    def _note(self, key: str, time_us: int) -> None:
        self.changed.add(key)
        self._touched.pop(key, None)
        self._touched[key] = None
        for closer in self.closers:
            closer.note(key, time_us)

    def _too_late(self, record: Record, behind_us: int) -> str:
        seconds, lateness = behind_us / MICROSECONDS, self._lateness_us / MICROSECONDS
        why = f"it came when its window was closed, {lateness:g} s after its end"
        if behind_us > self._lateness_us:
            why = (
                f"it became known {seconds:g} s after its own time, more than the lateness of {lateness:g} s"
            )
        return (
            f"Cannot take event {record.id!r} into view {self.view.name!r}: "
            f"{why}. Discard it, or publish it with a newer time."
        )

    # -- reading ----------------------------------------------------------------------------------

    def read(self, key: str, as_of_us: int, exclude: str | None) -> Any:
        """Return the row of a key as of a moment, without the entries of one subject."""
        kept = self.series.get(key)
        if kept is None:
            return self._empty
        hidden = None if self.view.own else exclude
        found: dict[Spec, Sequence[Entry]] = {}
        cells = []
        for column, spec in zip(self._columns, self._specs, strict=True):
            entries = found.get(spec)
            if entries is None:
                entries = found[spec] = self._covered(kept, spec, as_of_us, hidden)
            cells.append(column.fold(entries, as_of_us))
        return self._row(*cells)

    def _covered(self, kept: Entries, spec: Spec, as_of_us: int, hidden: str | None) -> Sequence[Entry]:
        if isinstance(spec, Session):
            return spec.latest(_visible(kept.all[: kept.place(as_of_us)], as_of_us, hidden), as_of_us)
        start_us, end_us = spec.bounds_us(as_of_us, self._lateness_us)
        return _visible(kept.all[kept.place(start_us) : kept.place(end_us)], as_of_us, hidden)

    def row(self, key: str, start_us: int, end_us: int, as_of_us: int) -> Any:
        """Return what all columns say of the entries between two times."""
        kept = self.series[key]
        entries = kept.all[kept.place(start_us) : kept.place(end_us)]
        return self._row(*(column.fold(entries, as_of_us) for column in self._columns))

    def bind(self, moment: Moment) -> Reader:
        """Return the view as of a moment that may be moved."""

        def read(key: str) -> Any:
            return self.read(key, moment.as_of_us, moment.exclude)

        return read

    def reader(self, as_of_us: int, exclude: str | None) -> Reader:
        """Return the view as of a moment, without one subject."""
        return self.bind(Moment(as_of_us, exclude))

    # -- keeping ----------------------------------------------------------------------------------

    def trim(self, low_us: int, keys: set[str]) -> None:
        """Forget, under some keys, what no read or closing at or after a moment can ask for.

        Keys of which nothing is left are forgotten wholly, and count as changed.
        """
        low_us = min((low_us, *(closer.needed_us for closer in self.closers)))
        for key in keys:
            kept = self.series.get(key)
            if kept is not None:
                del kept.all[: min(self._unneeded(kept, spec, low_us) for spec in set(self._specs))]
        self._forget_idle(low_us)

    def _unneeded(self, kept: Entries, spec: Spec, low_us: int) -> int:
        """Return how many of a key's entries a window needs no more."""
        if not isinstance(spec, Session):
            return kept.place(spec.horizon_us(low_us, self._lateness_us))
        place = kept.place(low_us - self._kept_us(spec))
        return spec.start(kept.all, place) if place < len(kept.all) else place

    def _kept_us(self, spec: Session) -> int:
        return max(spec.kept_us, spec.gap_us + self._lateness_us)

    def _horizon_us(self, low_us: int) -> int:
        return min(
            low_us - self._kept_us(spec)
            if isinstance(spec, Session)
            else spec.horizon_us(low_us, self._lateness_us)
            for spec in set(self._specs)
        )

    def _forget_idle(self, low_us: int) -> None:
        """Forget the keys that nothing came under for longer than anything is asked for."""
        horizon_us = self._horizon_us(low_us)
        ahead = 0
        while self._touched and ahead < AHEAD_MAX:
            key = next(iter(self._touched))
            kept = self.series[key]
            if kept.all and kept.newest_us >= horizon_us:
                if kept.newest_us <= low_us:
                    return
                # It lies ahead, where those that were touched after it may not: it waits behind them.
                self._touched[key] = self._touched.pop(key)
                ahead += 1
                continue
            del self._touched[key], self.series[key]
            self.changed.add(key)

    def pack(self, key: str) -> bytes | None:
        """Return what to store of a key, None where nothing is left."""
        kept = self.series.get(key)
        return None if kept is None else kept.pack()

    def load(self, key: str, data: bytes) -> None:
        """Take back stored entries."""
        self.series[key] = Entries.unpack(data)
        self._touched[key] = None


def _visible(entries: Sequence[Entry], as_of_us: int, hidden: str | None) -> Sequence[Entry]:
    """Return the entries that were known before a moment, and are not of one subject."""
    if hidden is None:
        return [entry for entry in entries if entry.known_us < as_of_us]
    return [entry for entry in entries if entry.known_us < as_of_us and entry.subject != hidden]
