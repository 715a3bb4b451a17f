"""The entries of one key, in order of their own time: what windows of every kind are read from."""

from bisect import bisect_left

import msgspec

from tropism.runtime.windows import Entry

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Entry])


class Entries:
    """What is kept of a key.

    Those of one time stand in order of id and topic: the order in which they came makes no difference, not
    even to the last digit of a sum.
    """

    __slots__ = ("all",)

    def __init__(self) -> None:
        self.all: list[Entry] = []

    def add(self, entry: Entry) -> None:
        """Put an entry where it belongs."""
        if not self.all or self.all[-1][:4] < entry[:4]:
            self.all.append(entry)
        else:
            self.all.insert(bisect_left(self.all, entry[:4]), entry)

    def place(self, time_us: int) -> int:
        """Return where the first entry stands that is not before a time."""
        return bisect_left(self.all, (time_us,))

    @property
    def newest_us(self) -> int:
        """The time of the newest entry; there must be one."""
        return self.all[-1].time_us

    def pack(self) -> bytes:
        """Return them as bytes that :meth:`unpack` reads back exactly."""
        return _ENCODER.encode(self.all)

    @classmethod
    def unpack(cls, data: bytes) -> "Entries":
        """Return packed entries."""
        entries = cls()
        entries.all = _DECODER.decode(data)
        return entries
