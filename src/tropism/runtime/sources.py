"""Where a service's events come from."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

from tropism.core.event import topic_of
from tropism.ports.log import Partition
from tropism.runtime.admission import source_topic
from tropism.runtime.call import namespace_of
from tropism.runtime.dead import redrive_topic
from tropism.runtime.handler import Handler
from tropism.runtime.inject import Resource
from tropism.runtime.service import Service
from tropism.runtime.shares import ALL_KEYS, Share
from tropism.runtime.streams import ALL, OUTSIDE, Stream
from tropism.runtime.view import View
from tropism.runtime.watermarks import FOREVER_US, Kind, Watermarks

STRIDES = 16
"""In how many steps a worker takes an allowance, where it waits for somebody who waits for it."""


def kinds_of(service: Service) -> set[Kind]:
    """Return the kinds of events that a service takes in order of time: for handlers, and for views."""
    kinds = {
        (source_topic(handler, kind.event_topic), kind.event_type)
        for handler in service.handlers
        if not handler.is_timed
        for kind in handler.events
    }
    for view in service.views:
        if not view.allowance_us:
            kinds.update((kind.event_topic, kind.event_type) for kind in view.on)
    return kinds


def kinds_aside(service: Service) -> dict[Kind, int]:
    """Return the kinds of events that its views with an allowance take, and the least allowance of each."""
    found: dict[Kind, int] = {}
    for view in service.views:
        if view.allowance_us:
            for kind in view.on:
                place = (kind.event_topic, kind.event_type)
                found[place] = min(view.allowance_us, found.get(place, view.allowance_us))
    return found


def topics_of(service: Service) -> list[str]:
    """Return the topics that a service takes events from in order of time."""
    return sorted({redrive_topic(service.name)} | {topic for topic, _ in kinds_of(service)})


def side_topics_of(service: Service) -> list[str]:
    """Return the topics of views with an allowance, which need no order among the others."""
    return sorted({topic for topic, _ in kinds_aside(service)})


class Sources:
    """What a service reads, and how far that is complete."""

    def __init__(self, service: Service, watermarks: Watermarks) -> None:
        self._topics = topics_of(service)
        self._viewed = {kind.event_topic for view in service.views for kind in view.on}
        self._kinds = kinds_of(service)
        self._watermarks = watermarks
        aside = kinds_aside(service)
        self._least_us = min(aside.values(), default=0)
        self._leaders = {p for kind in self._kinds for p in watermarks.producers_of(kind)}
        self._aside = [(watermarks.producers_of(kind), us) for kind, us in aside.items()]
        self._reached: list[int] | None = None

    def streams(
        self, partitions: Collection[Partition], share: Share = ALL_KEYS
    ) -> dict[Stream, bool | None]:
        """Return the streams of its topics' partitions: one a producer that it listens to, and outside.

        With each, whether its events are for a share of the service; None where that goes by each one's key.
        What is neither for it nor for its views is left out.
        """
        counts = Counter(topic for topic, _ in partitions)
        owned = {each: share.owns_partition(each, counts[each[0]]) for each in partitions}
        return {
            Stream(topic, number, producer): mine
            for (topic, number), mine in owned.items()
            if mine is not False or topic in self._viewed
            for producer in self._producers(topic)
        }

    def services(self) -> Mapping[str, frozenset[str]]:
        """Return, per topic, all services that add to it."""
        return {topic: frozenset(self._watermarks.producers(topic)) for topic in self._topics}

    def without(self, known: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """Return, per topic, which of the known types are no concern of the service.

        Of redriven events none is left out: one that nobody wants any more goes back to the dead letters.
        """
        wanted = {event_type for _, event_type in self._kinds}
        found = {
            topic: frozenset(t for t in known if topic_of(t) == topic) - wanted for topic in self._topics
        }
        return {topic: types for topic, types in found.items() if types}

    def _producers(self, topic: str) -> list[str]:
        everybody = self._watermarks.producers(topic)
        if self._watermarks.live or not everybody or topic in everybody:
            # The last is the copy of events under another key, which nobody else adds to.
            return [ALL]
        wanted = {p for kind in self._kinds if kind[0] == topic for p in self._watermarks.producers_of(kind)}
        return [OUTSIDE, *sorted(wanted)]

    def has_more_aside(self) -> bool:
        """Say whether there may be more than at the last call of what it takes aside."""
        if self._watermarks.live:
            return True
        names = sorted({name for names, _ in self._aside for name in names})
        reached = [self._watermarks.sources_us, *map(self._watermarks.of, names)]
        if reached == self._reached:
            return False
        self._reached = reached
        return True

    def bound_us(self, frontier_us: int) -> int:
        """Return up to when all that it takes is there, for a worker that has come so far.

        What it takes aside counts with its allowance.
        """
        of, sources_us = self._watermarks.of, self._watermarks.sources_us
        main_us = min(sources_us, min(map(of, self._leaders), default=FOREVER_US))
        leads = (min(map(of, names), default=sources_us) + us for names, us in self._aside)
        lead_us = min(leads, default=FOREVER_US)
        if lead_us < main_us and lead_us - frontier_us < self._least_us // STRIDES:
            # Whoever we wait for waits for us too: in strides, the two take few steps, and overlap.
            return frontier_us
        return min(main_us, lead_us)


def resources_of(handlers: Iterable[Handler]) -> list[Resource]:
    """Return what handlers are given beside views and state, each once."""
    found = {
        injection.source.name: injection.source
        for handler in handlers
        for injection in handler.injections
        if not isinstance(injection.source, View | str)
    }
    return list(found.values())


def states_of(service: Service) -> dict[Handler, list[str]]:
    """Return, per handler, in which namespaces the states lie that it is given."""
    return {
        handler: [
            namespace_of(service.name, i.source) for i in handler.injections if isinstance(i.source, str)
        ]
        for handler in service.handlers
    }


def ttls_of(service: Service) -> dict[str, timedelta]:
    """Return how long each state of a service lives at least, where it does not live for ever."""
    found: dict[str, timedelta] = {}
    for handler in service.handlers:
        for injection in handler.injections:
            if isinstance(injection.source, str) and injection.ttl is not None:
                found[injection.source] = min(injection.ttl, found.get(injection.source, injection.ttl))
    return found
