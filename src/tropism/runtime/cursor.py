"""Where a worker stands, exactly: what it has finished, and what not."""

from collections.abc import Container, Iterable, Mapping, Sequence

import msgspec

from tropism.core.errors import NotSupportedError
from tropism.ports.log import Partition
from tropism.runtime.shares import Share
from tropism.runtime.streams import Stream


class Place(msgspec.Struct, frozen=True, array_like=True):
    """A place in a stream: everything before ``offset`` is done, but for what ``left`` lists."""

    offset: int = 0
    left: list[int] = []


class Shut(msgspec.Struct):
    """Up to when the windows of a share's keys were closed, for one handler; and which of them are left."""

    share: Share
    upto_us: int
    left: dict[str, int] = {}
    """When they close, by name."""


class Cursor(msgspec.Struct):
    """What is stored of a worker's progress, by names of streams.

    ``places`` says what is finished, ``views`` and ``aside`` what the stored views were fed. ``failures``
    lists, per event and handler, how each failed call ended. ``closed`` says, per handler, which windows
    were handed to it.
    """

    places: dict[str, Place] = {}
    views: dict[str, Place] = {}
    aside: dict[str, Place] = {}
    ticks: dict[str, int] = {}
    failures: dict[str, list[str]] = {}
    first_us: int | None = None
    format: int = 1
    closed: dict[str, list[Shut]] = {}


FORMAT = 1
"""Of the cursor, and of all that a worker stores beside it: views, outbox, what it has seen and left.

Where none is said, it is 1. Who changes what is stored so that older code would misread it raises this, and
reads the one before still.
"""


def cursor_of(data: bytes | None, consumer: str) -> Cursor:
    """Return a stored cursor, a new one where there is none.

    Raises: NotSupportedError if newer code has stored it, in a way that this code does not know.
    """
    if data is None:
        return Cursor(format=FORMAT)
    found = msgspec.msgpack.decode(data, type=_Format).format
    if found > FORMAT:
        raise NotSupportedError(
            f"Cannot take over {consumer!r}: its cursor has format {found}, this Tropism knows {FORMAT}. "
            f"Upgrade Tropism, or go back to a backup made before."
        )
    cursor = msgspec.msgpack.decode(data, type=Cursor)
    cursor.format = FORMAT
    return cursor


class _Format(msgspec.Struct):
    format: int = 1


def name_of(partition: Partition) -> str:
    """Return a partition as ``topic/number``."""
    return f"{partition[0]}/{partition[1]}"


class Fed:
    """Which events of one stream are in the views as they were stored last.

    What came since is fed again after a restart, from the log: storing views costs more than feeding them.
    """

    __slots__ = ("_left", "_to")

    def __init__(self, place: Place) -> None:
        self._to = place.offset
        self._left = set(place.left)

    @property
    def first(self) -> int:
        """The first offset that is not in them."""
        return min(self._left, default=self._to)

    def lacks(self, offset: int) -> bool:
        """Say whether an event is not in them."""
        return offset >= self._to or offset in self._left

    def place(self, read_to: int, left: Iterable[int]) -> Place:
        """Return what a cursor stores when all that was read is in them, but for what is left."""
        return Place(max(self._to, read_to), sorted(filter(self.lacks, left)))


class Progress:
    """Which events of one stream are unfinished, and up to where it has been read.

    What it remembers is bounded by what is in flight, however long one event stays unfinished.
    """

    __slots__ = ("_again", "_finished_to", "opened", "taken")

    def __init__(self, place: Place) -> None:
        self.taken = min(place.left, default=place.offset)
        self._finished_to = place.offset
        self._again = dict.fromkeys(place.left)
        self.opened: dict[int, None] = {}

    def read(self, offsets: Sequence[int]) -> None:
        """Note that events were read; they are read in order of offset."""
        self.taken = max(self.taken, offsets[-1] + 1)
        if offsets[0] >= self._finished_to:
            self.opened.update(dict.fromkeys(offsets))
            return
        for offset in offsets:
            if offset in self._again or offset >= self._finished_to:
                self._again.pop(offset, None)
                self.opened[offset] = None

    @property
    def open(self) -> Container[int]:
        """The events that were read and are yet to be handled."""
        return self.opened

    def drop(self, offsets: Sequence[int]) -> None:
        """Note that there is nothing more to do for events."""
        for offset in offsets:
            self.opened.pop(offset, None)
        if offsets:
            self._finished_to = max(self._finished_to, max(offsets) + 1)

    def finish(self, offsets: Sequence[int]) -> None:
        """Note that events are finished, whatever is still unfinished before them."""
        for offset in offsets:
            del self.opened[offset]
        if offsets:
            self._finished_to = max(self._finished_to, max(offsets) + 1)

    def pass_to(self, offset: int) -> None:
        """Note that nothing before an offset is left to read."""
        self.taken = max(self.taken, offset)

    def place(self) -> Place:
        """Return what a cursor stores."""
        if not self.opened:
            self._finished_to = max(self._finished_to, self.taken)
        left = list(self._again)
        for offset in self.opened:
            if offset >= self._finished_to:
                break
            left.append(offset)
        return Place(self._finished_to, sorted(left))


def places_of(progress: Mapping[Stream, Progress]) -> dict[str, Place]:
    """Return what a cursor stores of streams."""
    return {stream.name: each.place() for stream, each in progress.items()}


def fed_places(fed: Mapping[Stream, Fed], left: Mapping[Stream, tuple[int, list[int]]]) -> dict[str, Place]:
    """Return what a cursor stores of streams that views take in, where they are read so far but for these."""
    return {stream.name: fed[stream].place(*left[stream]) for stream in fed}
