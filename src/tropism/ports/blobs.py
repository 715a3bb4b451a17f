"""Large immutable values."""

from collections.abc import Sequence
from typing import Protocol


class Blobs(Protocol):
    """Bytes under names such as ``models/sha256/ab12``.

    Guarantees:
        - ``put`` returns after the bytes are durable; a reader sees all of them or nothing.
        - Putting the same bytes under the same name again changes nothing.
        - Listing is in order of name.

    Not guaranteed:
        - Names with empty, ``.`` or ``..`` segments: they are refused with InvalidInputError.
    """

    @property
    def url(self) -> str | None:
        """By which another process opens the same blobs; None where none can."""
        ...

    async def put(self, name: str, data: bytes) -> None:
        """Store bytes under a name. Raises: ConflictError if other bytes stand there."""
        ...

    async def get(self, name: str) -> bytes:
        """Return the bytes under a name. Raises: NotFoundError."""
        ...

    async def names(self, prefix: str = "") -> Sequence[str]:
        """Return the names that begin so."""
        ...

    async def delete(self, names: Sequence[str]) -> None:
        """Remove names; absent ones are no error."""
        ...
