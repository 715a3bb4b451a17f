"""Typed functions as handlers: what their signatures say."""

import inspect
import types
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tropism.core.envelope import Envelope
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.runtime.batch import Batch
from tropism.runtime.inject import Output, State, Use
from tropism.runtime.retry import Retry
from tropism.runtime.view import View

Guarantee = Literal["effectively_once", "at_least_once", "at_most_once"]


class Shape(Enum):
    """What a handler takes at a time."""

    ONE = "event"
    ENVELOPE = "envelope"
    LIST = "list of events"
    ENVELOPES = "list of envelopes"
    BATCH = "columns"
    TICK = "tick"


RESOURCE = ("name", "views", "emits", "open")
"""What tells a resource from anything else."""

MANY = frozenset({Shape.LIST, Shape.ENVELOPES, Shape.BATCH})
"""The shapes that take several events at a time."""


class Tick(Event, type="tropism.tick.v1", key="key"):
    """A moment at which a periodic handler is due: everything known before it has been handled."""

    key: str
    time_us: int


class Expired(Event, type="tropism.expired.v1", key="key"):
    """A state that outlived its time, handed over once before it is deleted."""

    state: str
    key: str
    value: bytes
    time_us: int


@dataclass(frozen=True, slots=True)
class Injection:
    """A parameter and what to put there."""

    parameter: str
    source: Any
    kind: Any = None
    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Handler:
    """A function, what it reacts to, what it is given, and how its failures are met."""

    name: str
    function: Callable[..., Any]
    events: tuple[type[Event], ...]
    shape: Shape
    injections: tuple[Injection, ...]
    outputs: tuple[type[Event], ...]
    retry: Retry = Retry()  # noqa: RUF009 (frozen, so one for all will do)
    guarantee: Guarantee = "effectively_once"
    timeout_seconds: float = 60.0
    batch_count_max: int = 1024
    batch_age_seconds: float = 0.0
    by: Callable[[Any], str] | None = None
    every: timedelta | None = None
    tick_key: str = ""
    expires: str | None = None
    topic: str | None = None
    many: bool = False

    @property
    def views(self) -> tuple[View, ...]:
        """Views it reads, by itself or through a resource."""
        found: list[View] = []
        for injection in self.injections:
            if isinstance(injection.source, View):
                found.append(injection.source)
            elif not isinstance(injection.source, str):
                found.extend(injection.source.views)
        return tuple(dict.fromkeys(found))

    @property
    def emits(self) -> tuple[type[Event], ...]:
        """Types of all the events that its calls may add to the log."""
        more = [
            kind
            for injection in self.injections
            if not isinstance(injection.source, View | str)
            for kind in injection.source.emits
        ]
        return tuple(dict.fromkeys((*self.outputs, *more)))


def analyse(
    function: Callable[..., Any], named: tuple[type[Event], ...] = ()
) -> tuple[tuple[type[Event], ...], Shape, tuple[Injection, ...]]:
    """Return the events, the shape and the injections that a handler's signature declares.

    Where the annotation leaves the event open (``Any`` or ``Event``), the named ones are meant.

    Raises: InvalidInputError if the first parameter is no event, or another has no ``use(...)``.
    """
    hints = _hints(function)
    parameters = list(inspect.signature(function).parameters.values())
    name = function.__qualname__
    if not parameters or parameters[0].name not in hints:
        raise InvalidInputError(
            f"Cannot handle events with {name!r}: its first parameter has no type. "
            f"Annotate it with an event, Envelope[...], list[...] or Batch[...]."
        )
    events, shape = _shape(name, hints[parameters[0].name], named)
    injections = tuple(_injection(name, p, hints) for p in parameters[1:])
    view = next((i.source for i in injections if isinstance(i.source, View)), None)
    if view is not None and shape in MANY:
        raise InvalidInputError(
            f"Cannot handle events with {name!r}: it takes several at a time, and {view!r} is read "
            f"as of one. Take one event at a time, or give the view to a model."
        )
    return events, shape, injections


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError as error:
        raise InvalidInputError(
            f"Cannot handle events with {function.__qualname__!r}: its annotations name {error.name!r}, "
            f"which is not known in its module. Define or import it there."
        ) from error


def _shape(name: str, hint: Any, named: tuple[type[Event], ...]) -> tuple[tuple[type[Event], ...], Shape]:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Envelope:
        return _events(name, arguments[0], named), Shape.ENVELOPE
    if origin is Batch:
        return _events(name, arguments[0], named), Shape.BATCH
    if origin is list and get_origin(arguments[0]) is Envelope:
        return _events(name, get_args(arguments[0])[0], named), Shape.ENVELOPES
    if origin is list:
        return _events(name, arguments[0], named), Shape.LIST
    events = _events(name, hint, named)
    return events, Shape.TICK if events == (Tick,) else Shape.ONE


def _events(name: str, hint: Any, named: tuple[type[Event], ...]) -> tuple[type[Event], ...]:
    if named and (hint is Any or hint is Event):
        return named
    union = get_origin(hint) in {Union, types.UnionType}
    found = get_args(hint) if union else (hint,)
    wrong = [kind for kind in found if not (isinstance(kind, type) and issubclass(kind, Event))]
    if wrong or hint is Event:
        raise InvalidInputError(
            f"Cannot handle events with {name!r}: {found[0]!r} is not an event type. "
            f"Annotate its first parameter with subclasses of Event."
        )
    return tuple(found)


def _injection(name: str, parameter: inspect.Parameter, hints: dict[str, Any]) -> Injection:
    default = parameter.default
    if not isinstance(default, Use):
        raise InvalidInputError(
            f"Cannot handle events with {name!r}: parameter {parameter.name!r} says nothing to inject. "
            f"Give it a default such as use(view), use(model) or use('state')."
        )
    if isinstance(default.source, View) or all(hasattr(default.source, name) for name in RESOURCE):
        return Injection(parameter.name, default.source)
    if not isinstance(default.source, str):
        raise InvalidInputError(
            f"Cannot handle events with {name!r}: {default.source!r} cannot be injected. "
            f"Give use(...) a view, a model, or the name of a state."
        )
    hint = hints.get(parameter.name)
    if get_origin(hint) is not State:
        raise InvalidInputError(
            f"Cannot handle events with {name!r}: state {default.source!r} has no type. "
            f"Annotate {parameter.name!r} as State[...]."
        )
    return Injection(parameter.name, default.source, get_args(hint)[0], default.ttl)


def output_types(function: Callable[..., Any], emits: Sequence[type[Event]] = ()) -> tuple[type[Event], ...]:
    """Return the event types that a handler's return annotation names, and those named beside it.

    Raises: InvalidInputError if the annotation leaves the event open, and nothing else names one.
    """
    found = tuple(dict.fromkeys((*_walk(_hints(function).get("return")), *emits)))
    if found == (Event,):
        raise InvalidInputError(
            f"Cannot handle events with {function.__qualname__!r}: its return type says Event, which may "
            f"be any. Name the events there, or in emits=[...]."
        )
    return tuple(kind for kind in found if kind is not Event)


def _walk(hint: Any) -> Iterator[type[Event]]:
    if isinstance(hint, type) and issubclass(hint, Event):
        yield hint
    elif hint is Output:
        return
    else:
        for argument in get_args(hint):
            yield from _walk(argument)


async def collect(result: Any) -> list[Output]:
    """Return all that a call gave back, whether returned, awaited or yielded."""
    if type(result) is types.CoroutineType:
        result = await result
    if result is None:
        return []
    if isinstance(result, Event):
        return [Output(result)]
    if inspect.isawaitable(result):
        return await collect(await result)
    if isinstance(result, AsyncIterator):
        return [_output(item) async for item in result]
    if isinstance(result, Output):
        return [result]
    if isinstance(result, Iterable):
        return [_output(item) for item in result]
    return [_output(result)]


def _output(item: Any) -> Output:
    if isinstance(item, Output):
        return item
    if isinstance(item, Event):
        return Output(item)
    raise InvalidInputError(
        f"Cannot publish what a handler returned: {type(item).__name__!r} is not an event. "
        f"Return events, a list of events, or None."
    )


def check_outputs(handler: Handler, outputs: Sequence[Output]) -> None:
    """Refuse an event that the handler's signature does not announce.

    Raises: InvalidInputError.
    """
    for output in outputs:
        if not isinstance(output.event, handler.outputs):
            raise InvalidInputError(
                f"Cannot publish {type(output.event).__name__!r} from {handler.name!r}: its return type "
                f"names {[kind.__name__ for kind in handler.outputs]}. Add the event there."
            )
