"""What came of a replay."""

from typing import Literal

import msgspec

EXAMPLES_MAX = 20
"""How many differences are shown; all are counted."""

Kind = Literal["same", "moved", "changed", "missing", "new"]


class Tally(msgspec.Struct):
    """How many outputs the replay gave as before, otherwise, not at all, or for the first time.

    ``moved`` ones have the same cause and content, and another id: of a handler of another name, say.
    """

    same: int = 0
    moved: int = 0
    changed: int = 0
    missing: int = 0
    new: int = 0

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return not (self.changed or self.missing or self.new)


class Example(msgspec.Struct, frozen=True):
    """A difference: ``fields`` tells, by name, what stood there and what stands there now."""

    kind: Kind
    type: str
    subject: str
    id: str
    cause: str
    fields: dict[str, tuple[object, object]] = {}


class Difference(msgspec.Struct):
    """All outputs, compared: counted by type, with some of what differs."""

    total: Tally = msgspec.field(default_factory=Tally)
    by_type: dict[str, Tally] = {}
    examples: list[Example] = []

    def count(self, event_type: str, kind: Kind, count: int = 1) -> None:
        """Count outputs of a type."""
        for tally in (self.total, self.by_type.setdefault(event_type, Tally())):
            setattr(tally, kind, getattr(tally, kind) + count)

    def show(self, example: Example) -> None:
        """Keep an example, if there is room."""
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(example)


class Failure(msgspec.Struct, frozen=True):
    """An event that the replayed code gave up on."""

    handler: str
    id: str
    type: str
    cause: str


class Report(msgspec.Struct):
    """A replay: its range, what was handled, what differs, and what was kept from happening."""

    service: str
    start: str
    until: str
    partitions: dict[str, tuple[int, int]]
    events: int
    difference: Difference
    failed: int
    failures: list[Failure]
    refused: dict[str, int]
    notes: list[str]
    resumed: bool = False
