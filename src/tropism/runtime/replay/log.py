"""The log as a replay sees it: the live one up to the range's end, and what the replay itself adds."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from tropism.core.envelope import Record, Stored
from tropism.ports.capabilities import Capabilities
from tropism.ports.log import Cursors, Log, Partition


class ReplayLog:
    """A ``Log`` that reads one log, within bounds, and writes only to another.

    ``own`` topics are those of the replay: copies of events under another key are made anew.
    """

    def __init__(self, live: Log, scratch: Log, ends: Cursors, own: frozenset[str]) -> None:
        self._live = live
        self._scratch = scratch
        self._ends = ends
        self._own = own

    @property
    def capabilities(self) -> Capabilities:
        """What the replay's own log can do, for events as the live one has them."""
        live = self._live.capabilities
        return replace(
            self._scratch.capabilities,
            dedup_seconds=live.dedup_seconds,
            event_time=live.event_time,
            record_bytes_max=live.record_bytes_max,
        )

    async def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics of the replay's own."""
        await self._scratch.create_topics(topics)

    async def append(self, records: Sequence[Record]) -> int:
        """Append to the replay's own log."""
        return await self._scratch.append(records)

    async def read(
        self, cursors: Cursors, *, count_max: int, without: Collection[str] = ()
    ) -> Mapping[Partition, Sequence[Stored]]:
        """Return what lies at the cursors, and before the range's end.

        Nothing is left out: what stands behind the end could otherwise be looked through for each page.
        """
        del without
        found: dict[Partition, Sequence[Stored]] = {}
        mine = {where: at for where, at in cursors.items() if where[0] in self._own}
        theirs = {where: at for where, at in cursors.items() if at < self._ends.get(where, 0)}
        if mine:
            found |= await self._scratch.read(mine, count_max=count_max)
        if theirs:
            pages = await self._live.read(theirs, count_max=count_max)
            found |= {where: self._within(where, page) for where, page in pages.items()}
        return {where: page for where, page in found.items() if page}

    def _within(self, where: Partition, page: Sequence[Stored]) -> Sequence[Stored]:
        end = self._ends[where]
        return page if not page or page[-1].offset < end else [each for each in page if each.offset < end]

    async def ends(self, topics: Iterable[str]) -> Mapping[Partition, int]:
        """Return where the range ends, and where the replay's own topics do."""
        wanted = set(topics)
        mine = await self._scratch.ends(sorted(wanted & self._own))
        return {**mine, **{where: end for where, end in self._ends.items() if where[0] in wanted}}

    async def wait_beyond(self, ends: Cursors) -> None:
        """Wait for ever: the range does not grow."""
        del ends
        await asyncio.Event().wait()
