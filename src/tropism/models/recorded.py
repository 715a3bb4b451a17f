"""Decisions as they were made: read from the log, never made anew."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tropism.core.envelope import Record
from tropism.core.errors import NotFoundError
from tropism.core.event import Event
from tropism.models.asking import Decision
from tropism.models.events import DecisionMade, ModelObserved
from tropism.ports.state import State
from tropism.runtime.inject import Opened, Site, Subject
from tropism.runtime.replay.prepared import recorded_namespace
from tropism.runtime.view import View


class RecordedModel:
    """A model that says again what it said on each event. It needs neither views nor versions."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def views(self) -> tuple[View, ...]:
        """None: features are in the decisions."""
        return ()

    @property
    def emits(self) -> tuple[type[Event], ...]:
        """What deciding adds."""
        return (DecisionMade, ModelObserved)

    @property
    def topics(self) -> tuple[str, ...]:
        """Where decisions are."""
        return (DecisionMade.event_topic,)

    def entry(self, record: Record) -> tuple[str, bytes] | None:
        """Return a decision of this model, under the id of what it decided on."""
        if record.type != DecisionMade.event_type:
            return None
        made = msgspec.json.decode(record.data, type=DecisionMade)
        return (made.input_id, record.data) if made.model == self.name else None

    async def open(self, site: Site) -> Opened:
        """Start saying it again in one worker."""
        return _Recorded(self.name, site.platform.state)


class _Recorded:
    def __init__(self, name: str, state: State) -> None:
        self._name = name
        self._state = state

    def bind(self, subject: Subject) -> "_Again":
        """Return the model as of the events of one call."""
        return _Again(self._name, self._state, subject)

    def commit(
        self, enlisted: Sequence[Event], frontier_us: int | None
    ) -> tuple[Mapping[str, bytes | None], Sequence[tuple[int, Event]]]:
        """Add nothing: what was observed then is in the log."""
        del enlisted, frontier_us
        return {}, ()


class _Again:
    """A ``Decider`` of what was decided. Who asks twice about one event is told the same."""

    def __init__(self, name: str, state: State, subject: Subject) -> None:
        self._name = name
        self._state = state
        self._subject = subject
        self._told: dict[int, Decision] = {}

    async def __call__(self, event: Event) -> Decision:
        return (await self.each((event,)))[0]

    async def each(self, events: Sequence[Event]) -> Sequence[Decision]:
        places = {id(e.data): index for index, e in enumerate(self._subject.envelopes)}
        indices = [places[id(event)] for event in events]
        fresh = [index for index in dict.fromkeys(indices) if index not in self._told]
        asked = [self._subject.envelopes[index].id for index in fresh]
        found = await self._state.get(recorded_namespace(self._name), asked) if asked else ()
        made = [self._made(id, data) for id, data in zip(asked, found, strict=True)]
        self._subject.enlist(fresh, made)
        for index, each in zip(fresh, made, strict=True):
            self._told[index] = Decision(each.output, each.act, each.version, each.arm)
        return [self._told[index] for index in indices]

    def _made(self, id: str, data: Any) -> DecisionMade:
        if data is None:
            raise NotFoundError(
                f"Cannot decide on event {id!r} with {self._name!r}: the log holds no decision on it, and a "
                f"replay makes none. Replay a range that the live service has handled."
            )
        return msgspec.json.decode(data, type=DecisionMade)
