"""Finding the way to the writer: own the file, or reach the process that does; again whenever it dies."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from tropism.adapters.sqlite.owner import Owner
from tropism.adapters.sqlite.remote import OwnerGone, Remote
from tropism.adapters.sqlite.wire import Operation, Result
from tropism.adapters.sqlite.writer import Listener, closed_error
from tropism.core.errors import UnavailableError
from tropism.ports.clock import Clock
from tropism.ports.log import Partition

Submit = Callable[[Operation], Awaitable[Result]]
"""Has an operation applied by whoever owns the file."""

TAKEOVER_SECONDS = 15.0
"""How long a write waits for an owner before it fails."""

_RETRY_SECONDS = 0.01  # between attempts while an owner dies or starts: it is a matter of milliseconds


class Route:
    """The way to the writer, kept open by one task."""

    def __init__(
        self,
        path: Path,
        name: str,
        learn: Listener,
        *,
        synced: bool,
        upgrade: bool,
        partitions_default: int,
        clock: Clock,
        dedup_seconds: float,
    ) -> None:
        self._path = path
        self._name = name
        self._learned = learn
        self._synced = synced
        self._claim = partial(
            Owner.claim,
            path,
            name,
            asyncio.get_running_loop(),
            learn,
            synced=synced,
            upgrade=upgrade,
            partitions_default=partitions_default,
            clock=clock,
            dedup_seconds=dedup_seconds,
        )
        self._closing = asyncio.Event()
        self._way: Owner | Remote | None = None
        self._found = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    @property
    def owns(self) -> bool:
        """Whether this process owns the file now."""
        return isinstance(self._way, Owner)

    @property
    def ends(self) -> Mapping[Partition, int] | None:
        """The ends of all partitions, where this process owns the file and writes nothing; else None."""
        return self._way.ends if isinstance(self._way, Owner) else None

    def owner(self) -> str:
        """Return who owns the file now, in words."""
        if self._way is None:
            return "nobody"
        return "this process" if isinstance(self._way, Owner) else self._way.owner()

    async def wait_open(self) -> None:
        """Return once there is a way. Raises: what prevents it."""
        await self._find()

    async def submit(self, operation: Operation) -> Result:
        """Have an operation applied, however often the owner dies meanwhile.

        Asking again is safe: records and messages are known by id, commits by theirs, leases by token, and
        loans by receipt.
        """
        while True:
            way = self._way
            if way is None or self._closing.is_set():
                way = await self._find()
            try:
                return await way.submit(operation)
            except OwnerGone:
                if self._way is way:
                    self._lose()

    async def close(self) -> None:
        """Part from the owner, or stop being it."""
        self._closing.set()
        self._found.set()
        await asyncio.wait([self._task])
        way, self._way = self._way, None
        if way is not None:
            await way.close()

    async def _find(self) -> Owner | Remote:
        while (way := self._way) is None or self._closing.is_set():
            if self._closing.is_set():
                raise closed_error(self._name)
            if self._task.done():
                self._task.result()
            found = asyncio.ensure_future(self._found.wait())
            done, _ = await asyncio.wait(
                [found, self._task], timeout=TAKEOVER_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            found.cancel()
            if not done:
                raise UnavailableError(
                    f"Cannot write to {self._name!r}: the process that owns it does not answer. "
                    f"Stop the process that locks '{self._path.name}.lock', then try again."
                )
        return way

    async def _follow(self) -> None:
        while not self._closing.is_set():
            way = self._way = await self._search()
            if way is None:
                return
            self._found.set()
            await _first(way.gone, self._closing)
            if not self._closing.is_set():
                await way.close()
                if self._way is way:
                    self._lose()

    def _lose(self) -> None:
        self._way = None
        self._found.clear()

    async def _search(self) -> Owner | Remote | None:
        """Return a way as soon as there is one; None when closing."""
        while not self._closing.is_set():
            way = await asyncio.to_thread(self._claim) or await Remote.connect(
                self._path, self._learned, synced=self._synced
            )
            if way is not None:
                return way
            await _first(self._closing, within_seconds=_RETRY_SECONDS)
        return None


async def _first(*events: asyncio.Event, within_seconds: float | None = None) -> None:
    """Return when any of the events is set, or after a time."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
