"""One event on its way through a worker."""

from typing import Any

from tropism.core.envelope import Envelope, Record
from tropism.core.event import Event
from tropism.ports.log import Partition
from tropism.ports.state import Write
from tropism.runtime.handler import Handler


class Item:
    """An input: an event from the log, a tick, or a state that expired; finished when all its calls are.

    ``place`` is where it lies in the log, if it came from there. ``as_of_us`` is the moment of which
    views are read for it. ``mate`` is a later item of its key that a batch handled together with it:
    the two commit together, for the state they left is one.
    """

    __slots__ = (
        "as_of_us",
        "enlisted",
        "envelope",
        "mate",
        "open_calls",
        "order_us",
        "outputs",
        "place",
        "record",
        "sequence",
        "tick",
        "writes",
    )

    def __init__(
        self, envelope: Envelope[Any], order_us: int, as_of_us: int, place: tuple[Partition, int] | None
    ) -> None:
        self.envelope = envelope
        self.order_us = order_us
        self.as_of_us = as_of_us
        self.place = place
        self.record: Record | None = None
        self.sequence = 0
        self.open_calls = 0
        self.mate: Item | None = None
        self.outputs: list[Record] = []
        self.writes: list[Write] = []
        self.enlisted: list[tuple[str, Event]] = []
        self.tick: tuple[str, int] | None = None


class Delivery:
    """An item for one handler, in the lane of its key."""

    __slots__ = ("attempts", "charged", "errors", "handler", "item", "lane")

    def __init__(self, item: Item, handler: Handler, lane: str, attempts: int) -> None:
        self.item = item
        self.handler = handler
        self.lane = lane
        self.attempts = attempts
        self.charged = False
        self.errors: list[str] = []

    @property
    def name(self) -> str | None:
        """What counts its attempts durably: where it lies, and the handler."""
        if self.item.place is None:
            return None
        (topic, partition), offset = self.item.place
        return f"{topic}/{partition}/{offset}/{self.handler.name}"
