"""What a service keeps for later: looked at, and taken away, from outside of it."""

from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack

import msgspec

from tropism.ports.platform import Platform
from tropism.ports.state import Commit, Lease, Position, State, Write
from tropism.runtime.delays import PAGE, namespaces_of
from tropism.runtime.later import Delayed, decode
from tropism.runtime.shares import Plan, plan_consumer

LEASE_SECONDS = 5.0


async def kept_for_later(state: State, service: str) -> AsyncIterator[tuple[str, Delayed]]:
    """Yield what a service is to publish later, by place, in order of when it is due."""
    namespace, slots_namespace = namespaces_of(service)
    after: str | None = None
    while page := await state.scan(namespace, after=after, count_max=PAGE):
        found = {entry.key: decode(entry.value) for entry in page}
        slots = sorted({each.slot for each in found.values() if each.slot})
        places = await state.get(slots_namespace, slots) if slots else ()
        current = dict(zip(slots, places, strict=True))
        for place, each in found.items():
            # What was canceled or put off may lie there still, until its moment has passed.
            if not each.slot or current[each.slot] == place.encode():
                yield place, each
        after = page[-1].key


async def withdraw(platform: Platform, service: str, ids: Collection[str], *, holder: str) -> list[str]:
    """Take away what a service that is not at work was to publish later; return the ids of what was there.

    Raises: ConflictError while the service is at work, or was killed a moment ago.
    """
    state = platform.state
    namespace, slots_namespace = namespaces_of(service)
    async with AsyncExitStack() as stack:
        _, position = await _held(stack, state, plan_consumer(service), holder)
        plan = Plan() if position.cursor is None else msgspec.msgpack.decode(position.cursor, type=Plan)
        held = [await _held(stack, state, share.consumer(service), holder) for share in plan.shares()]
        gone: list[str] = []
        writes: list[Write] = []
        async for place, each in kept_for_later(state, service):
            if each.id in ids:
                gone.append(each.id)
                writes.append(Write(namespace, place, None))
                writes += [Write(slots_namespace, each.slot, None)] if each.slot else []
        lease, position = held[0]
        if writes:
            await state.commit(Commit(lease, position, writes))
    return gone


async def _held(stack: AsyncExitStack, state: State, consumer: str, holder: str) -> tuple[Lease, Position]:
    lease, position = await state.acquire(consumer, holder, lease_seconds=LEASE_SECONDS)
    if lease.clean:
        stack.push_async_callback(state.release, lease)
    # Else its worker died with events in flight: who comes next must see that, so the lease runs out.
    return lease, position
