"""Events that other programs' transactions left to be published."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from tropism.core.envelope import Record


class Waiting(msgspec.Struct, frozen=True, gc=False):
    """A record that was committed and is not published yet, and its place in the order of its key."""

    place: int
    record: Record


class Outgoing(Protocol):
    """Records that were committed together with what they tell of, until they are published.

    Guarantees:
        - ``waiting`` returns only what was committed, in order of place; records of one key in the order in
          which their transactions were committed.
        - A record stays until it is removed or refused, also over crashes of either side.

    Not guaranteed:
        - An order between keys; that a transaction that commits late has a later place.
    """

    @property
    def name(self) -> str:
        """What it is called, the same in every process and without secrets."""
        ...

    async def waiting(self, count_max: int) -> Sequence[Waiting]:
        """Return the first records. Raises: UnavailableError while they cannot be read."""
        ...

    async def remove(self, places: Sequence[int]) -> None:
        """Forget records that are published. Raises: UnavailableError."""
        ...

    async def refuse(self, place: int, cause: str) -> None:
        """Put aside, with the cause, a record that no log will ever take. Raises: UnavailableError."""
        ...

    async def depth(self) -> tuple[int, int]:
        """Return how many records wait, and how many were put aside. Raises: UnavailableError."""
        ...

    async def wait(self, seconds: float) -> None:
        """Return when there may be more, at the latest after so long. Raises: UnavailableError."""
        ...
