"""Topics as streams: one a partition, so that offsets are the stream's own sequence."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tropism.adapters.nats.address import Address
from tropism.adapters.nats.link import Link, Session
from tropism.adapters.records import check_topics
from tropism.core.errors import ConflictError, InvalidInputError
from tropism.ports.log import Partition

PARTITIONS = "tropism-partitions"
"""Where partition 0 says how many there are: who creates it first decides."""

NANOSECONDS = 1_000_000_000
NAME_BYTES_MAX = 200

ATOMIC_SINCE = (2, 12, 1)
"""Atomic batches came with 2.12.0, and know message ids since 2.12.1."""

NOT_FOUND, IN_USE = 10059, 10058

Reply = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """The names of one partition: its stream, where it is published, and where it tells what it stored."""

    name: str
    subject: str
    stored: str


class Streams:
    """The streams of a log, and how many partitions its topics have."""

    def __init__(self, address: Address, link: Link) -> None:
        self._address = address
        self._link = link
        self._counts: dict[str, int] = {}
        self._creating = asyncio.Lock()

    def stream(self, partition: Partition) -> Stream:
        """Return the names of a partition."""
        topic, number = partition
        name, prefix = _token(topic), self._address.prefix
        return Stream(
            f"{prefix}-{name}-{number}", f"{prefix}.log.{name}.{number}", f"{prefix}.stored.{name}.{number}"
        )

    def forget(self, topic: str) -> None:
        """Forget what is known of a topic: somebody deleted it."""
        self._counts.pop(topic, None)

    async def counts(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how many partitions topics have, of those that exist. Raises: UnavailableError."""
        names = list(dict.fromkeys(topics))
        unknown = [topic for topic in names if topic not in self._counts]
        if unknown:
            await asyncio.gather(*(self._look_up(topic) for topic in unknown))
        return {topic: self._counts[topic] for topic in names if topic in self._counts}

    async def create(self, topics: Mapping[str, int]) -> None:
        """Create topics with so many partitions; existing ones stay as they are.

        Raises: ConflictError if one exists with another number; InvalidInputError; UnavailableError.
        """
        async with self._creating:
            known = await self.counts(topics)
            check_topics(dict(topics), known)
            for topic, count in topics.items():
                if topic not in known:
                    await self._create(topic, count)

    async def ensure(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how many partitions topics have, creating those that do not exist."""
        names = list(topics)
        found = await self.counts(names)
        missing = [topic for topic in names if topic not in found]
        if missing:
            async with self._creating:
                found = await self.counts(names)
                for topic in missing:
                    if topic not in found:
                        await self._create(topic, self._address.partitions, any_count=True)
            found = await self.counts(names)
        return found

    async def state(self, session: Session, partition: Partition) -> Reply | None:
        """Return the state of a partition, None where it does not exist. Raises: UnavailableError."""
        info = await self._info(session, partition)
        return None if info is None else info["state"]

    async def _look_up(self, topic: str) -> None:
        session = await self._link.session()
        info = await self._info(session, (topic, 0))
        if info is None:
            return
        count = int((info["config"].get("metadata") or {}).get(PARTITIONS, 1))
        kept = info["config"].get("duplicate_window", 0) / NANOSECONDS
        if kept < self._address.dedup_seconds:
            raise ConflictError(
                f"Cannot use topic {topic!r}: its streams remember ids for {kept:g} seconds, not the "
                f"{self._address.dedup_seconds:g} of the URL. Write dedup_seconds={kept:g} there, or edit "
                f"the streams."
            )
        # Whoever created it may have died before the others were there.
        await self._create_rest(session, topic, count)
        self._counts[topic] = count

    async def _info(self, session: Session, partition: Partition) -> dict[str, Any] | None:
        name = self.stream(partition).name
        reply = await session.api(f"STREAM.INFO.{name}")
        error = reply.get("error")
        if error is None:
            return reply
        if error.get("err_code") == NOT_FOUND:
            return None
        raise session.unavailable(str(error.get("description")))

    async def _create(self, topic: str, count: int, *, any_count: bool = False) -> None:
        session = await self._link.session()
        if not await self._create_one(session, (topic, 0), count):
            # Somebody else was first, in another process: what they said holds.
            await self._look_up(topic)
            known = self._counts.get(topic, count)
            if known != count and not any_count:
                check_topics({topic: count}, {topic: known})
            return
        await self._create_rest(session, topic, count)
        self._counts[topic] = count

    async def _create_rest(self, session: Session, topic: str, count: int) -> None:
        await asyncio.gather(*(self._create_one(session, (topic, n), count) for n in range(1, count)))

    async def _create_one(self, session: Session, partition: Partition, count: int) -> bool:
        """Create a stream, and say whether it is as asked for."""
        reply = await session.api(
            f"STREAM.CREATE.{self.stream(partition).name}", self._config(session, partition, count)
        )
        error = reply.get("error")
        if error is None:
            return True
        if error.get("err_code") == IN_USE:
            return False
        raise InvalidInputError(
            f"Cannot create topic {partition[0]!r}: the server says {error.get('description')!r}. "
            f"Correct the URL's options, or the account's limits."
        )

    def _config(self, session: Session, partition: Partition, count: int) -> dict[str, Any]:
        stream = self.stream(partition)
        config = {
            "name": stream.name,
            "subjects": [stream.subject],
            "storage": "file",
            "retention": "limits",
            "discard": "old",
            "num_replicas": self._address.replicas,
            "duplicate_window": round(self._address.dedup_seconds * NANOSECONDS),
            "allow_direct": True,
            # What is stored is told to whoever waits for it, without its payload: nobody has to poll.
            "republish": {"src": stream.subject, "dest": stream.stored, "headers_only": True},
            "metadata": {PARTITIONS: str(count)},
        }
        return {**config, "allow_atomic": True} if session.version >= ATOMIC_SINCE else config


def _token(topic: str) -> str:
    """Return a topic as part of a stream's name: what may not stand there is encoded."""
    name = quote(topic, safe="").replace(".", "%2E").replace("~", "%7E").replace("%", "=")
    if not topic or len(name) > NAME_BYTES_MAX:
        raise InvalidInputError(
            f"Cannot use topic {topic[:50]!r}: its name has {len(name)} bytes as a stream's. "
            f"Give it a name of 1 to {NAME_BYTES_MAX} bytes."
        )
    return name
