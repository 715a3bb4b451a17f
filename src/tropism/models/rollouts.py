"""Who decides on events: as of their moments, and on a retry as at the first attempt."""

from collections.abc import Iterable, Sequence
from typing import Any

from tropism.core.envelope import Envelope
from tropism.models.events import DecisionMade, Rollout, Served
from tropism.models.model import Model
from tropism.runtime.inject import Site

NONE = Rollout()

JOURNAL_KEPT = 65_536
"""How many undecided events a worker remembers the rollout of."""


class Rollouts:
    """The rollouts of one model in one worker. Equal ones are one and the same."""

    def __init__(self, model: Model, site: Site) -> None:
        self._model = model
        self._site = site
        self._packed: Any = None
        self._current = NONE
        self._known: dict[str, Rollout] = {}
        self._journal: dict[str, Rollout] = {}
        """Live, who decided on an event at its first attempt."""

    def of_one(self, event_id: str, as_of_us: int) -> Rollout:
        """Return who decides on an event."""
        if not self._site.live:
            return self._unpacked(self._packed_at(as_of_us))
        known = self._journal.get(event_id)
        if known is None:
            known = self._journal[event_id] = self._unpacked(self._packed_at(as_of_us))
            self._trim()
        return known

    def of_many(self, envelopes: Sequence[Envelope[Any]], as_of_us: Sequence[int]) -> list[Rollout]:
        """Return who decides on events."""
        found = self.at(as_of_us)
        if self._site.live:
            journal = self._journal
            for place, envelope in enumerate(envelopes):
                found[place] = journal.setdefault(envelope.id, found[place])
            self._trim()
        return found

    def at(self, as_of_us: Sequence[int]) -> list[Rollout]:
        """Return the rollouts of moments."""
        earliest_us, latest_us = min(as_of_us), max(as_of_us)
        latest = self._packed_at(latest_us)
        # The newest event at both ends is one and the same, so it is the newest at every moment in between.
        if earliest_us == latest_us or self._packed_at(earliest_us) is latest:
            return [self._unpacked(latest)] * len(as_of_us)
        return [self._unpacked(self._packed_at(at_us)) for at_us in as_of_us]

    def forget(self, made: Iterable[DecisionMade]) -> None:
        """Take note that decisions are being committed."""
        for each in made:
            self._journal.pop(each.input_id, None)

    def _trim(self) -> None:
        while len(self._journal) > JOURNAL_KEPT:
            del self._journal[next(iter(self._journal))]

    def _packed_at(self, as_of_us: int) -> list[Any] | None:
        reader = self._site.reader(self._model.rollouts, as_of_us, None)
        packed: list[Any] | None = reader(self._model.name).rollout
        return packed

    def _unpacked(self, packed: list[Any] | None) -> Rollout:
        if packed is None:
            return NONE
        if packed is self._packed:
            return self._current
        known = self._known.get(key := repr(packed))
        if known is None:
            champion, challenger, previous, share = packed
            known = self._known[key] = Rollout(
                _served(champion), _served(challenger), share, _served(previous)
            )
        self._packed, self._current = packed, known
        return known


def _served(packed: list[Any] | None) -> Served | None:
    return None if packed is None else Served(packed[0], packed[1])
