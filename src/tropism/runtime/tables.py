"""The views of one worker: fed from the log, stored with its commits."""

from collections.abc import Mapping, Sequence
from typing import Any

from tropism.core.envelope import Stored
from tropism.ports.state import State, Write
from tropism.runtime.attempts import GaveUp
from tropism.runtime.compiled import Moment
from tropism.runtime.cursor import Fed
from tropism.runtime.dead import VIEW, DeadLetter, cause_of, letter_id, write_of
from tropism.runtime.late import load_late, write_of_late
from tropism.runtime.streams import Stream
from tropism.runtime.table import Table
from tropism.runtime.view import Reader, View
from tropism.runtime.windowed import Windowed

Kept = Table | Windowed
"""The contents of one view: running totals, or its events one by one."""

NOWHERE = 2**62
"""Beyond every offset."""

STORED_EVERY = 50_000
"""After how many events views are stored anew: as many at most are fed again after a restart."""


class MovingReaders:
    """Several views as of one moment, which moves: made once, not once a decision."""

    def __init__(self, tables: Mapping[str, Kept]) -> None:
        self._moment = Moment()
        self._readers = {name: table.bind(self._moment) for name, table in tables.items()}

    def at(self, as_of_us: int, exclude: str | None) -> Mapping[str, Reader]:
        """Return the views as of a moment, without one subject; the next call moves them on."""
        self._moment.as_of_us, self._moment.exclude = as_of_us, exclude
        return self._readers


class Tables:
    """Every view that a service reads, kept whole by each worker that reads it.

    The log is the truth; each worker keeps its own copy, so a read never leaves the process and gives
    the same on any number of workers. Every so many events they are stored, with the offsets of what they
    took in; after a restart the log gives what came since. Views with an allowance are fed aside, with all
    there is: ``at`` says from when each of their events counts.
    """

    def __init__(
        self, service: str, consumer: str, views: Sequence[View], state: State, gave_up: GaveUp
    ) -> None:
        self.tables: dict[View, Kept] = {v: Table(v) if v.is_running else Windowed(v) for v in views}
        self.fed: dict[Stream, Fed] = {}
        self.aside: dict[Stream, Fed] = {}
        self._service = service
        self._consumer = consumer
        self._state = state
        self._gave_up = gave_up
        self._letters: list[Write] = []
        self._count = 0
        self.is_due = False
        """Whether the next commit must store them: what they took cannot be taken so again."""
        self._by_type: dict[str, list[Table]] = {}
        self._aside_by_type: dict[str, list[Table]] = {}
        self._windowed: dict[str, list[Windowed]] = {}
        for view, table in self.tables.items():
            for kind in view.on:
                if isinstance(table, Windowed):
                    self._windowed.setdefault(kind.event_type, []).append(table)
                else:
                    by_type = self._aside_by_type if view.allowance_us else self._by_type
                    by_type.setdefault(kind.event_type, []).append(table)

    @property
    def have_news(self) -> bool:
        """Whether views took in anything since they were stored."""
        return self._count > 0

    @property
    def are_due(self) -> bool:
        """Whether the views are to be stored with the next commit."""
        return self.is_due or self._count >= STORED_EVERY

    def wants(self, event_type: str) -> bool:
        """Say whether any view is kept, in order of time, from events of this type."""
        return event_type in self._by_type or event_type in self._windowed

    @property
    def late(self) -> dict[str, int]:
        """How many events were known too late, by the views that have windows."""
        return {view.name: table.late.count for view, table in self._windows()}

    def _windows(self) -> list[tuple[View, Windowed]]:
        return [(view, table) for view, table in self.tables.items() if isinstance(table, Windowed)]

    def wants_aside(self, event_type: str) -> bool:
        """Say whether any view with an allowance is kept from events of this type."""
        return event_type in self._aside_by_type

    def take(self, batch: Sequence[tuple[int, Stored, Any]]) -> None:
        """Take in events that are new here, in order of arrival, each with the moment at which it was known.

        How arrivals are cut into batches makes no difference. An event that a view refuses becomes a dead
        letter of that view, and all the others are taken in.
        """
        self._count += len(batch)
        by_type = self._by_type
        for known_us, stored, event in batch:
            record = stored.record
            for table in by_type.get(record.type, ()):
                try:
                    table.add(event, known_us, record.subject)
                except Exception as error:  # noqa: BLE001 (a view's functions may raise anything)
                    self._refuse(table, known_us, stored, error)
        if self._windowed:
            for known_us, stored, event in batch:
                for windowed in self._windowed.get(stored.record.type, ()):
                    self._add(windowed, known_us, stored, event)

    def first(self, stream: Stream) -> int:
        """Return the first offset of a stream that is to be fed: beyond all where no views are kept.

        Who keeps none begins where its handlers stand, however long the log is before that.
        """
        return self.fed[stream].first if self.tables else NOWHERE

    def feed_aside(self, stored: Stored, event: Any) -> None:
        """Take in an event of views with an allowance."""
        self._count += 1
        for table in self._aside_by_type[stored.record.type]:
            self._add(table, stored.known_us, stored, event)

    def feed_again(self, name: str, stream: Stream, known_us: int, stored: Stored, event: Any) -> bool:
        """Take a redriven event into the one view that refused it; say whether there is such a view."""
        tables = [table for view, table in self.tables.items() if f"{VIEW}{view.name}" == name]
        if self.fed[stream].lacks(stored.offset):
            for table in tables:
                self._add(table, known_us, stored, event)
            self.is_due = True
        return bool(tables)

    def _add(self, table: Kept, known_us: int, stored: Stored, event: Any) -> None:
        try:
            if isinstance(table, Table):
                table.add(event, known_us, stored.record.subject)
            elif table.add(event, known_us, stored.record):
                self.is_due = True
        except Exception as error:  # noqa: BLE001 (a view's functions may raise anything; it is recorded)
            self._refuse(table, known_us, stored, error)

    def refuse_aside(self, stored: Stored, error: Exception, event_type: str) -> None:
        """Put an event that views with an allowance cannot read among the dead letters."""
        for table in self._aside_by_type[event_type]:
            self._refuse(table, stored.known_us, stored, error)

    def _refuse(self, table: Kept, known_us: int, stored: Stored, error: Exception) -> None:
        """Put an event that a view cannot take among the dead letters, with the next commit."""
        record, name = stored.record, f"{VIEW}{table.view.name}"
        letter = DeadLetter(
            id=letter_id(record, name, {kind.event_topic for kind in table.view.on}),
            service=self._service,
            handler=name,
            cause=cause_of(error),
            history=[],
            attempts=1,
            failed_us=known_us,
            record=record,
        )
        self._letters.append(write_of(letter))
        self.is_due = True
        self._gave_up(letter, error)

    def reader(self, view: View, as_of_us: int, exclude: str | None) -> Reader:
        """Return a view as of a moment, without one subject."""
        return self.tables[view].reader(as_of_us, exclude)

    def latest(self, name: str, key: str, as_of_us: int) -> Any:
        """Return the first column of a view of a name as of a moment, None where it is not kept."""
        view = next((each for each in self.tables if each.name == name), None)
        return None if view is None else self.reader(view, as_of_us, None)(key)[0]

    def readers(self, views: Mapping[str, View]) -> "MovingReaders":
        """Return several views to be read together, again and again."""
        return MovingReaders({name: self.tables[view] for name, view in views.items()})

    async def load(self) -> None:
        """Take back what was stored."""
        for view, table in self.tables.items():
            after: str | None = None
            while page := await self._state.scan(self._namespace(view), after=after):
                for entry in page:
                    table.load(entry.key, entry.value)
                after = page[-1].key
        for view, windowed in self._windows():
            windowed.late = await load_late(self._state, self._consumer, view.name)

    def letters(self) -> list[Write]:
        """Return the dead letters of views since the last call, and the counts of what came too late."""
        letters, self._letters = self._letters, []
        for view, table in self._windows() if self._windowed else ():
            if table.late.count != table.late.told:
                letters.append(write_of_late(self._consumer, view.name, table.late))
        return letters

    def writes(self, low_us: int) -> list[Write]:
        """Return what changed since the last call, trimmed to what reads at or after a moment need."""
        writes: list[Write] = []
        for view, table in self.tables.items():
            table.trim(low_us, table.changed)
            namespace = self._namespace(view)
            writes.extend(Write(namespace, key, table.pack(key)) for key in sorted(table.changed))
            table.changed.clear()
        for view, windowed in self._windows():
            if windowed.late.count != windowed.late.when_stored:
                windowed.late.when_stored = windowed.late.count
                writes.append(write_of_late(self._consumer, view.name, windowed.late))
        self.is_due, self._count = False, 0
        return writes

    def _namespace(self, view: View) -> str:
        return view_namespace(self._consumer, view.name)


def view_namespace(consumer: str, view: str) -> str:
    """Return where a worker keeps its copy of a view."""
    return f"{consumer}/view/{view}"
