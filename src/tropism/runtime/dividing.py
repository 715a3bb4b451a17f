"""Dividing a service anew: its cursors are put together and handed to the new shares, all or none."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

import msgspec

from tropism.core.envelope import Stored
from tropism.ports.log import Log, Partition
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, Lease, Position, State
from tropism.runtime.cursor import Cursor, Place, Shut, cursor_of
from tropism.runtime.outbox import open_outbox
from tropism.runtime.service import Service
from tropism.runtime.shares import Plan, Share, check_count, plan_consumer
from tropism.runtime.sources import kinds_of, topics_of

LEASE_SECONDS = 30.0
PAGE = 1000

Part = tuple[Share, Cursor]
"""A share, and how far its worker had come."""


async def divide(platform: Platform, service: Service, count: int, *, holder: str) -> Plan:
    """Divide a service into so many shares, and return how it is divided now.

    Its workers must have stopped. A crash on the way leaves the shares as they were. Views of the new
    shares are fed again from the log.

    Raises: InvalidInputError for more shares than partitions; ConflictError while a worker, or somebody
    who divides it too, is there.
    """
    state, log, name = platform.state, platform.log, service.name
    counts = Counter(topic for topic, _ in await log.ends(topics_of(service)))
    handled = [counts[topic] for topic, _ in kinds_of(service) if topic in counts]
    partitions = max(handled, default=1)
    check_count(name, count, partitions)
    async with AsyncExitStack() as stack:
        lease, position = await _held(stack, state, plan_consumer(name), holder)
        before = Plan() if position.cursor is None else msgspec.msgpack.decode(position.cursor, type=Plan)
        if before.count == count and (count == 1 or before.partitions == partitions):
            return before
        stood = [await _held(stack, state, each.consumer(name), holder) for each in before.shares()]
        for each, (old, position) in zip(before.shares(), stood, strict=True):
            # Where log and state are apart, a worker that died may have left outputs to be published.
            outbox = await open_outbox(each.consumer(name), platform)
            if outbox is not None:
                await state.commit(Commit(old, position, outbox.writes(())))
        cursors = [_cursor(lease.consumer, position) for lease, position in stood]
        parts = list(zip(before.shares(), cursors, strict=True))
        cursor = Cursor(
            places=await _places(log, parts, counts),
            ticks=_latest([each.ticks for each in cursors]),
            failures={name: errors for each in cursors for name, errors in each.failures.items()},
            closed=_closed(cursors),
            first_us=min((c.first_us for c in cursors if c.first_us is not None), default=None),
        )
        reached = [position.watermark_us for _, position in stood if position.watermark_us is not None]
        packed = Position(msgspec.msgpack.encode(cursor), min(reached, default=None))
        after = Plan(before.generation + 1, count, partitions)
        # Who died with events in flight may have died of one: its heirs, too, are to take them singly.
        clean = all(old.clean for old, _ in stood)
        for share in after.shares():
            if clean:
                fresh, _ = await _held(stack, state, share.consumer(name), holder)
            else:
                fresh, _ = await state.acquire(share.consumer(name), holder, lease_seconds=0.0)
            await state.commit(Commit(fresh, packed))
        await state.commit(Commit(lease, Position(msgspec.msgpack.encode(after))))
    return after


async def _held(stack: AsyncExitStack, state: State, consumer: str, holder: str) -> tuple[Lease, Position]:
    lease, position = await state.acquire(consumer, holder, lease_seconds=LEASE_SECONDS)
    stack.push_async_callback(state.release, lease)
    return lease, position


def _cursor(consumer: str, position: Position) -> Cursor:
    return cursor_of(position.cursor, consumer)


def _latest(ticks: Sequence[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in ticks:
        for name, time_us in each.items():
            found[name] = max(time_us, found.get(name, time_us))
    return found


def _closed(cursors: Sequence[Cursor]) -> dict[str, list[Shut]]:
    """Return all that is known of closed windows: each share vouches for its own keys."""
    found: dict[str, list[Shut]] = {}
    for cursor in cursors:
        for name, shut in cursor.closed.items():
            known = found.setdefault(name, [])
            known.extend(each for each in shut if each not in known)
    return found


async def _places(log: Log, parts: Sequence[Part], counts: Mapping[str, int]) -> dict[str, Place]:
    """Return, per stream, what nobody has left to do."""
    found: dict[str, Place] = {}
    for name in sorted({name for _, cursor in parts for name in cursor.places}):
        topic, _, number = name.partition("@")[0].rpartition("/")
        partition = topic, int(number)
        concerned = [
            (share, cursor.places.get(name, Place()))
            for share, cursor in parts
            if share.owns_partition(partition, counts.get(topic, 0)) is not False
        ]
        if concerned:
            found[name] = await _place(log, partition, concerned)
    return found


async def _place(log: Log, partition: Partition, parts: Sequence[tuple[Share, Place]]) -> Place:
    """Return one place of several: what lies between the slowest and the fastest goes by each event's key."""
    first, last = min(place.offset for _, place in parts), max(place.offset for _, place in parts)
    left = {offset for _, place in parts for offset in place.left}
    for stored in await _between(log, partition, first, last):
        behind = (place.offset <= stored.offset for share, place in parts if share.owns(stored.record))
        if any(behind):
            left.add(stored.offset)
    return Place(last, sorted(left))


async def _between(log: Log, partition: Partition, first: int, last: int) -> list[Stored]:
    found: list[Stored] = []
    while first < last:
        page = (await log.read({partition: first}, count_max=PAGE)).get(partition, ())
        if not page:
            break
        found.extend(stored for stored in page if stored.offset < last)
        first = page[-1].offset + 1
    return found
