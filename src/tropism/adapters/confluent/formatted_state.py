"""A state whose commits add outputs to topics in other formats than JSON."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from tropism.core.envelope import Record
from tropism.ports.state import Commit, Entry, Lease, Position, State


class FormattedState:
    """A ``State`` that commits outputs as the log beside it stores them; all else is the state's own."""

    def __init__(
        self,
        state: State,
        commit_domain: str,
        encoded: Callable[[Sequence[Record]], Awaitable[Sequence[Record]]],
    ) -> None:
        self._state = state
        self._commit_domain = commit_domain
        self._encoded = encoded

    @property
    def commit_domain(self) -> str:
        """The store whose transactions the commits are, as far as it is opened with the same formats."""
        return self._commit_domain

    async def get(self, namespace: str, keys: Sequence[str]) -> Sequence[bytes | None]:
        """Return values."""
        return await self._state.get(namespace, keys)

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
        return await self._state.scan(
            namespace, prefix=prefix, after=after, expires_before_us=expires_before_us, count_max=count_max
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
        """Apply a step, its outputs in their topics' formats. Raises: as the log's ``append`` does."""
        outputs = await self._encoded(commit.outputs) if commit.outputs else commit.outputs
        await self._state.commit(msgspec.structs.replace(commit, outputs=outputs))

    async def positions(self) -> Sequence[tuple[str, Position]]:
        """Return positions."""
        return await self._state.positions()
