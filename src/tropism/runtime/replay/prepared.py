"""A service made ready for a replay: its own code, with what it would do outside told from the log."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

from tropism.core.envelope import Record
from tropism.core.errors import NotSupportedError
from tropism.runtime.handler import Handler, Injection
from tropism.runtime.inject import Resource
from tropism.runtime.replay.guard import Effects, guarded
from tropism.runtime.service import Service
from tropism.runtime.view import View


@runtime_checkable
class Recording(Resource, Protocol):
    """A resource that tells what it did then, from events that it had added to the log.

    In a replay its ``open`` finds, under ``recorded_namespace(name)`` of the site's state, what ``entry``
    gave.
    """

    @property
    def topics(self) -> tuple[str, ...]:
        """Where those events are."""
        ...

    def entry(self, record: Record) -> tuple[str, bytes] | None:
        """Return what is kept of such an event, and under which key; None of any other."""
        ...


@runtime_checkable
class Recordable(Protocol):
    """A resource that has a form for replays."""

    def recorded(self) -> Recording:
        """Return it."""
        ...


def recorded_namespace(name: str) -> str:
    """Return where a replay keeps what a resource did then."""
    return f"replay/recorded/{name}"


def prepared(service: Service, effects: Effects) -> Service:
    """Return a service that makes nothing happen: resources tell what they did, and retries do not pause.

    Raises: NotSupportedError for a resource that cannot tell.
    """
    ready = Service(service.name)
    ready.handlers.extend(_prepared(handler, effects) for handler in service.handlers)
    return ready


def recordings_of(service: Service) -> list[Recording]:
    """Return the resources of a prepared service, each once."""
    found = {
        injection.source.name: injection.source
        for handler in service.handlers
        for injection in handler.injections
        if isinstance(injection.source, Recording)
    }
    return list(found.values())


def _prepared(handler: Handler, effects: Effects) -> Handler:
    none = timedelta(0)
    return replace(
        handler,
        function=guarded(handler.name, handler.function, effects),
        injections=tuple(_recorded(handler.name, each) for each in handler.injections),
        retry=replace(handler.retry, first=none, longest=none),
    )


def _recorded(handler: str, injection: Injection) -> Injection:
    source: Any = injection.source
    if isinstance(source, View | str):
        return injection
    if isinstance(source, Recordable):
        return replace(injection, source=source.recorded())
    raise NotSupportedError(
        f"Cannot replay {handler!r}: {source.name!r} cannot tell what it did then. "
        f"Give it a method 'recorded', or replay a service without it."
    )
