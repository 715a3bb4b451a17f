"""The messages that state on Kafka is made of: entries and consumers, in one compacted topic."""

from typing import NamedTuple

import msgspec

from tropism.adapters.entries import Entries
from tropism.adapters.kafka.messages import Encoded
from tropism.ports.state import Position, Write

TOPIC = "tropism-state"


class Holding(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a consumer: who has its lease and until when, where it stands, by which commit."""

    token: int = 0
    holder: str = ""
    seconds: float = 0.0
    until_us: int = 0
    clean: bool = True
    commit: int = 0
    cursor: bytes | None = None
    watermark_us: int | None = None

    @property
    def position(self) -> Position:
        """Where it stands."""
        return Position(self.cursor, self.watermark_us)


class _Key(NamedTuple):
    """What a message tells of: a key of a namespace or, without one, a consumer of that name."""

    namespace: str
    key: str | None


_KEY, _ENTRY = msgspec.msgpack.Decoder(_Key), msgspec.msgpack.Decoder(tuple[bytes, int | None])
_HOLDING = msgspec.msgpack.Decoder(Holding)


def entry_message(write: Write) -> Encoded:
    """Return the message of an entry, which compaction drops where it is deleted."""
    key = msgspec.msgpack.encode((write.namespace, write.key))
    if write.value is None:
        return Encoded(key, None, [])
    return Encoded(key, msgspec.msgpack.encode((write.value, write.expires_us)), [])


def holding_message(consumer: str, holding: Holding) -> Encoded:
    """Return the message of a consumer."""
    return Encoded(msgspec.msgpack.encode((consumer, None)), msgspec.msgpack.encode(holding), [])


class Changes:
    """What the messages read so far come to."""

    def __init__(self) -> None:
        self.namespaces: dict[str, Entries] = {}
        self.holdings: dict[str, Holding] = {}

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a message. Raises: msgspec.MsgspecError if it is none of ours."""
        name, inner = _KEY.decode(key or b"")
        if inner is None:
            self.holdings[name] = _HOLDING.decode(value or b"")
            return
        data, expires_us = (None, None) if value is None else _ENTRY.decode(value)
        self.entries(name).apply(Write(name, inner, data, expires_us))

    def entries(self, namespace: str) -> Entries:
        """Return the entries of a namespace."""
        found = self.namespaces.get(namespace)
        if found is None:
            found = self.namespaces[namespace] = Entries()
        return found

    def holding(self, consumer: str) -> Holding:
        """Return what is known of a consumer."""
        return self.holdings.get(consumer, Holding())
