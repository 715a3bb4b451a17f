"""One partition as far as a consumer has fetched it."""

from collections.abc import Collection

from tropism.core.envelope import Stored

BEGINNING_US = -(2**63)


class Track:
    """What is fetched of a partition and not yet read.

    ``at`` is where reading goes on, ``next`` the offset up to which everything is fetched: behind the last
    record, or where the consumer said that nothing more is, for offsets have gaps.
    """

    __slots__ = ("at", "bytes", "held", "known_us", "next", "paused")

    def __init__(self, at: int) -> None:
        self.at = self.next = at
        self.held: list[Stored] = []
        self.bytes = 0
        self.known_us = BEGINNING_US
        self.paused = False

    def put(self, stored: Stored, size: int) -> None:
        """Add the next record."""
        self.held.append(stored)
        self.bytes += size
        self.known_us = stored.known_us
        self.next = stored.offset + 1

    def covers(self, offset: int) -> bool:
        """Say whether reading can go on at an offset without going back or leaping ahead."""
        return self.at <= offset <= self.next

    def go_to(self, offset: int) -> None:
        """Drop what lies before an offset that it covers."""
        stop = next((at for at, stored in enumerate(self.held) if stored.offset >= offset), len(self.held))
        self._drop(stop, offset)

    def take(self, page: "Page") -> list[Stored]:
        """Take a page off, and return its records."""
        self._drop(page.seen, page.records[-1].offset + 1 if page.records else self.at)
        return page.records

    def _drop(self, count: int, at: int) -> None:
        if count:
            share = count / len(self.held)
            del self.held[:count]
            self.bytes = int(self.bytes * (1 - share))
        self.at = at


class Page:
    """A page being filled from a track, from which types are left out."""

    __slots__ = ("_count_max", "_track", "_without", "records", "seen")

    def __init__(self, track: Track, count_max: int, without: Collection[str]) -> None:
        self._track = track
        self._count_max = count_max
        self._without = without
        self.records: list[Stored] = []
        self.seen = 0
        """How many of what the track holds it has looked at."""

    def is_full(self) -> bool:
        """Take in what the track holds by now, and say whether no more is wanted."""
        held, missing = self._track.held, self._count_max - len(self.records)
        if not self._without:
            fresh = held[self.seen : self.seen + missing]
            self.records += fresh
            self.seen += len(fresh)
            return len(fresh) == missing
        while missing > 0 and self.seen < len(held):
            stored = held[self.seen]
            self.seen += 1
            if stored.record.type not in self._without:
                self.records.append(stored)
                missing -= 1
        return missing <= 0

    def finish(self) -> list[Stored]:
        """Return the page of a track that has nothing more: its last record says how far was read."""
        last = self._track.held[self.seen - 1] if self.seen else None
        if (
            last is not None
            and len(self.records) < self._count_max
            and (not self.records or self.records[-1] is not last)
        ):
            self.records.append(last)
        return self._track.take(self)
