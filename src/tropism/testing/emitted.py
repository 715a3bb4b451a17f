"""What was published, and what caused it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from tropism.core.codec import Codec
from tropism.core.envelope import Envelope, Stored
from tropism.core.errors import InvalidInputError

E = TypeVar("E")


@dataclass(frozen=True)
class Emitted(Generic[E]):
    """An event that was published, and the way back to its causes."""

    event: E
    envelope: Envelope[E]
    found: "Found"

    @property
    def id(self) -> str:
        """Its id."""
        return self.envelope.id

    @property
    def time(self) -> datetime:
        """When it became known."""
        return self.envelope.time

    def caused_by(self, cause: "Any | Emitted[Any]") -> bool:
        """Say whether an event stands anywhere among its causes; equal events are taken for one."""
        wanted = {cause.id} if isinstance(cause, Emitted) else self.found.ids_of(cause)
        return not wanted.isdisjoint(self.found.causes_of(self.id))


class Found:
    """All that lies in a log, by id."""

    def __init__(self, codec: Codec, stored: Sequence[Stored]) -> None:
        self._codec = codec
        self._stored = [s for s in stored if not s.record.topic.startswith(("by-", "redrive-"))]
        self._by_id = {s.record.id: s.record for s in stored}

    def of(self, kind: type[E]) -> list[Emitted[E]]:
        """Return the events of a type."""
        name: str = getattr(kind, "event_type", "")
        wanted = [s.record for s in self._stored if self._codec.newest(s.record.type) == name]
        envelopes = [self._codec.envelope(record) for record in wanted]
        return [Emitted(envelope.data, envelope, self) for envelope in envelopes]

    def counts(self) -> dict[str, int]:
        """Return how many events there are of each type."""
        return dict(sorted(Counter(s.record.type for s in self._stored).items()))

    def ids_of(self, event: Any) -> set[str]:
        """Return the ids under which an equal event was published."""
        ids = set()
        for stored in self._stored:
            if self._codec.newest(stored.record.type) == type(event).event_type and self._is(stored, event):
                ids.add(stored.record.id)
        return ids

    def _is(self, stored: Stored, event: Any) -> bool:
        try:
            return bool(self._codec.decode(stored.record) == event)
        except InvalidInputError:
            return False

    def causes_of(self, id: str) -> set[str]:
        """Return the ids of an event's cause, of that one's cause, and so on."""
        causes: set[str] = set()
        extensions = self._extensions(id)
        while extensions:
            # A redriven event is the same fact as the one that was given up on.
            next_id = extensions.get("redriveof") or extensions.get("causationid")
            if next_id is None or next_id in causes:
                break
            causes.add(next_id)
            extensions = self._extensions(next_id)
        return causes

    def _extensions(self, id: str) -> dict[str, str]:
        record = self._by_id.get(id)
        return {} if record is None else record.extensions or {}
