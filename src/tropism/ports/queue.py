"""Queues of work for competing consumers."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from tropism.ports.capabilities import Capabilities


class Message(msgspec.Struct, frozen=True, gc=False):
    """A piece of work: ``key`` orders it where the queue keeps an order, ``attributes`` travel beside.

    ``id`` is what duplicates are known by, and what names a dead letter.
    """

    id: str
    body: bytes
    key: str = ""
    attributes: dict[str, str] | None = None


class Received(msgspec.Struct, frozen=True, gc=False):
    """A message on loan: ``receipt`` proves the loan, ``attempt`` counts loans from 1, this one included."""

    queue: str
    message: Message
    receipt: str
    attempt: int


class Dead(msgspec.Struct, frozen=True, gc=False):
    """A message that was given up, why, and how often it had been tried."""

    message: Message
    cause: str
    attempts: int
    died_us: int


class Depth(msgspec.Struct, frozen=True):
    """How many messages of a queue are ready, wait for their delay, are on loan, and were given up.

    Those that wait behind others of their key count as ready, or as delayed until their own delay is over.
    """

    ready: int
    delayed: int
    leased: int
    dead: int


class Queue(Protocol):
    """Messages that each go to one of several consumers, until one of them acknowledges.

    Guarantees:
        - ``send`` returns after the messages are durable as ``capabilities.durability`` says, all or none.
        - A message is on loan to one consumer at a time, for ``lease_seconds`` unless renewed.
        - What was sent is received again and again until it is acknowledged or buried: a consumer that
          dies loses nothing, its loans run out.
        - ``nack`` with a delay keeps the message back for at least so long; no message is lost by it.
        - A loan is lost once it ran out and was given on, or was ended by ``ack``, ``nack`` or ``bury``.
          With lost loans these and ``renew`` do nothing, and the returned receipts say which they are; a
          loan that ran out and was not given on still counts.
        - A message sent again under an id that the queue took within ``dedup_seconds`` is not stored again.
        - Where ``ordering`` is "key", messages of one key are on loan one after the other, in order of
          sending, one that waits for its delay or was nacked before those behind it; those without a key
          have no order.
        - ``bury`` moves a message to the dead letters with its cause, once, in place of one of its id;
          ``redrive`` sends it again, behind all others of its key, with attempts counted anew, and is not
          swallowed by the dedup window.
        - A cancelled call happened wholly or not at all.

    Not guaranteed:
        - Exactly-once delivery; an order between keys; that ``Depth`` is of one moment.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this queue can do."""
        ...

    async def send(self, queue: str, messages: Sequence[Message], *, delay_seconds: float = 0.0) -> int:
        """Add messages, to be received after a delay at the earliest; return how many were new.

        Raises: InvalidInputError for a message larger than ``record_bytes_max``, more messages than
        ``batch_count_max``, or a delay below 0 or above ``delay_seconds_max``; UnavailableError if the store
        cannot take them now: then none was stored.
        """
        ...

    async def receive(
        self, queue: str, *, count_max: int, lease_seconds: float, wait_seconds: float = 0.0
    ) -> Sequence[Received]:
        """Borrow up to so many messages; wait up to so long for the first one.

        A queue that nobody sent to is empty. Raises: InvalidInputError for a count or lease not above 0.
        """
        ...

    async def ack(self, received: Sequence[Received]) -> Sequence[str]:
        """Finish messages for good; return the receipts of loans that had been lost."""
        ...

    async def nack(self, received: Sequence[Received], *, delay_seconds: float = 0.0) -> Sequence[str]:
        """Give messages back, to be received after a delay; return the receipts of lost loans.

        Raises: InvalidInputError for a delay below 0, or longer than the store can keep.
        """
        ...

    async def renew(self, received: Sequence[Received], *, lease_seconds: float) -> Sequence[str]:
        """Keep loans for so long from now; return the receipts of lost ones."""
        ...

    async def bury(self, received: Mapping[str, str], queue: str) -> Sequence[str]:
        """Move messages to the dead letters, by receipt with its cause; return the lost receipts."""
        ...

    async def dead(self, queue: str, *, after: str = "", count_max: int = 100) -> Sequence[Dead]:
        """Return a page of dead letters in order of id, behind an id."""
        ...

    async def redrive(self, queue: str, ids: Sequence[str]) -> int:
        """Send dead letters again, as new; return how many were there."""
        ...

    async def discard(self, queue: str, ids: Sequence[str]) -> int:
        """Delete dead letters; return how many were there."""
        ...

    async def depth(self, queue: str) -> Depth:
        """Return how many messages there are; zeros where the queue does not exist."""
        ...
