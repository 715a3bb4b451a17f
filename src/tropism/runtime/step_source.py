"""How a handler comes by its steps: as a resource of its worker."""

from collections.abc import Mapping, Sequence

from tropism.core.event import Event
from tropism.runtime.inject import Site, Subject
from tropism.runtime.journal import scope_of
from tropism.runtime.stepped import Functions
from tropism.runtime.steps import Steps
from tropism.runtime.view import View


class StepSource:
    """What stands for steps among the injections of a handler."""

    name = "tropism.steps"
    views: tuple[View, ...] = ()
    emits: tuple[type[Event], ...] = ()

    async def open(self, site: Site) -> "OpenedSteps":
        """Start work in one worker: learn what the one before has left."""
        await site.journal.load()
        return OpenedSteps(site)


class OpenedSteps:
    """The steps of one worker's calls."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._functions = Functions()

    def bind(self, subject: Subject) -> Steps:
        """Return the steps of one call."""
        scope = scope_of(subject.handler, subject.envelopes[0])
        site = self._site
        steps = Steps(site.journal, scope, self._functions, site.gates, site.rest(), subject.provider)
        subject.at_end(steps.finish)
        return steps

    def commit(
        self, enlisted: Sequence[Event], frontier_us: int | None
    ) -> tuple[Mapping[str, bytes | None], Sequence[tuple[int, Event]]]:
        """Store nothing: the journal has its own place in a commit."""
        del enlisted, frontier_us
        return {}, ()


STEPS = StepSource()
"""The one there is: it holds nothing."""
