"""Where a worker stands, exactly: what it has finished, and what not."""

from collections import deque
from collections.abc import Mapping

import msgspec

from tropism.ports.log import Partition


class Cursor(msgspec.Struct):
    """What is stored of a worker's progress. Partitions are written ``topic/number``.

    ``offsets`` is below all that is unfinished; ``done`` lists what is finished above it. ``attempts``
    counts, per event and handler, the calls that failed. ``trial`` names the event that was being
    handled alone, because the process died before with several in flight.
    """

    offsets: dict[str, int] = {}
    done: dict[str, list[int]] = {}
    views: dict[str, int] = {}
    ticks: dict[str, int] = {}
    attempts: dict[str, int] = {}
    trial: str | None = None
    first_us: int | None = None


def name_of(partition: Partition) -> str:
    """Return a partition as cursors write it."""
    return f"{partition[0]}/{partition[1]}"


class Progress:
    """Which events of one partition are in flight, and up to where it has been taken."""

    __slots__ = ("done", "pending", "taken")

    def __init__(self, taken: int, done: list[int]) -> None:
        self.taken = taken
        self.done = set(done)
        self.pending: deque[int] = deque()

    def finish(self, offset: int) -> None:
        """Note that an event is finished, whatever is still unfinished before it."""
        self.done.add(offset)
        while self.pending and self.pending[0] in self.done:
            self.done.discard(self.pending.popleft())

    def skip(self, offset: int) -> bool:
        """Say whether an event was finished before a restart, and keep it so."""
        if offset not in self.done:
            return False
        if self.pending:
            self.pending.append(offset)
        else:
            self.done.discard(offset)
        return True

    @property
    def low(self) -> int:
        """The first offset that is not finished."""
        return self.pending[0] if self.pending else self.taken


def offsets_of(progress: Mapping[Partition, Progress]) -> tuple[dict[str, int], dict[str, list[int]]]:
    """Return what a cursor stores of all partitions."""
    low = {name_of(partition): p.low for partition, p in progress.items()}
    done = {name_of(partition): sorted(p.done) for partition, p in progress.items() if p.done}
    return low, done
