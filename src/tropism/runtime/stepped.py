"""What steps, and the functions that they call, say of themselves."""

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any, TypeVar, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary, ref

from tropism.core.errors import InvalidInputError
from tropism.runtime.pace import Provider

KEY = "idempotency_key"
"""The parameter in which a step's function is given the step's key."""

NAMES_MAX = 1000
"""So many names are checked once; a program that makes up more has them checked each time."""

_AWAITED = {Awaitable: 0, Coroutine: 2}


@dataclass(frozen=True, slots=True)
class Function:
    """The type of what a function gives (Any where that is open), and whether it takes a key."""

    returns: Any
    takes_key: bool

    def more(self, scope: str, step: str, given: Mapping[str, Any]) -> dict[str, str]:
        """Return a step's key as an argument, where it is asked for and not given."""
        if not self.takes_key or KEY in given:
            return {}
        return {KEY: idempotency_key(scope, step)}


@dataclass(frozen=True, slots=True)
class Step:
    """A step's name, and what more there is to say of it.

    ``returns`` is the type of its result, where the function that is called does not say it. ``provider``
    is what it calls: it waits for its turn there, and when the answer is that it is busy, the handler's event
    is put off.
    """

    name: str
    returns: Any = None
    provider: Provider | None = None

    def __post_init__(self) -> None:
        """Refuse names that could not be stored."""
        if not self.name or not all(c.isalnum() or c in "-_." for c in self.name):
            raise InvalidInputError(
                f"Cannot name a step {self.name!r}: it may hold letters, digits, '-', '_' and '.'. "
                f"Choose a name such as 'charge'."
            )


class Functions:
    """What is known of functions, read once for each that lives on, and of the names of steps."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, Function] = WeakKeyDictionary()
        self._named: dict[str, Step] = {}
        self._last: tuple[Callable[[], Any], Function | None] = (lambda: None), None

    def step(self, step: str | Step) -> Step:
        """Return a step, also where only its name is given. Raises: InvalidInputError."""
        if isinstance(step, Step):
            return step
        known = self._named.get(step)
        if known is None:
            known = Step(step)
            if len(self._named) < NAMES_MAX:
                self._named[step] = known
        return known

    def of(self, call: Callable[..., Any]) -> Function:
        """Return what a function says. Raises: InvalidInputError if its annotations cannot be read."""
        # A bound method is made anew whenever it is asked for; what it says is its function's.
        source = getattr(call, "__func__", call)
        last, known = self._last
        if last() is source and known is not None:
            return known
        try:
            known = self._known.get(source)
            if known is None:
                known = self._known[source] = _read(source)
            # Most steps call what the step before them called, and to look it up takes longer than this.
            self._last = ref(source), known
        except TypeError:
            known = _read(source)
        return known


def idempotency_key(scope: str, step: str) -> str:
    """Return the key of a step: the same on every attempt, and after a redrive."""
    return blake2b(f"{scope}\n{step}".encode(), digest_size=16).hexdigest()


def _read(call: Any) -> Function:
    target = call
    while isinstance(target, partial):
        target = target.func
    if not inspect.isroutine(target) and not isinstance(target, type):
        target = type(target).__call__
    try:
        takes_key = KEY in inspect.signature(call).parameters
    except (TypeError, ValueError):
        takes_key = False
    try:
        return Function(_awaited(get_type_hints(target).get("return", Any)), takes_key)
    except NameError as error:
        raise InvalidInputError(
            f"Cannot run a step by {target.__qualname__!r}: its annotations name {error.name!r}, which is "
            f"not known in its module. Define or import it there."
        ) from error
    except TypeError:
        return Function(Any, takes_key)


def _awaited(hint: Any) -> Any:
    """Return the type of a result; what a plain function promises to be awaited is what that gives."""
    origin, arguments = get_origin(hint), get_args(hint)
    at = _AWAITED.get(origin) if origin is not None else None
    if at is not None and len(arguments) > at:
        hint = arguments[at]
    return Any if isinstance(hint, TypeVar) else hint
