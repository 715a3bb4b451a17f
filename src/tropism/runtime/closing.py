"""Windows that close: each handed to a handler once, when nothing more can come to it.

A window closes when the time up to which all facts are known reaches its end and the view's lateness. Which
windows close then follows from what the view holds, so all that is stored is up to when they were closed,
and which of them are not finished yet.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from tropism.runtime.closed import Closed
from tropism.runtime.cursor import Shut
from tropism.runtime.handler import Handler
from tropism.runtime.intake import BEGINNING_US
from tropism.runtime.shares import Share
from tropism.runtime.view import View
from tropism.runtime.windowed import Windowed
from tropism.runtime.windows import Aligned, Session


class Closing(NamedTuple):
    """A window that closes at a moment."""

    close_us: int
    key: str
    start_us: int
    end_us: int

    @property
    def name(self) -> str:
        """What tells it from others of its handler."""
        return f"{self.start_us}/{self.key}"


class Closer:
    """The windows of one view, for one handler that is told when they close.

    ``shut`` says what was closed already, by this worker's share and those before the service was divided.
    """

    def __init__(
        self, handler: Handler, table: Windowed, share: Share, shut: list[Shut], since_us: int
    ) -> None:
        self.handler = handler
        self._table = table
        self._share = share
        self._window: Aligned | Session = _window_of(table.view)
        self._lateness_us = table.view.lateness_us or 0
        self._shut = shut
        self._own = next((each for each in shut if each.share == share), None) or Shut(share, since_us)
        if self._own not in shut:
            shut.append(self._own)
        self._again = set(self._own.left)
        """What was under way when the worker before stopped, and has not come up again yet."""
        self._swept_us = BEGINNING_US
        self._heap: list[tuple[int, str, int]] = []
        self._marked: set[tuple[int, str, int]] = set()
        self._ends_us: dict[str, int] = {}
        """Of sessions closed lately, when the last of a key ended."""
        for key, kept in table.series.items():
            for time_us in dict.fromkeys(entry.time_us for entry in kept.all):
                self.note(key, time_us)
        table.closers.append(self)

    def note(self, key: str, time_us: int) -> None:
        """Take note of an entry: the windows that it is in are to be closed."""
        if not self._share.owns_key(key):
            return
        for mark_us, end_us in self._marks(time_us):
            mark = (end_us + self._lateness_us, key, mark_us)
            if mark not in self._marked:
                self._marked.add(mark)
                heappush(self._heap, mark)

    def _marks(self, time_us: int) -> Iterator[tuple[int, int]]:
        """Return where its windows begin, or for a session the time itself, and when they may end."""
        if isinstance(self._window, Session):
            yield time_us, time_us + self._window.gap_us
        else:
            for end_us in self._window.ends_us(time_us):
                yield end_us - self._window.size_us, end_us

    def is_closed(self, key: str, time_us: int) -> bool:
        """Say whether an entry comes to a window that was closed; in event time none does."""
        if time_us + self._lateness_us >= self._swept_us or not self._share.owns_key(key):
            return False
        if time_us < self._ends_us.get(key, BEGINNING_US):
            return True
        # Windows may be shorter than the pauses between them: what lies in none comes too late for none.
        first_end_us = next((end_us for _, end_us in self._marks(time_us)), None)
        return first_end_us is not None and first_end_us + self._lateness_us <= self._swept_us

    def due(self, until_us: int) -> list[Closing]:
        """Return the windows that close up to a moment, by which all is known, and did not before."""
        found: list[Closing] = []
        while self._heap and self._heap[0][0] <= until_us:
            mark = heappop(self._heap)
            self._marked.discard(mark)
            closing = self._closing(*mark)
            if closing is None:
                continue
            if isinstance(self._window, Session):
                self._ends_us.pop(closing.key, None)
                self._ends_us[closing.key] = closing.end_us
            if not self._is_done(closing):
                self._own.left[closing.name] = closing.close_us
                self._again.discard(closing.name)
                found.append(closing)
        self._sweep(until_us)
        return found

    def _closing(self, close_us: int, key: str, mark_us: int) -> Closing | None:
        """Return what closes where something was marked; None where the session went on, or is no more."""
        if isinstance(self._window, Aligned):
            return Closing(close_us, key, mark_us, mark_us + self._window.size_us)
        kept = self._table.series.get(key)
        end_us = mark_us + self._window.gap_us
        if kept is None or kept.place(mark_us + 1) < kept.place(end_us):
            return None
        last = kept.place(mark_us + 1) - 1
        start_us = kept.all[self._window.start(kept.all, last)].time_us
        return Closing(close_us, key, start_us, end_us)

    def _is_done(self, closing: Closing) -> bool:
        return any(
            closing.close_us <= each.upto_us
            and closing.name not in each.left
            and each.share.owns_key(closing.key)
            for each in self._shut
        )

    def _sweep(self, until_us: int) -> None:
        """Note up to when all is closed, and forget what that covers."""
        self._swept_us = max(self._swept_us, until_us)
        self._own.upto_us = max(self._own.upto_us, until_us)
        if len(self._shut) > 1:
            self._shut[:] = [e for e in self._shut if e is self._own or e.upto_us > self._swept_us]
        for name in [name for name in self._again if self._own.left[name] <= until_us]:
            # Its view does not hold it any more: it was declared anew.
            self._again.discard(name)
            del self._own.left[name]
        while self._ends_us:
            key, end_us = next(iter(self._ends_us.items()))
            # What comes from here on before that end would be too late anyway.
            if end_us + self._gap_us + self._lateness_us > self._swept_us:
                break
            del self._ends_us[key]

    @property
    def _gap_us(self) -> int:
        return self._window.gap_us if isinstance(self._window, Session) else 0

    def finish(self, name: str) -> None:
        """Note that a window's handler is done: it commits now."""
        del self._own.left[name]

    @property
    def needed_us(self) -> int:
        """The moment as of which windows may still be read."""
        return min((self._own.upto_us, self._swept_us, *self._own.left.values()))

    @property
    def next_us(self) -> int | None:
        """When the next window may close."""
        return self._heap[0][0] if self._heap else None

    def event(self, closing: Closing) -> Closed:
        """Return what the handler is told."""
        row = self._table.row(closing.key, closing.start_us, closing.end_us, closing.close_us)
        view = self._table.view.name
        return Closed(
            view=view, key=closing.key, start_us=closing.start_us, end_us=closing.end_us, values=row._asdict()
        )


def _window_of(view: View) -> Aligned | Session:
    assert isinstance(view.window, Aligned | Session)  # noqa: S101 (the service refused others)
    return view.window
