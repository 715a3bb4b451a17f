"""Which of several readers reads what."""

from collections.abc import Callable
from itertools import count

from tropism.adapters.kafka.reader import Reader
from tropism.ports.log import Cursors, Partition

READERS_MAX = 8
"""Services that read the same partitions stand at different places: so many places each are kept at once."""


class Readers:
    """Keeps each cursor with the reader that stands there, so that nobody makes another go back and forth."""

    def __init__(self, make: Callable[[], Reader]) -> None:
        self._make = make
        self._readers: list[Reader] = []
        self._ticks = count(1)

    def split(self, cursors: Cursors) -> dict[Reader, dict[Partition, int]]:
        """Return which reader is to read what."""
        split: dict[Reader, dict[Partition, int]] = {}
        left: dict[Partition, int] = {}
        for partition, offset in cursors.items():
            reader = self._standing_at(partition, offset)
            if reader is None:
                left[partition] = offset
            else:
                split.setdefault(reader, {})[partition] = offset
                reader.followed.add(partition)
        if left:
            reader = self._free_for(left)
            reader.at.update(left)
            reader.followed.difference_update(left)
            split.setdefault(reader, {}).update(left)
        for reader in split:
            reader.used = next(self._ticks)
        return split

    async def close(self) -> None:
        """Close every reader."""
        for reader in self._readers:
            await reader.close()

    def _standing_at(self, partition: Partition, offset: int) -> Reader | None:
        return next((r for r in self._readers if not r.busy and r.at.get(partition) == offset), None)

    def _free_for(self, cursors: Cursors) -> Reader:
        idle = [r for r in self._readers if not r.busy and not r.watching]
        # One that only looked somewhere once, as a search does, is asked again; so searches need but one.
        free = next((r for r in idle if r.followed.isdisjoint(cursors)), None)
        if free is not None:
            return free
        if len(self._readers) < READERS_MAX:
            made = self._make()
            self._readers.append(made)
            return made
        unfollowed = [r for r in self._readers if r.followed.isdisjoint(cursors)]
        return min(unfollowed or idle or self._readers, key=lambda reader: reader.used)
