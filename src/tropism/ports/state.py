"""Keyed state, and the one commit that moves a consumer forward."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from tropism.core.envelope import Record


class Write(msgspec.Struct, frozen=True, gc=False):
    """A value to store under a key, or to delete where it is None; it expires in event time."""

    namespace: str
    key: str
    value: bytes | None
    expires_us: int | None = None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A stored value."""

    key: str
    value: bytes
    expires_us: int | None = None


class Lease(msgspec.Struct, frozen=True):
    """The right to commit for a consumer: ``token`` is its fence.

    ``clean`` says whether the holder before released it; if not, it died with work in flight.
    """

    consumer: str
    token: int
    clean: bool = True


class Position(msgspec.Struct, frozen=True):
    """Where a consumer stands: its cursor, opaque to the store, and its watermark in event time."""

    cursor: bytes | None = None
    watermark_us: int | None = None


class Commit(msgspec.Struct, frozen=True):
    """One step of a consumer: all of it is applied, or nothing.

    Deduplication keys are writes that expire.
    """

    lease: Lease
    position: Position
    writes: Sequence[Write] = ()
    outputs: Sequence[Record] = ()


class State(Protocol):
    """Values by namespace and key, written only by the holder of a consumer's lease.

    Guarantees:
        - ``commit`` applies position, writes and outputs in one transaction, durable as the log's
          capabilities say, or raises and applies nothing; a cancelled one did either.
        - ``commit`` with a token that is not the newest raises FencedError and applies nothing.
        - ``acquire`` gives a token larger than any before it for that consumer.
        - Reads see every commit that returned before them.
        - ``scan`` returns entries in order of key (code points), each once, and none that was deleted.
        - An entry past its ``expires_us`` stays until someone deletes it: time here is event time, and
          only the consumer knows how far that is. ``scan`` with ``expires_before_us`` finds such entries.

    Not guaranteed:
        - A snapshot across calls; isolation between consumers that write one namespace.
        - That a lease outlives ``lease_seconds`` without a commit or ``renew``.
    """

    @property
    def commit_domain(self) -> str:
        """The store whose transactions these commits are."""
        ...

    async def get(self, namespace: str, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return the values of keys, None where there is none, in the order asked."""
        ...

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
        ...

    async def acquire(self, consumer: str, holder: str, *, lease_seconds: float) -> tuple[Lease, Position]:
        """Take the lease of a consumer, and return where it stands.

        Raises: ConflictError if another holder has it and it has not run out.
        """
        ...

    async def renew(self, lease: Lease, *, lease_seconds: float) -> None:
        """Keep a lease. Raises: FencedError if it was lost."""
        ...

    async def release(self, lease: Lease) -> None:
        """Give a lease back, cleanly; without effect where it was lost."""
        ...

    async def commit(self, commit: Commit) -> None:
        """Apply one step of a consumer, and keep its lease.

        Raises: FencedError if the lease was lost; UnavailableError if the store cannot take it now.
        """
        ...

    async def positions(self) -> Sequence[tuple[str, Position]]:
        """Return every consumer's name and position, in order of name."""
        ...
