"""The views of one worker: fed from the log, stored with its commits."""

from collections.abc import Callable, Sequence
from typing import Any

from tropism.core.envelope import Stored
from tropism.ports.log import Partition
from tropism.ports.state import State, Write
from tropism.runtime.view import Reader, Table, View


class Tables:
    """Every view that a service reads, kept whole by each worker that reads it.

    The log is the truth; each worker keeps its own copy, so a read never leaves the process and gives
    the same on any number of workers. Offsets say what has been taken in, so nothing is twice.
    """

    def __init__(self, service: str, views: Sequence[View], state: State) -> None:
        self.tables = {view: Table(view) for view in views}
        self.offsets: dict[Partition, int] = {}
        self._service = service
        self._state = state
        self._by_type: dict[str, list[tuple[Table, Callable[[Any], int] | None]]] = {}
        for view, table in self.tables.items():
            for kind in view.on:
                self._by_type.setdefault(kind.event_type, []).append((table, view.at))

    def wants(self, event_type: str) -> bool:
        """Say whether any view is kept from events of this type."""
        return event_type in self._by_type

    def feed(self, partition: Partition, stored: Stored, event: Any) -> None:
        """Take in an event, unless that was done before."""
        if stored.offset < self.offsets.get(partition, 0):
            return
        record = stored.record
        for table, at in self._by_type[record.type]:
            table.add(event, stored.known_us if at is None else at(event), record.subject)

    def reader(self, view: View, as_of_us: int, exclude: str | None) -> Reader:
        """Return a view as of a moment, without one subject."""
        return self.tables[view].reader(as_of_us, exclude)

    async def load(self) -> None:
        """Take back what was stored."""
        for view, table in self.tables.items():
            after: str | None = None
            while page := await self._state.scan(self._namespace(view), after=after):
                for entry in page:
                    table.load(entry.key, entry.value)
                after = page[-1].key

    def writes(self, low_us: int) -> list[Write]:
        """Return what changed since the last call, trimmed to what reads at or after a moment need."""
        writes: list[Write] = []
        for view, table in self.tables.items():
            table.trim(low_us, table.changed)
            namespace = self._namespace(view)
            writes.extend(Write(namespace, key, table.series[key].pack()) for key in sorted(table.changed))
            table.changed.clear()
        return writes

    def _namespace(self, view: View) -> str:
        return f"{self._service}/view/{view.name}"
