"""Outputs on their way to a log that does not commit with the state.

They are part of the state's commit, under running numbers, and published in that order when it has
happened; the next commit deletes them. Whoever takes the lease publishes first what its predecessor left,
under the ids that they have: a crash in between may publish them again, and never leaves them out.
"""

import logging
from collections.abc import Sequence
from math import isfinite

import msgspec

from tropism.core.envelope import Record
from tropism.core.time import MICROSECONDS
from tropism.ports.platform import Platform
from tropism.ports.state import Entry, Write
from tropism.runtime.following import TOPIC
from tropism.runtime.patience import patiently

PAGE = 1000

LOGGER = logging.getLogger("tropism")

_DECODER = msgspec.msgpack.Decoder(Record)


class Outbox:
    """The outputs of one service that are committed, and not yet known to be published.

    At most those of one commit: the next one waits until they are.
    """

    def __init__(self, service: str, platform: Platform) -> None:
        self._service = service
        self._namespace = namespace_of(service)
        self._platform = platform
        self._next = 0
        self._records: list[Record] = []
        self._keys: list[str] = []

    async def relay(self) -> None:
        """Publish what the lease's holder before has left. Raises: UnavailableError."""
        after: str | None = None
        while page := await self._platform.state.scan(self._namespace, after=after, count_max=PAGE):
            self._warn_of(page)
            await self._append([_DECODER.decode(entry.value) for entry in page])
            self._keys += [entry.key for entry in page]
            after = page[-1].key
            self._next = int(after) + 1

    def writes(self, outputs: Sequence[Record]) -> list[Write]:
        """Return what a commit writes: it adds its outputs, and takes away what is published."""
        writes = [Write(self._namespace, key, None) for key in self._keys]
        until_us = self._remembered_until_us() if outputs else None
        self._keys, self._records = [], list(outputs)
        for record in outputs:
            key = f"{self._next:020}"
            self._next += 1
            self._keys.append(key)
            writes.append(Write(self._namespace, key, msgspec.msgpack.encode(record), until_us))
        return writes

    async def publish(self) -> bool:
        """Publish what the last commit added, and say whether there was anything."""
        records, self._records = self._records, []
        if records:
            await patiently(self._platform.clock, lambda: self._append(records))
        return bool(records)

    async def _append(self, records: Sequence[Record]) -> None:
        # How far a service has come is said when all that it added is there: a log may take its
        # partitions one by one.
        said = [record for record in records if record.topic == TOPIC]
        told = [record for record in records if record.topic != TOPIC] if said else records
        for some in (told, said):
            if some:
                await self._platform.log.append(some)

    def _remembered_until_us(self) -> int | None:
        """Return until when the log knows the ids that are published now, None for ever."""
        seconds = self._platform.log.capabilities.dedup_seconds
        if not isfinite(seconds):
            return None
        return self._platform.clock.now_us() + int(seconds * MICROSECONDS)

    def _warn_of(self, page: Sequence[Entry]) -> None:
        now_us = self._platform.clock.now_us()
        late = [entry for entry in page if entry.expires_us is not None and entry.expires_us < now_us]
        if late:
            LOGGER.warning(
                "Service %r publishes %d events again that were committed before a crash longer ago than the "
                "log remembers ids: some may be in the log twice. Services drop those whose ids they "
                "remember still; raise remember_seconds if outages last longer.",
                self._service,
                len(late),
            )


async def open_outbox(service: str, platform: Platform) -> Outbox | None:
    """Return a service's outbox, with nothing left in it; None where outputs are part of the commit.

    Raises: UnavailableError if the log cannot take what is left.
    """
    if commits_together(platform):
        return None
    outbox = Outbox(service, platform)
    await outbox.relay()
    return outbox


def commits_together(platform: Platform) -> bool:
    """Say whether one transaction takes state and outputs."""
    return platform.log.capabilities.commit_domain == platform.state.commit_domain


def namespace_of(service: str) -> str:
    """Return where a service keeps outputs that are not published yet."""
    return f"{service}/outbox"
