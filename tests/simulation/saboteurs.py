"""Logs, states and runtimes that break one promise each, which the checker of histories must find."""

import asyncio
from contextlib import suppress

import msgspec

from tropism.core.errors import FencedError, UnavailableError
from tropism.ports.state import Position
from tropism.runtime import calls, commit, cursor, lanes, outbox, seen


class Around:
    """Something of which one method is another."""

    def __init__(self, inner, **other):
        self._inner = inner
        self.__dict__.update(other)

    def __getattr__(self, name):
        return getattr(self._inner, name)


def loses_appends(log, state, chance):
    async def append(records):
        return len(records) if chance.random() < 0.02 else await log.append(records)

    return Around(log, append=append), state


def forgets_ids(log, state, chance):
    """Take an id twice now and then, though it says that it never does."""

    async def append(records):
        count = await log.append(records)
        if count < len(records):
            twins = [msgspec.structs.replace(r, id=f"{r.id} ") for r in records]
            await log.append(twins)
            for partitions in log._topics.values():
                for page in partitions:
                    page[:] = [
                        msgspec.structs.replace(
                            s, record=msgspec.structs.replace(s.record, id=s.record.id.strip())
                        )
                        for s in page
                    ]
        return count

    return Around(log, append=append), state


def turns_batches_round(log, state, chance):
    async def append(records):
        return await log.append(list(reversed(records)))

    return Around(log, append=append), state


def skips_pages(log, state, chance):
    """Leave a record out of a page now and then."""

    async def read(cursors, *, count_max, without=()):
        found = await log.read(cursors, count_max=count_max, without=without)
        return {
            where: [*page[:-2], page[-1]] if len(page) > 2 and chance.random() < 0.05 else page
            for where, page in found.items()
        }

    return Around(log, read=read), state


def acknowledges_early(log, state, chance):
    """Say that a step is stored, and store it a little later, if nothing comes between."""

    async def store(step):
        await asyncio.sleep(0)
        if chance.random() < 0.97:
            await state.commit(step)

    tasks = set()

    async def commit(step):
        tasks.add(asyncio.ensure_future(store(step)))

    return log, Around(state, commit=commit)


def forgets_fences(log, state, chance):
    """Let whoever lost its lease commit all the same."""

    async def commit(step):
        try:
            await state.commit(step)
        except FencedError:
            holding = state._leases.holdings[step.lease.consumer]
            lease = msgspec.structs.replace(step.lease, token=holding.token)
            await state.commit(msgspec.structs.replace(step, lease=lease))

    async def renew(lease, *, lease_seconds):
        with suppress(FencedError):
            await state.renew(lease, lease_seconds=lease_seconds)

    return log, Around(state, commit=commit, renew=renew)


def tears_steps(log, state, chance):
    """Where a step is refused, store half of it."""

    async def commit(step):
        if chance.random() < 0.2:
            await state.commit(msgspec.structs.replace(step, writes=(), outputs=()))
            raise UnavailableError("Cannot commit: half of it is done. Try again.")
        await state.commit(step)

    return log, Around(state, commit=commit)


def forgets_positions(log, state, chance):
    async def acquire(consumer, holder, *, lease_seconds):
        lease, position = await state.acquire(consumer, holder, lease_seconds=lease_seconds)
        return lease, position if chance.random() < 0.5 else Position()

    return log, Around(state, acquire=acquire)


STORES = {
    each.__name__: each
    for each in (
        loses_appends,
        forgets_ids,
        turns_batches_round,
        skips_pages,
        acknowledges_early,
        forgets_fences,
        tears_steps,
        forgets_positions,
    )
}
"""Each replaces a log and a state."""


def commits_past_what_is_in_flight(patch):
    """Take for done whatever was read."""

    def place(self):
        return cursor.Place(self.taken, [])

    patch.setattr(cursor.Progress, "place", place)


def forgets_what_it_has_seen(patch):
    async def fresh(self, arrivals, progress=None):
        return arrivals

    patch.setattr(seen.Seen, "fresh", fresh)


def empties_outboxes_unpublished(patch):
    async def relay(self):
        while page := await self._platform.state.scan(self._namespace, after=None):
            self._keys += [entry.key for entry in page]
            break

    patch.setattr(outbox.Outbox, "relay", relay)


def gives_up_early(patch):
    patch.setattr(lanes, "delay_seconds", lambda *_: None)


def keeps_what_failed(patch):
    """Count what a failed call has set."""
    original = calls.Attempts.failed

    def failed(self, delivery):
        delivery.item.writes.append(
            commit.Write("books/state/tally", delivery.lane, b"\x82\xa5count\x09\xa5chain\x00")
        )
        original(self, delivery)

    patch.setattr(calls.Attempts, "failed", failed)


def gives_every_event_a_lane(patch):
    """Let the events of one key overtake each other."""
    original = lanes.Lanes.add

    def add(self, deliveries):
        for delivery in deliveries:
            delivery.lane = f"{delivery.lane} {delivery.item.sequence}"
        original(self, deliveries)

    patch.setattr(lanes.Lanes, "add", add)


def leaves_calls_hanging(patch):
    patch.setattr(lanes.Lanes, "cancel_overdue", lambda self: None)


RUNTIMES = {
    each.__name__: each
    for each in (
        commits_past_what_is_in_flight,
        forgets_what_it_has_seen,
        empties_outboxes_unpublished,
        gives_up_early,
        keeps_what_failed,
        gives_every_event_a_lane,
        leaves_calls_hanging,
    )
}
"""Each replaces a part of the runtime."""
