"""One event on its way through a worker."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tropism.core.envelope import Envelope, Record
from tropism.core.event import Event
from tropism.ports.state import Write
from tropism.runtime.handler import Handler
from tropism.runtime.streams import Stream


class Effects(msgspec.Struct, eq=False, gc=False):
    """What came of an item, to be committed with it."""

    outputs: list[Record] = []
    writes: list[Write] = []
    enlisted: list[tuple[str, Event]] = []


class Item(msgspec.Struct, eq=False, gc=False):
    """An input: an event from the log, a tick, or a state that expired; finished when all its calls are.

    ``stream`` and ``offset`` say where it lies in the log, if it came from there; then its envelope is made
    of its ``record`` and its ``event`` when somebody asks for it. ``as_of_us`` is the moment of which views
    are read for it. ``effects`` are there as soon as something came of it: of most items nothing does, and
    what the garbage collector must visit costs more than all else here. ``bond`` holds the items with which
    it must commit, until it does: nothing looks for cycles here. ``committed`` is called, for what did not
    come from the log, when it commits.
    """

    known: Envelope[Any] | None
    order_us: int
    as_of_us: int
    stream: Stream | None = None
    offset: int = 0
    record: Record | None = None
    event: Any = None
    sequence: int = 0
    open_calls: int = 0
    bond: "Bond | None" = None
    effects: Effects | None = None
    tick: tuple[str, int] | None = None
    committed: Callable[[], None] | None = None
    left: bool = False
    """Whether it is no longer in the committer's queue."""

    @property
    def envelope(self) -> Envelope[Any]:
        """The event with what is known about it."""
        if self.known is None:
            if self.record is None:
                raise AssertionError("An item is made of an envelope, or of a record.")
            self.known = envelope_of(self.record, self.event)
        return self.known

    @property
    def subject(self) -> str:
        """The key that orders it."""
        return self.envelope.subject if self.record is None else self.record.subject

    @property
    def data(self) -> Any:
        """The event alone."""
        return self.event if self.known is None else self.known.data

    @property
    def outputs(self) -> list[Record]:
        """Events to be published."""
        return self._effects().outputs

    @property
    def writes(self) -> list[Write]:
        """What is to be stored."""
        return self._effects().writes

    @property
    def enlisted(self) -> list[tuple[str, Event]]:
        """Events for resources, by the names of these."""
        return self._effects().enlisted

    def _effects(self) -> Effects:
        if self.effects is None:
            self.effects = Effects()
        return self.effects


def envelope_of(record: Record, event: Any) -> Envelope[Any]:
    """Return the envelope of a record whose payload is decoded."""
    return Envelope(
        record.id, record.source, record.type, record.subject, record.time_us, event, record.extensions
    )


def passed_of(item: Item) -> Item:
    """Take an item's place in the log, or its tick, and return an item that commits it: it is done with."""
    passed = Item(item.envelope, item.order_us, item.as_of_us, item.stream, item.offset, tick=item.tick)
    passed.sequence = item.sequence
    item.stream = item.tick = None
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
    """An item for one handler, in the lane of its key; ``failures`` are there as soon as a call failed."""

    item: Item
    handler: Handler
    lane: str
    failures: list[str] | None = None
    charged: bool = False
    once: bool = False
    busy_since: float | None = None
    """When it was first put off, on a monotonic clock."""

    @property
    def errors(self) -> list[str]:
        """How each failed call ended."""
        if self.failures is None:
            self.failures = []
        return self.failures

    @property
    def attempts(self) -> int:
        """How many calls have failed, or were counted before they were made."""
        return 0 if self.failures is None else len(self.failures)

    @property
    def name(self) -> str | None:
        """What counts its attempts durably: where it lies, and the handler."""
        stream = self.item.stream
        return None if stream is None else f"{stream.name}/{self.item.offset}/{self.handler.name}"


def front_of(
    lanes: Mapping[str, Sequence[Delivery]], ready: dict[str, None], handler: Handler, limit: int
) -> list[Delivery]:
    """Take, lane by lane, the deliveries in front that are for a handler, in order of arrival."""
    batch: list[Delivery] = []
    for key in list(ready):
        room = limit - len(batch)
        if not room:
            break
        for delivery in lanes[key]:
            if delivery.handler is not handler or not room:
                break
            batch.append(delivery)
            room -= 1
        del ready[key]
    batch.sort(key=lambda delivery: delivery.item.sequence)
    return batch


def tie_batch(deliveries: Sequence[Delivery], *, whole: bool) -> None:
    """Tie the items that a batch handled so that one state or output came of them: they commit together.

    Those of one key share its state. An output that names no cause came of all of them.
    """
    if whole:
        tie([delivery.item for delivery in deliveries])
        return
    first: dict[str, Item] = {}
    groups: dict[str, list[Item]] = {}
    for delivery in deliveries:
        item = first.setdefault(delivery.lane, delivery.item)
        if item is not delivery.item:
            groups.setdefault(delivery.lane, [item]).append(delivery.item)
    for items in groups.values():
        tie(items)
