"""Going through much in pages: what a replay holds at a time is bounded."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from tropism.core.envelope import Stored
from tropism.core.errors import ConflictError
from tropism.ports.clock import Clock
from tropism.ports.log import Log, Partition
from tropism.ports.state import Commit, Entry, Lease, Position, State, Write

PAGE = 500
LEASE_SECONDS = 10.0
_ASK_SECONDS = 1.0


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


async def acquired(state: State, consumer: str, holder: str, clock: Clock) -> tuple[Lease, Position]:
    """Take a lease; one of a process that died runs out within seconds.

    Raises: ConflictError if another process keeps it.
    """
    until = clock.monotonic() + 2 * LEASE_SECONDS
    while True:
        try:
            return await state.acquire(consumer, holder, lease_seconds=LEASE_SECONDS)
        except ConflictError:
            if clock.monotonic() > until:
                raise
            await clock.sleep(_ASK_SECONDS)


@asynccontextmanager
async def keeping(state: State, consumer: str, holder: str, clock: Clock) -> AsyncIterator[Keeper]:
    """Give a keeper that holds the lease of a consumer meanwhile."""
    lease, _ = await acquired(state, consumer, holder, clock)
    keeper = Keeper(state, lease)
    try:
        yield keeper
        await keeper.flush()
    finally:
        await state.release(lease)
