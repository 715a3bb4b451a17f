"""A log whose old events read as the types that declare to read them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from tropism.core.codec import Codec
from tropism.core.envelope import Record, Stored
from tropism.core.errors import InvalidInputError
from tropism.ports.capabilities import Capabilities
from tropism.ports.log import Cursors, Log, Partition
from tropism.ports.platform import Platform


class UpcastingLog:
    """A ``Log`` that gives records of older types as those of newer ones: same id, key, time and place.

    A record whose upcast fails is given as it is stored, under its old type: nobody can take it for the new
    one, the codec says why it cannot be read, and its dead letter holds what was published.
    """

    def __init__(self, log: Log, codec: Codec) -> None:
        self._log = log
        self._codec = codec

    @property
    def capabilities(self) -> Capabilities:
        """What the log can do."""
        return self._log.capabilities

    async def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics."""
        await self._log.create_topics(topics)

    async def append(self, records: Sequence[Record]) -> int:
        """Append records."""
        return await self._log.append(records)

    async def read(
        self, cursors: Cursors, *, count_max: int, without: Collection[str] = ()
    ) -> Mapping[Partition, Sequence[Stored]]:
        """Read records, as the types that are known today."""
        older = self._codec.older
        left_out = {*without, *(old for old, (kind, _) in older.items() if kind.event_type in without)}
        pages = await self._log.read(cursors, count_max=count_max, without=left_out)
        return {partition: self._upcast(page) for partition, page in pages.items()}

    async def ends(self, topics: Iterable[str]) -> Mapping[Partition, int]:
        """Return ends."""
        return await self._log.ends(topics)

    async def wait_beyond(self, ends: Cursors) -> None:
        """Wait for records."""
        await self._log.wait_beyond(ends)

    def _upcast(self, page: Sequence[Stored]) -> Sequence[Stored]:
        older = self._codec.older
        if not any(stored.record.type in older for stored in page):
            return page
        return [self._one(stored) if stored.record.type in older else stored for stored in page]

    def _one(self, stored: Stored) -> Stored:
        with suppress(InvalidInputError):
            record = self._codec.upcast(stored.record)
            return Stored(stored.partition, stored.offset, stored.known_us, record)
        return stored


def with_upcasts(platform: Platform, codec: Codec) -> Platform:
    """Return a platform whose log is read through a codec's upcasts; itself where there are none."""
    return replace(platform, log=UpcastingLog(platform.log, codec)) if codec.older else platform
