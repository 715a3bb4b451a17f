"""Blobs in memory."""

from collections.abc import Sequence

from tropism.adapters.names import check_blob_name, check_content, no_blob, other_bytes


class MemoryBlobs:
    """``Blobs`` in a dictionary."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    @property
    def url(self) -> str | None:
        """None: they are in this process alone."""
        return None

    async def put(self, name: str, data: bytes) -> None:
        """Store bytes under a name."""
        check_blob_name(name)
        check_content(name, data)
        if self._blobs.setdefault(name, data) != data:
            raise other_bytes(name)

    async def get(self, name: str) -> bytes:
        """Return the bytes under a name."""
        check_blob_name(name)
        if name not in self._blobs:
            raise no_blob(name)
        return self._blobs[name]

    async def names(self, prefix: str = "") -> Sequence[str]:
        """Return the names that begin so."""
        return sorted(name for name in self._blobs if name.startswith(prefix))

    async def delete(self, names: Sequence[str]) -> None:
        """Remove names; absent ones are no error."""
        for name in names:
            check_blob_name(name)
        for name in names:
            self._blobs.pop(name, None)
