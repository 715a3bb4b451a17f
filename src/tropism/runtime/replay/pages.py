"""Going through much in pages: what a replay holds at a time is bounded."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from tropism.core.envelope import Stored
from tropism.ports.log import Log, Partition
from tropism.ports.state import Commit, Entry, Lease, Position, State, Write

PAGE = 500
LEASE_SECONDS = 15.0
HOLDER = "replay"
"""One name for every process: who goes on after a crash need not wait, and who is overtaken is fenced."""


async def records_in(
    log: Log, where: Partition, start: int, end: int, *, count_max: int = PAGE
) -> AsyncIterator[Sequence[Stored]]:
    """Yield what a partition holds between two offsets, page by page."""
    while start < end:
        page = (await log.read({where: start}, count_max=count_max)).get(where, ())
        if not page:
            return
        inside = [stored for stored in page if stored.offset < end]
        if inside:
            yield inside
        start = page[-1].offset + 1


async def entries_in(state: State, namespace: str) -> AsyncIterator[Entry]:
    """Yield all entries of a namespace, in order of key."""
    after: str | None = None
    while page := await state.scan(namespace, after=after, count_max=PAGE):
        for entry in page:
            yield entry
        after = page[-1].key


class Keeper:
    """Writes values under a lease of its own, in commits of a bounded size."""

    def __init__(self, state: State, lease: Lease) -> None:
        self._state = state
        self._lease = lease
        self._waiting: list[Write] = []

    async def put(self, writes: Iterable[Write]) -> None:
        """Write values; they are there at the latest after ``flush``."""
        self._waiting.extend(writes)
        if len(self._waiting) >= PAGE:
            await self.flush()

    async def flush(self) -> None:
        """Commit what waits."""
        rest = iter(self._waiting)
        while page := list(islice(rest, PAGE)):
            await self._state.commit(Commit(self._lease, Position(), page))
        self._waiting = []

    async def clear(self, namespace: str) -> None:
        """Delete all of a namespace."""
        while page := await self._state.scan(namespace, count_max=PAGE):
            await self.put(Write(namespace, entry.key, None) for entry in page)
            await self.flush()


@asynccontextmanager
async def keeping(state: State, consumer: str) -> AsyncIterator[Keeper]:
    """Give a keeper that holds the lease of a consumer meanwhile."""
    lease, _ = await state.acquire(consumer, HOLDER, lease_seconds=LEASE_SECONDS)
    keeper = Keeper(state, lease)
    try:
        yield keeper
        await keeper.flush()
    finally:
        await state.release(lease)
