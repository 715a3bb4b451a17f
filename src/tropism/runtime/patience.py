"""Waiting for a store that does not answer now."""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from itertools import count
from typing import TypeVar

from tropism.core.envelope import Record, Stored
from tropism.core.errors import UnavailableError
from tropism.ports.capabilities import Capabilities
from tropism.ports.clock import Clock
from tropism.ports.log import Cursors, Log, Partition
from tropism.ports.state import Commit, Entry, Lease, Position, State

T = TypeVar("T")

RETRY_SECONDS = 1.0
"""How long to wait before a call that the store could not take is tried again."""

TRIES_UNTOLD, TRIES_TOLD = 2, 60
"""A store that is back after so few tries is not mentioned; one that stays away, once in so many."""

LOGGER = logging.getLogger("tropism")


async def patiently(clock: Clock, call: Callable[[], Awaitable[T]]) -> T:
    """Make a call, again and again while the other side is unavailable; say so at first and now and then."""
    for tries in count():
        try:
            return await call()
        except UnavailableError as error:
            if tries % TRIES_TOLD == TRIES_UNTOLD:
                LOGGER.warning("%s All waits; it is tried again every second.", error)
            await clock.sleep(RETRY_SECONDS)
    raise AssertionError("counting has no end")


class PatientLog:
    """A ``Log`` whose reads wait until the log answers: an event at hand is never lost to a failed read."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock

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
        """Read records, however long it takes."""
        return await patiently(
            self._clock, lambda: self._log.read(cursors, count_max=count_max, without=without)
        )

    async def ends(self, topics: Iterable[str]) -> Mapping[Partition, int]:
        """Return ends, however long it takes."""
        names = list(topics)
        return await patiently(self._clock, lambda: self._log.ends(names))

    async def wait_beyond(self, ends: Cursors) -> None:
        """Wait, however long it takes."""
        await patiently(self._clock, lambda: self._log.wait_beyond(ends))


class PatientState:
    """A ``State`` whose reads wait until the store answers; what it changes is the caller's to repeat."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    @property
    def commit_domain(self) -> str:
        """The store whose transactions the commits are."""
        return self._state.commit_domain

    async def get(self, namespace: str, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return values, however long it takes."""
        return await patiently(self._clock, lambda: self._state.get(namespace, keys))

    async def scan(
        self,
        namespace: str,
        *,
        prefix: str = "",
        after: str | None = None,
        expires_before_us: int | None = None,
        count_max: int = 1000,
    ) -> Sequence[Entry]:
        """Return a page of entries, however long it takes."""
        return await patiently(
            self._clock,
            lambda: self._state.scan(
                namespace,
                prefix=prefix,
                after=after,
                expires_before_us=expires_before_us,
                count_max=count_max,
            ),
        )

    async def acquire(self, consumer: str, holder: str, *, lease_seconds: float) -> tuple[Lease, Position]:
        """Take a lease."""
        return await self._state.acquire(consumer, holder, lease_seconds=lease_seconds)

    async def renew(self, lease: Lease, *, lease_seconds: float) -> None:
        """Keep a lease."""
        await self._state.renew(lease, lease_seconds=lease_seconds)

    async def release(self, lease: Lease) -> None:
        """Give a lease back."""
        await self._state.release(lease)

    async def commit(self, commit: Commit) -> None:
        """Apply a step."""
        await self._state.commit(commit)

    async def positions(self) -> Sequence[tuple[str, Position]]:
        """Return positions."""
        return await self._state.positions()
