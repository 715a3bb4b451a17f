"""Waiting for streams to grow: the servers say what they stored, and a slow look makes up for what was lost.

A partition is listened to from when somebody first waits for it until it grows while nobody waits.
"""

import asyncio
from collections import Counter
from functools import partial

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from tropism.adapters.ends import Ends
from tropism.adapters.nats.link import Link, Session
from tropism.adapters.nats.streams import Streams
from tropism.core.errors import UnavailableError
from tropism.ports.log import Cursors, Partition

LOOK_SECONDS = 5.0
"""How late growth is seen at most, if what the server said was lost."""


class Tail:
    """How far the partitions of a log reach, as far as anybody waits for it."""

    def __init__(self, link: Link, streams: Streams) -> None:
        self.ends = Ends()
        self._link = link
        self._streams = streams
        self._heard_on: Session | None = None
        self._listening: dict[Partition, Subscription] = {}
        self._waiting: Counter[Partition] = Counter()
        self._lock = asyncio.Lock()

    async def wait_beyond(self, ends: Cursors) -> None:
        """Return as soon as any of the partitions reaches beyond its given end. Raises: UnavailableError."""
        grown = asyncio.ensure_future(self.ends.wait_beyond(ends))
        self._waiting.update(ends.keys())
        try:
            await asyncio.sleep(0)
            while not grown.done():
                session = await self._link.session()
                await self._listen(session, ends)
                await asyncio.wait(
                    (grown, session.ended), timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if not grown.done() and session.is_open:
                    await self._look(session, list(ends))
        finally:
            grown.cancel()
            self._waiting.subtract(ends.keys())

    async def _listen(self, session: Session, ends: Cursors) -> None:
        """Listen to partitions that are not listened to yet, and learn how far those are."""
        async with self._lock:
            if self._heard_on is not session:
                self._heard_on, self._listening = session, {}
            fresh = [partition for partition in ends if partition not in self._listening]
            for partition in fresh:
                subject = self._streams.stream(partition).stored
                heard = partial(self._heard, session, partition)
                self._listening[partition] = await session.listen(subject, heard)
            if fresh:
                # First the ear, then the look: what comes in between is heard.
                await session.settle()
                await self._look(session, fresh)

    async def _look(self, session: Session, partitions: list[Partition]) -> None:
        states = await asyncio.gather(*(self._streams.state(session, each) for each in partitions))
        found = zip(partitions, states, strict=True)
        self.ends.update({p: int(state["last_seq"]) for p, state in found if state is not None})

    async def _heard(self, session: Session, partition: Partition, message: Msg) -> None:
        self.ends.update({partition: int((message.headers or {}).get("Nats-Sequence", 0))})
        if self._waiting[partition] <= 0 and self._heard_on is session:
            subscription = self._listening.pop(partition, None)
            if subscription is not None:
                try:
                    await session.unlisten(subscription)
                except UnavailableError:
                    return
