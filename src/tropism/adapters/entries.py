"""The entries of a namespace of the state, kept in memory."""

from bisect import bisect_left, bisect_right, insort

from tropism.ports.state import Entry, Write


class Entries:
    """Entries of one namespace, with their keys and their expiries in order."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.keys: list[str] = []
        self.expiries: list[tuple[int, str]] = []

    def apply(self, write: Write) -> None:
        """Store what is written, or delete it."""
        before = self.entries.pop(write.key, None)
        if before is not None and before.expires_us is not None:
            del self.expiries[bisect_left(self.expiries, (before.expires_us, before.key))]
        if write.value is None:
            if before is not None:
                del self.keys[bisect_left(self.keys, write.key)]
            return
        if before is None:
            insort(self.keys, write.key)
        if write.expires_us is not None:
            insort(self.expiries, (write.expires_us, write.key))
        self.entries[write.key] = Entry(write.key, write.value, write.expires_us)

    def page(
        self, prefix: str, after: str | None, expires_before_us: int | None, count_max: int
    ) -> list[Entry]:
        """Return what a scan of the namespace finds."""
        keys = self.keys if expires_before_us is None else self._expiring(expires_before_us)
        start = bisect_left(keys, prefix)
        if after is not None:
            start = max(start, bisect_right(keys, after))
        page = []
        for key in keys[start : start + count_max]:
            if not key.startswith(prefix):
                break
            page.append(self.entries[key])
        return page

    def _expiring(self, before_us: int) -> list[str]:
        return sorted(key for _, key in self.expiries[: bisect_left(self.expiries, (before_us, ""))])
