"""How many events came too late for a view: each counted once, though after a restart some are fed again."""

import msgspec

from tropism.ports.state import State, Write
from tropism.runtime.shares import plan_of


class Late(msgspec.Struct):
    """The count of one view in one worker, and what it was when the view was stored last."""

    count: int = 0
    when_stored: int = 0
    told: int = 0

    def again(self) -> "Late":
        """Return the count for a view as it was stored, which is fed from there on."""
        return Late(self.when_stored, self.when_stored, self.when_stored)


def namespace_of_late(consumer: str) -> str:
    """Return where a worker keeps its counts, by names of views."""
    return f"{consumer}/late"


def write_of_late(consumer: str, view: str, late: Late) -> Write:
    """Return the write that stores a count."""
    late.told = late.count
    return Write(namespace_of_late(consumer), view, msgspec.msgpack.encode(late))


async def load_late(state: State, consumer: str, view: str) -> Late:
    """Return the count from which a worker goes on that begins with a view as it was stored."""
    (data,) = await state.get(namespace_of_late(consumer), [view])
    return Late() if data is None else msgspec.msgpack.decode(data, type=Late).again()


async def late_of(state: State, service: str) -> dict[str, int]:
    """Return how many events came too late for each view of a service, where any did.

    Every worker feeds its own copy of a view, so the largest count is that of the one that came furthest.
    """
    found: dict[str, int] = {}
    plan = await plan_of(state, service)
    for share in plan.shares():
        for entry in await state.scan(namespace_of_late(share.consumer(service))):
            late = msgspec.msgpack.decode(entry.value, type=Late)
            found[entry.key] = max(late.count, found.get(entry.key, 0))
    return found
