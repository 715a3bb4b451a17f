"""Where a queue is checked, and the steps that its checks have in common."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tropism.ports.queue import Message, Queue, Received
from tropism.testing.checks import require, require_equal, settle

LONG_SECONDS = 3600.0
"""A loan that no check waits out."""

_PATIENCE_SECONDS = 10.0  # in real time, for what a server must deliver


@dataclass(frozen=True, slots=True)
class QueueSite:
    """A queue, another connection to it (or the same), and its time.

    An adapter on a clock that can be set gives ``advance`` and ``monotonic`` of that clock: no check then
    waits. Others leave ``advance`` out: checks wait for real, a few times ``short_seconds``, which is the
    shortest lease and delay that the store keeps well.
    """

    queue: Queue
    other: Queue
    advance: Callable[[float], None] | None = None
    monotonic: Callable[[], float] = time.monotonic
    short_seconds: float = 0.5

    async def pass_time(self, seconds: float) -> None:
        """Let so much time pass, and what is woken by it run."""
        if self.advance is None:
            await asyncio.sleep(seconds)
            return
        await settle()
        self.advance(seconds)
        await settle()

    async def receive(
        self, count: int, *, queue: str = "work", seconds: float = LONG_SECONDS
    ) -> list[Received]:
        """Borrow exactly so many messages."""
        found: list[Received] = []
        wait_seconds = 0.0 if self.advance else _PATIENCE_SECONDS
        while len(found) < count:
            page = await self.queue.receive(
                queue, count_max=count - len(found), lease_seconds=seconds, wait_seconds=wait_seconds
            )
            require(bool(page), f"{len(found)} of {count} messages were received: {ids_of(found)}")
            found.extend(page)
        require_equal(len(found), count, "messages received")
        return found

    async def require_none(self, what: str, *, queue: str = "work") -> None:
        """Raise BrokenLaw if a message can be received now."""
        found = await self.other.receive(queue, count_max=10, lease_seconds=LONG_SECONDS)
        require_equal(ids_of(found), [], what)

    async def require_kept_back(self, seconds: float, since: float, what: str) -> None:
        """Raise BrokenLaw if a message can be received before its time; return when it may be."""
        await self.pass_time(seconds / 2)
        found = await self.other.receive("work", count_max=10, lease_seconds=LONG_SECONDS)
        early = self.monotonic() - since < seconds
        # On a slow machine its time may have come before the question.
        require(not (found and early), f"{what}: {ids_of(found)} came early")
        await self.pass_time(seconds * 0.6)
        if found:
            await self.other.nack(found)

    async def finish(self, count: int, *, queue: str = "work") -> list[str]:
        """Receive and acknowledge exactly so many messages; return their ids in order."""
        found = await self.receive(count, queue=queue)
        require_equal(list(await self.queue.ack(found)), [], "lost loans")
        return ids_of(found)


def messages(*ids: str, key: str = "") -> list[Message]:
    """Return messages to send, of one key."""
    return [Message(id, id.encode(), key) for id in ids]


def ids_of(received: Sequence[Received]) -> list[str]:
    """Return the ids of what was received, in order."""
    return [one.message.id for one in received]
