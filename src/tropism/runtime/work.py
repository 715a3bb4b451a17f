"""One event on its way through a worker."""

from collections.abc import Callable
from typing import Any

import msgspec

from tropism.core.envelope import Envelope, Record
from tropism.core.event import Event
from tropism.ports.state import Write
from tropism.runtime.handler import Handler
from tropism.runtime.streams import Stream


class Item(msgspec.Struct, eq=False, gc=False):
    """An input: an event from the log, a tick, or a state that expired; finished when all its calls are.

    ``place`` is where it lies in the log, if it came from there. ``as_of_us`` is the moment of which
    views are read for it. ``bond`` holds the items with which it must commit, until it does: nothing looks
    for cycles here. ``committed`` is called, for what did not come from the log, when it commits.
    """

    envelope: Envelope[Any]
    order_us: int
    as_of_us: int
    place: tuple[Stream, int] | None = None
    record: Record | None = None
    sequence: int = 0
    open_calls: int = 0
    bond: "Bond | None" = None
    outputs: list[Record] = []
    writes: list[Write] = []
    enlisted: list[tuple[str, Event]] = []
    tick: tuple[str, int] | None = None
    committed: Callable[[], None] | None = None
    left: bool = False
    """Whether it is no longer in the committer's queue."""


def passed_of(item: Item) -> Item:
    """Take an item's place in the log, or its tick, and return an item that commits it: it is done with."""
    passed = Item(item.envelope, item.order_us, item.as_of_us, item.place, tick=item.tick)
    passed.sequence = item.sequence
    item.place = item.tick = None
    return passed


class Bond:
    """Items that commit together."""

    __slots__ = ("_open", "items", "last")

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        self.last = max(item.sequence for item in items)
        self._open = True

    @property
    def is_finished(self) -> bool:
        """Whether no call of any of them is open."""
        if self._open:
            self._open = any(item.open_calls for item in self.items)
        return not self._open


def tie(items: list[Item]) -> None:
    """Let items commit together, with all those that any of them is tied to already."""
    together: dict[int, Item] = {}
    for item in items:
        for mate in (item,) if item.bond is None else item.bond.items:
            together[mate.sequence] = mate
    bond = Bond(list(together.values()))
    for item in bond.items:
        item.bond = bond


class Delivery(msgspec.Struct, eq=False, gc=False):
    """An item for one handler, in the lane of its key; ``errors`` says how each failed call ended."""

    item: Item
    handler: Handler
    lane: str
    errors: list[str] = []
    charged: bool = False
    once: bool = False
    busy_since: float | None = None
    """When it was first put off, on a monotonic clock."""

    @property
    def attempts(self) -> int:
        """How many calls have failed, or were counted before they were made."""
        return len(self.errors)

    @property
    def name(self) -> str | None:
        """What counts its attempts durably: where it lies, and the handler."""
        if self.item.place is None:
            return None
        stream, offset = self.item.place
        return f"{stream.name}/{offset}/{self.handler.name}"
