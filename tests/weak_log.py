"""A log that keeps only what every log guarantees: gaps between offsets, no memory of ids, no exact time."""

from dataclasses import replace

import msgspec

from tropism.adapters.memory import MemoryStore
from tropism.adapters.records import check_records

STRIDE = 3


class WeakLog:
    """A memory log of which a third of the offsets hold records, and none the last one before the end."""

    def __init__(self, inner=None):
        self.inner = inner or MemoryStore().log
        self.capabilities = replace(
            self.inner.capabilities,
            commit_domain="weak",
            event_time=False,
            dedup_seconds=0.0,
            transactions=False,
        )

    async def create_topics(self, topics):
        await self.inner.create_topics(topics)

    async def append(self, records):
        return self.append_nowait(records)

    def append_nowait(self, records):
        # What cannot be stored is found before anything is.
        check_records(records, self.capabilities.record_bytes_max)
        for record in records:
            self.inner._ids.get(record.topic, set()).clear()
            self.inner.append_nowait([record])
        return len(records)

    async def read(self, cursors, *, count_max, without=()):
        inward = {key: -(-max(at, 0) // STRIDE) for key, at in cursors.items()}
        pages = await self.inner.read(inward, count_max=count_max, without=without)
        return {key: [self._outward(stored) for stored in page] for key, page in pages.items()}

    async def ends(self, topics):
        return {key: end and end * STRIDE - 1 for key, end in (await self.inner.ends(topics)).items()}

    async def wait_beyond(self, ends):
        await self.inner.wait_beyond({key: -(-end // STRIDE) for key, end in ends.items()})

    def _outward(self, stored):
        # Later than it must be, and never before the one in front.
        return msgspec.structs.replace(stored, offset=stored.offset * STRIDE, known_us=stored.known_us + 7)
