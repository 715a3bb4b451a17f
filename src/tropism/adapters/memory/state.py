"""State in memory."""

import time
from collections.abc import Callable, Sequence

from tropism.adapters.entries import Entries
from tropism.adapters.leases import Leases
from tropism.adapters.memory.log import MemoryLog
from tropism.ports.state import Commit, Entry, Lease, Position


class MemoryState:
    """A ``State`` of dictionaries, in one commit domain with a ``MemoryLog``."""

    def __init__(self, log: MemoryLog, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._leases = Leases(monotonic)
        self._positions: dict[str, Position] = {}
        self._namespaces: dict[str, Entries] = {}

    @property
    def commit_domain(self) -> str:
        """The store whose transactions these commits are."""
        return self._log.capabilities.commit_domain

    async def get(self, namespace: str, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values of keys, None where there is none, in the order asked."""
        entries = self._namespace(namespace).entries
        found = (entries.get(key) for key in keys)
        return [None if entry is None else entry.value for entry in found]

    async def scan(
        self,
        namespace: str,
        *,
        prefix: str = "",
        after: str | None = None,
        expires_before_us: int | None = None,
        count_max: int = 1000,
    ) -> Sequence[Entry]:
        """Return a page of entries by key prefix, after a key, or expiring before an instant."""
        return self._namespace(namespace).page(prefix, after, expires_before_us, count_max)

    async def acquire(self, consumer: str, holder: str, *, lease_seconds: float) -> tuple[Lease, Position]:
        """Take the lease of a consumer, and return where it stands."""
        lease = self._leases.acquire(consumer, holder, lease_seconds)
        return lease, self._positions.setdefault(consumer, Position())

    async def renew(self, lease: Lease, *, lease_seconds: float) -> None:
        """Keep a lease."""
        self._leases.keep(lease, lease_seconds)

    async def release(self, lease: Lease) -> None:
        """Give a lease back, cleanly; without effect where it was lost."""
        self._leases.release(lease)

    async def commit(self, commit: Commit) -> None:
        """Apply one step of a consumer, and keep its lease."""
        self._leases.keep(commit.lease)
        # The log checks its records before it stores any, and the rest cannot fail: all or nothing.
        self._log.append_nowait(commit.outputs)
        for write in commit.writes:
            self._namespace(write.namespace).apply(write)
        self._positions[commit.lease.consumer] = commit.position

    async def positions(self) -> Sequence[tuple[str, Position]]:
        """Return every consumer's name and position, in order of name."""
        return sorted(self._positions.items())

    def _namespace(self, namespace: str) -> Entries:
        space = self._namespaces.get(namespace)
        if space is None:
            space = self._namespaces[namespace] = Entries()
        return space
