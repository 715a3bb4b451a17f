"""Views with an allowance, fed beside the order of time."""

from tropism.core.codec import Codec
from tropism.core.envelope import Stored
from tropism.core.errors import InvalidInputError
from tropism.ports.log import Log, Partition
from tropism.runtime.cursor import Cursor, Fed, Place, fed_places
from tropism.runtime.intake import Intake
from tropism.runtime.seen import Seen
from tropism.runtime.service import Service
from tropism.runtime.sources import side_topics_of
from tropism.runtime.streams import Stream
from tropism.runtime.tables import Tables
from tropism.runtime.watermarks import FOREVER_US


class Aside:
    """Feeds views with an allowance with all there is: ``at`` says from when each event counts."""

    def __init__(self, tables: Tables, codec: Codec, intake: Intake, seen: Seen, chunk: int) -> None:
        self._seen = seen
        self._tables = tables
        self._codec = codec
        self._intake = intake
        self._chunk = chunk

    @classmethod
    async def open(
        cls, service: Service, cursor: Cursor, tables: Tables, codec: Codec, log: Log, seen: Seen, chunk: int
    ) -> "Aside":
        """Return it where a cursor says that it stood."""
        for partition in await log.ends(side_topics_of(service)):
            stream = Stream(*partition)
            tables.aside[stream] = Fed(cursor.aside.get(stream.name, Place()))
        offsets = {stream: fed.first for stream, fed in tables.aside.items()}
        return cls(tables, codec, Intake(log, offsets, chunk=chunk), seen, chunk)

    @property
    def ends(self) -> dict[Partition, int]:
        """The offsets up to which it has read everything."""
        return self._intake.ends

    def places(self) -> dict[str, Place]:
        """Return how far the views are fed."""
        return fed_places(self._tables.aside, self._intake.left())

    async def feed(self) -> bool:
        """Take in all there is, and say whether there was anything."""
        fed = False
        while self._tables.aside:
            arrivals, _ = await self._intake.take(FOREVER_US, self._chunk)
            for *_, stream, stored in await self._seen.fresh(arrivals):
                wanted = self._tables.wants_aside(self._codec.newest(stored.record.type))
                if wanted and self._tables.aside[stream].lacks(stored.offset):
                    self._feed(stored)
            self._intake.passed()
            if not arrivals:
                break
            fed = True
        return fed

    def _feed(self, stored: Stored) -> None:
        try:
            event = self._codec.decode(stored.record)
        except InvalidInputError as error:
            self._tables.refuse_aside(stored, error, self._codec.newest(stored.record.type))
        else:
            self._tables.feed_aside(stored, event)
