"""Where a worker stands, exactly: what it has finished, and what not."""

from collections.abc import Mapping

import msgspec

from tropism.ports.log import Partition
from tropism.runtime.streams import Stream


class Cursor(msgspec.Struct):
    """What is stored of a worker's progress, by names of streams.

    Everything before ``offsets`` is finished, but for what ``open`` lists. ``views`` and ``aside`` say up
    to where views were fed. ``failures`` lists, per event and handler, how each failed call ended.
    """

    offsets: dict[str, int] = {}
    open: dict[str, list[int]] = {}
    views: dict[str, int] = {}
    aside: dict[str, int] = {}
    ticks: dict[str, int] = {}
    failures: dict[str, list[str]] = {}
    first_us: int | None = None


def name_of(partition: Partition) -> str:
    """Return a partition as ``topic/number``."""
    return f"{partition[0]}/{partition[1]}"


class Progress:
    """Which events of one stream are unfinished, and up to where it has been taken.

    What it remembers is bounded by what is in flight, however long one event stays unfinished.
    """

    __slots__ = ("_finished_to", "_open", "_reopened", "taken")

    def __init__(self, finished_to: int, reopened: list[int]) -> None:
        self.taken = min(reopened, default=finished_to)
        self._finished_to = finished_to
        self._reopened = dict.fromkeys(reopened)
        self._open: dict[int, None] = {}

    def take(self, offset: int) -> bool:
        """Note that an event is at hand, and say whether it is yet to be handled."""
        self.taken = offset + 1
        if offset in self._reopened:
            del self._reopened[offset]
            return True
        return offset >= self._finished_to

    def pass_to(self, offset: int) -> None:
        """Note that nothing before an offset is left to take."""
        self.taken = max(self.taken, offset)

    def begin(self, offset: int) -> None:
        """Note that an event is in flight."""
        self._open[offset] = None

    def finish(self, offset: int) -> None:
        """Note that an event is finished, whatever is still unfinished before it."""
        del self._open[offset]
        self._finished_to = max(self._finished_to, offset + 1)

    def position(self) -> tuple[int, list[int]]:
        """Return the offset before which everything is finished, and the exceptions."""
        if not self._open:
            self._finished_to = max(self._finished_to, self.taken)
        left = list(self._reopened)
        for offset in self._open:
            if offset >= self._finished_to:
                break
            left.append(offset)
        return self._finished_to, sorted(left)


def offsets_of(progress: Mapping[Stream, Progress]) -> tuple[dict[str, int], dict[str, list[int]]]:
    """Return what a cursor stores of all streams."""
    positions = {stream.name: p.position() for stream, p in progress.items()}
    offsets = {name: offset for name, (offset, _) in positions.items()}
    return offsets, {name: left for name, (_, left) in positions.items() if left}
