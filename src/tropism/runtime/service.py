"""Named groups of handlers."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.runtime.handler import (
    MANY,
    Expired,
    Guarantee,
    Handler,
    Injection,
    Shape,
    Tick,
    analyse,
    output_types,
)
from tropism.runtime.retry import Retry
from tropism.runtime.view import View

F = TypeVar("F", bound=Callable[..., Any])


class Service:
    """A named group of handlers: own cursor, own state, deployed, scaled and failing on its own."""

    def __init__(self, name: str) -> None:
        if not name or not all(c.isalnum() or c in "-_." for c in name):
            raise InvalidInputError(
                f"Cannot name a service {name!r}: it may hold letters, digits, '-', '_' and '.'. "
                f"Choose a name such as 'fraud-scoring'."
            )
        self.name = name
        self.handlers: list[Handler] = []

    def __repr__(self) -> str:
        """Name it as its constructor does."""
        return f"Service({self.name!r})"

    def on(
        self,
        *events: type[Event],
        by: Callable[[Any], str] | None = None,
        guarantee: Guarantee = "effectively_once",
        retry: Retry | None = None,
        timeout_seconds: float = 60.0,
        batch_count_max: int = 1024,
        batch_age_seconds: float = 0.0,
        emits: Sequence[type[Event]] = (),
    ) -> Callable[[F], F]:
        """Handle events with the decorated function; its signature says what it takes and gives.

        ``by`` re-keys the events: order, lanes and state then go by its result. Without naming events,
        the first parameter's annotation does. ``emits`` names events that the return annotation does not,
        because it says ``Output``. The function itself stays as it is, callable in a test.

        A batch starts at once when its handler is free; live, with ``batch_age_seconds``, when it is full or
        its first event has waited so long, whatever comes later.

        Raises: InvalidInputError if the signature does not fit.
        """

        def add(function: F) -> F:
            announced, shape, injections = analyse(function, events)
            if events and set(events) != set(announced):
                raise InvalidInputError(
                    f"Cannot handle {[e.__name__ for e in events]} with {function.__qualname__!r}: it takes "
                    f"{[e.__name__ for e in announced]}. Make decorator and annotation agree."
                )
            if by is None:
                _check_keys(function.__qualname__, announced, injections)
            self._add(
                Handler(
                    name=f"{self.name}.{function.__name__}",
                    function=function,
                    events=announced,
                    shape=shape,
                    many=shape in MANY,
                    injections=injections,
                    outputs=output_types(function, emits),
                    retry=retry or Retry(),
                    guarantee=guarantee,
                    timeout_seconds=timeout_seconds,
                    batch_count_max=batch_count_max,
                    batch_age_seconds=batch_age_seconds,
                    by=by,
                )
            )
            return function

        return add

    def every(
        self,
        period: timedelta,
        *,
        key: str = "",
        retry: Retry | None = None,
        timeout_seconds: float = 60.0,
        emits: Sequence[type[Event]] = (),
    ) -> Callable[[F], F]:
        """Call the decorated function with a Tick at every multiple of a period since 1970.

        In event time, a tick at t comes after everything known before t and before anything known later.
        ``key`` is the lane it comes in, and the key of the state it is given.
        """
        if period < timedelta(seconds=1):
            raise InvalidInputError(
                f"Cannot tick every {period}: the shortest period is a second. Choose a longer one."
            )
        return self._special(Tick, retry, timeout_seconds, emits, every=period, tick_key=key)

    def expired(
        self, state: str, *, retry: Retry | None = None, timeout_seconds: float = 60.0
    ) -> Callable[[F], F]:
        """Call the decorated function with an Expired for every value of a state that outlives its ttl.

        It comes in the lane of the value's key; the value is deleted with the handler's commit.
        """
        return self._special(Expired, retry, timeout_seconds, expires=state)

    def _special(
        self,
        kind: type[Event],
        retry: Retry | None,
        timeout_seconds: float,
        emits: Sequence[type[Event]] = (),
        **more: Any,
    ) -> Callable[[F], F]:
        def add(function: F) -> F:
            announced, shape, injections = analyse(function)
            if announced != (kind,) or shape in MANY:
                raise InvalidInputError(
                    f"Cannot call {function.__qualname__!r} so: it takes {[e.__name__ for e in announced]}. "
                    f"Annotate its first parameter as {kind.__name__}."
                )
            self._add(
                Handler(
                    name=f"{self.name}.{function.__name__}",
                    function=function,
                    events=announced,
                    shape=Shape.ONE,
                    injections=injections,
                    outputs=output_types(function, emits),
                    retry=retry or Retry(),
                    timeout_seconds=timeout_seconds,
                    **more,
                )
            )
            return function

        return add

    def _add(self, handler: Handler) -> None:
        if any(known.name == handler.name for known in self.handlers):
            raise InvalidInputError(
                f"Cannot add handler {handler.name!r} twice: ids of its outputs derive from its name. "
                f"Rename one of the functions."
            )
        if handler.expires is not None and any(known.expires == handler.expires for known in self.handlers):
            raise InvalidInputError(
                f"Cannot add handler {handler.name!r}: another one takes what expires of state "
                f"{handler.expires!r}. Do both in one function."
            )
        self.handlers.append(handler)

    @property
    def views(self) -> tuple[View, ...]:
        """Views that its handlers read."""
        return tuple(dict.fromkeys(view for handler in self.handlers for view in handler.views))

    @property
    def events(self) -> tuple[type[Event], ...]:
        """Types of the events that come to it from the log."""
        kinds = (
            kind
            for handler in self.handlers
            if handler.every is None and handler.expires is None
            for kind in handler.events
        )
        return tuple(dict.fromkeys(kinds))

    @property
    def emits(self) -> tuple[type[Event], ...]:
        """Types of the events that it may add to the log."""
        return tuple(dict.fromkeys(kind for handler in self.handlers for kind in handler.emits))


def _check_keys(name: str, events: Sequence[type[Event]], injections: Sequence[Injection]) -> None:
    """Refuse state for events that have no key to keep it under."""
    states = [injection.source for injection in injections if isinstance(injection.source, str)]
    keyless = [event.__name__ for event in events if event.event_key is None]
    if states and keyless:
        raise InvalidInputError(
            f"Cannot handle events with {name!r}: {keyless[0]!r} has no key to keep {states[0]!r} under. "
            f'Define it with key="...", or handle it with on(..., by=...).'
        )
