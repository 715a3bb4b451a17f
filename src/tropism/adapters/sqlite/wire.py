"""What the writer is asked to do, and how that travels between processes: framed MessagePack."""

import asyncio
from typing import TypeVar

import msgspec

from tropism.core import errors
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError, TropismError, UnavailableError
from tropism.ports import queue as queues
from tropism.ports.state import Commit, Lease, Position

T = TypeVar("T")

PROTOCOL = 3
FRAME_BYTES_MAX = 256 * 1024 * 1024
_HEAD_BYTES = 4


class Append(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Append records; the result is how many were new."""

    records: list[Record]


class Create(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Create topics with so many partitions."""

    topics: dict[str, int]


class Acquire(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Take a lease; the result is ``Acquired``."""

    consumer: str
    holder: str
    seconds: float


class Renew(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Keep a lease."""

    lease: Lease
    seconds: float


class Release(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Give a lease back."""

    lease: Lease


class Apply(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Apply a commit, once, however often it is asked under this id."""

    commit: Commit
    id: bytes


class Send(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Add messages to a queue; the result is how many were new."""

    queue: str
    messages: list[queues.Message]
    delay_us: int


class Take(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Borrow messages of a queue; the result is ``Taken``."""

    queue: str
    count_max: int
    lease_us: int


class Finish(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """End loans for good; the result is ``Lost``."""

    receipts: list[str]


class Extend(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Keep loans; the result is ``Lost``."""

    receipts: list[str]
    lease_us: int


class Return(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Give messages back, to be received after a delay; the result is ``Lost``."""

    receipts: list[str]
    delay_us: int


class Bury(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Move messages to the dead letters, by receipt with the cause; the result is ``Lost``."""

    queue: str
    causes: dict[str, str]


class Redrive(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Send dead letters again; the result is how many were there."""

    queue: str
    ids: list[str]


class Discard(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Delete dead letters; the result is how many were there."""

    queue: str
    ids: list[str]


class Drop(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Presume the holders behind a connection dead; said by the owner to itself."""


class Acquired(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """A lease, and where its consumer stands."""

    lease: Lease
    position: Position


class Taken(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """Messages on loan; where there are none, in how long one is due, if any is."""

    received: list[queues.Received]
    wait_us: int | None = None


class Lost(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The receipts of loans that had been lost."""

    receipts: list[str]


QueueOperation = Send | Take | Finish | Extend | Return | Bury | Redrive | Discard
Operation = Append | Create | Acquire | Renew | Release | Apply | QueueOperation
Result = int | Acquired | Taken | Lost | None

QUEUE_NUMBER = -1
"""Stands for a queue where numbers of partitions stand: that there may be something to receive."""


class Request(msgspec.Struct, array_like=True, frozen=True):
    """An operation asked of the owner."""

    number: int
    operation: Operation


class Hello(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """The owner's first word: how it speaks, and whether it syncs every commit to the disk."""

    protocol: int
    synced: bool = True


class Done(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """A request's result."""

    number: int
    result: Result


class Failed(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """A request's error, as the name of its class and its text."""

    number: int
    kind: str
    text: str


class Grown(msgspec.Struct, tag=True, array_like=True, frozen=True):
    """New ends of partitions, and queues that changed."""

    ends: list[tuple[str, int, int]]


Message = Hello | Done | Failed | Grown

_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(Request)
_messages: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def frame(message: Request | Message) -> bytes:
    """Return a message with its length in front.

    Raises: InvalidInputError if it is longer than another process would take.
    """
    body = _encoder.encode(message)
    if len(body) > FRAME_BYTES_MAX:
        raise InvalidInputError(
            f"Cannot write {len(body)} bytes at once through the owner's socket: at most {FRAME_BYTES_MAX} "
            f"pass. Write fewer records at a time."
        )
    return len(body).to_bytes(_HEAD_BYTES, "big") + body


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Return the next request, or None where the other side is gone or talks nonsense."""
    return await _read(reader, _requests)


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """Return the owner's next message, or None where it is gone or talks nonsense."""
    return await _read(reader, _messages)


async def _read(reader: asyncio.StreamReader, decoder: msgspec.msgpack.Decoder[T]) -> T | None:
    try:
        length = int.from_bytes(await reader.readexactly(_HEAD_BYTES), "big")
        if length > FRAME_BYTES_MAX:
            return None
        return decoder.decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError):
        return None


def failed(number: int, error: BaseException) -> Failed:
    """Return an error as it travels."""
    return Failed(number, type(error).__name__, str(error))


def error_of(message: Failed) -> TropismError:
    """Return the error that travelled here."""
    kind = getattr(errors, message.kind, None)
    if isinstance(kind, type) and issubclass(kind, TropismError):
        return kind(message.text)
    return UnavailableError(
        f"Cannot write through the owner's process: {message.kind}: {message.text}. See its log."
    )
