"""Faults at port calls: the n-th call crashes, fails, or is slow."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from tropism.core.envelope import Record, Stored
from tropism.core.errors import UnavailableError
from tropism.ports.capabilities import Capabilities
from tropism.ports.clock import Clock
from tropism.ports.log import Cursors, Log, Partition
from tropism.ports.state import Commit, Entry, Lease, Position, State

T = TypeVar("T")


class Disturbance(Protocol):
    """Makes the calls of a log or a state, with whatever is to go wrong."""

    async def call(
        self, name: str, clock: Clock, make: Callable[[], Awaitable[T]], about: object = None
    ) -> T:
        """Make a call of that name; ``about`` is what it is about, for whoever tells of it."""
        ...


@dataclass
class Faults:
    """What goes wrong, at which call of log or state, counted from 0 over all of them.

    A crash at an even point strikes before a call, so it has no effect; at an odd one after it, so it
    had its effect and nobody learned of it: point ``2 * n`` and ``2 * n + 1`` belong to call ``n``.
    ``unavailable`` names calls that fail without effect, ``delays`` how many seconds calls take.
    ``is_down`` fails every call it is true for, such as ``lambda call: call == "commit"``.
    """

    crash_at: int | None = None
    unavailable: frozenset[int] = frozenset()
    delays: Mapping[int, float] = field(default_factory=dict)
    is_down: Callable[[str], bool] | None = None
    calls: int = 0
    struck: bool = False
    names: list[str] = field(default_factory=list)

    def die(self) -> None:
        """Let no call reach the other side any more."""
        self.struck = True

    def revive(self) -> None:
        """Begin a new life without the crash."""
        self.struck = False
        self.crash_at = None

    def end(self) -> None:
        """Let nothing go wrong any more."""
        self.crash_at, self.unavailable, self.delays, self.is_down = None, frozenset(), {}, None

    async def call(
        self,
        name: str,
        clock: Clock,
        make: Callable[[], Awaitable[T]],
        about: object = None,  # noqa: ARG002 (others tell of it)
    ) -> T:
        """Make a call, with whatever is to go wrong."""
        number, self.calls = self.calls, self.calls + 1
        self.names.append(name)
        await self._pass(2 * number)
        if number in self.delays:
            await clock.sleep(self.delays[number])
            await self._pass(-1)
        if number in self.unavailable or (self.is_down is not None and self.is_down(name)):
            raise UnavailableError(f"Cannot {name}: a fault was planted here. Try again.")
        result = await make()
        await self._pass(2 * number + 1)
        return result

    async def _pass(self, point: int) -> None:
        if self.crash_at is not None and point == self.crash_at:
            self.struck = True
        if self.struck:
            # The process is gone: whatever comes after this point never runs.
            await asyncio.get_running_loop().create_future()


class FaultyLog:
    """A ``Log`` at whose calls faults strike; with ``waits``, also at those that may never end."""

    def __init__(self, log: Log, faults: Disturbance, clock: Clock, *, waits: bool = False) -> None:
        self._log = log
        self._faults = faults
        self._clock = clock
        self._waits = waits

    @property
    def capabilities(self) -> Capabilities:
        """What the log can do."""
        return self._log.capabilities

    async def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics."""
        await self._faults.call("create_topics", self._clock, lambda: self._log.create_topics(topics))

    async def append(self, records: Sequence[Record]) -> int:
        """Append records."""
        return await self._faults.call("append", self._clock, lambda: self._log.append(records), records)

    async def read(
        self, cursors: Cursors, *, count_max: int, without: Collection[str] = ()
    ) -> Mapping[Partition, Sequence[Stored]]:
        """Read records."""
        return await self._faults.call(
            "read", self._clock, lambda: self._log.read(cursors, count_max=count_max, without=without)
        )

    async def ends(self, topics: Iterable[str]) -> Mapping[Partition, int]:
        """Return ends."""
        return await self._faults.call("ends", self._clock, lambda: self._log.ends(topics))

    async def wait_beyond(self, ends: Cursors) -> None:
        """Wait; faults strike at calls that end by themselves only, unless told otherwise."""
        if self._waits:
            await self._faults.call("wait_beyond", self._clock, lambda: self._log.wait_beyond(ends))
        else:
            await self._log.wait_beyond(ends)


class FaultyState:
    """A ``State`` at whose calls faults strike."""

    def __init__(self, state: State, faults: Disturbance, clock: Clock) -> None:
        self._state = state
        self._faults = faults
        self._clock = clock

    @property
    def commit_domain(self) -> str:
        """The store whose transactions the commits are."""
        return self._state.commit_domain

    async def get(self, namespace: str, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return values."""
        return await self._faults.call("get", self._clock, lambda: self._state.get(namespace, keys))

    async def scan(
        self,
        namespace: str,
        *,
        prefix: str = "",
        after: str | None = None,
        expires_before_us: int | None = None,
        count_max: int = 1000,
    ) -> Sequence[Entry]:
        """Return a page of entries."""
        return await self._faults.call(
            "scan",
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
        return await self._faults.call(
            "acquire",
            self._clock,
            lambda: self._state.acquire(consumer, holder, lease_seconds=lease_seconds),
            (consumer, holder),
        )

    async def renew(self, lease: Lease, *, lease_seconds: float) -> None:
        """Keep a lease."""
        await self._faults.call(
            "renew", self._clock, lambda: self._state.renew(lease, lease_seconds=lease_seconds)
        )

    async def release(self, lease: Lease) -> None:
        """Give a lease back."""
        await self._faults.call("release", self._clock, lambda: self._state.release(lease))

    async def commit(self, commit: Commit) -> None:
        """Apply a step."""
        await self._faults.call("commit", self._clock, lambda: self._state.commit(commit), commit)

    async def positions(self) -> Sequence[tuple[str, Position]]:
        """Return positions."""
        return await self._faults.call("positions", self._clock, self._state.positions)
