"""Circles in which services may answer each other's events for ever: found in what handlers declare."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tropism.runtime.hops import HOPS_MAX
from tropism.runtime.service import Service


@dataclass(frozen=True, slots=True)
class Step:
    """A handler that may answer an event of one type with one of another."""

    taken: str
    given: str
    handler: str
    service: str


@dataclass(frozen=True, slots=True)
class Cycle:
    """A shortest circle among events that lead to each other, and all services that are part of theirs."""

    steps: tuple[Step, ...]
    services: frozenset[str]

    @property
    def path(self) -> str:
        """The events along it, in words."""
        return " -> ".join((*(step.taken for step in self.steps), self.steps[0].taken))

    def told(self, budget: float) -> str:
        """Return what is worth knowing of it, in a sentence or two."""
        handlers = ", ".join(dict.fromkeys(step.handler for step in self.steps))
        return (
            f"Events may go round in a circle: {self.path} (by {handlers}). After {budget:g} hops one goes "
            f"to the dead letters. If it is meant, declare hops_max=... on the App or a service there."
        )


@dataclass(frozen=True, slots=True)
class Guard:
    """How far the outputs of a service may be from the event that began it all, and on which circle.

    By default it is on none, and bounds nothing.
    """

    budget: float = math.inf
    path: str = ""
    counts: bool = False


def steps_of(services: Iterable[Service]) -> list[Step]:
    """Return which events may lead to which, by what handlers declare to take and to give."""
    return [
        Step(taken.event_type, given.event_type, handler.name, service.name)
        for service in services
        for handler in service.handlers
        if handler.every is None and handler.expires is None and handler.topic is None
        for taken in handler.events
        for given in handler.emits
    ]


def cycles_of(services: Iterable[Service]) -> list[Cycle]:
    """Return the circles among the events of services: the shortest of each knot, in order of name."""
    steps = steps_of(services)
    onward: dict[str, list[Step]] = {}
    for step in steps:
        onward.setdefault(step.taken, []).append(step)
    reached = {kind: _reached(kind, onward) for kind in onward}
    found: list[Cycle] = []
    done: set[str] = set()
    for kind in sorted(reached):
        if kind in done or kind not in reached[kind]:
            continue
        knot = {other for other in reached[kind] if kind in reached.get(other, ())}
        done |= knot
        inside = frozenset(s.service for s in steps if s.taken in knot and s.given in knot)
        found.append(Cycle(min((_shortest(each, onward, knot) for each in sorted(knot)), key=len), inside))
    return found


def guards_of(services: Sequence[Service], hops_max: float | None) -> dict[str, Guard]:
    """Return the guards of services: of those on a circle, and of those that declare a budget.

    ``hops_max`` is that of the app. Who only listens to a circle is not held up by it.
    """
    paths = {name: cycle.path for cycle in cycles_of(services) for name in cycle.services}
    found: dict[str, Guard] = {}
    for service in services:
        path = paths.get(service.name, "")
        if service.hops_max is not None:
            found[service.name] = Guard(service.hops_max, path, counts=True)
        elif path:
            found[service.name] = Guard(HOPS_MAX if hops_max is None else hops_max, path, counts=True)
    return found


def notes_of(
    services: Sequence[Service], hops_max: float | None, here: Iterable[Service] | None = None
) -> list[str]:
    """Return what is worth knowing of circles without a declared budget: of all, or of those ``here``."""
    if hops_max is not None:
        return []
    declared = {service.name for service in services if service.hops_max is not None}
    wanted = {service.name for service in (services if here is None else here)}
    found = [cycle for cycle in cycles_of(services) if wanted & cycle.services]
    return [cycle.told(HOPS_MAX) for cycle in found if not declared & cycle.services]


def _reached(kind: str, onward: Mapping[str, Sequence[Step]]) -> set[str]:
    """Return the events that one may lead to, itself only where it does."""
    found: set[str] = set()
    waiting = [kind]
    while waiting:
        for step in onward.get(waiting.pop(), ()):
            if step.given not in found:
                found.add(step.given)
                waiting.append(step.given)
    return found


def _shortest(start: str, onward: Mapping[str, Sequence[Step]], within: set[str]) -> tuple[Step, ...]:
    """Return a shortest way from an event back to it."""
    ways: deque[tuple[Step, ...]] = deque((step,) for step in onward[start] if step.given in within)
    seen: set[str] = set()
    while True:
        way = ways.popleft()
        kind = way[-1].given
        if kind == start:
            return way
        if kind not in seen:
            seen.add(kind)
            ways.extend((*way, step) for step in onward[kind] if step.given in within)
