"""Old facts read as new ones: pure functions from what was stored to what a type declares today."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tropism.core.errors import InvalidInputError

Step = Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Upcast:
    """One step from an event type to the next: its function takes the old fields and gives the new ones.

    It stays callable as the function that it is, so that it can be tested alone.
    """

    old: str
    new: str
    function: Step

    def __call__(self, old: dict[str, Any]) -> Mapping[str, Any]:
        """Return the new fields of an event."""
        return self.function(old)

    @property
    def name(self) -> str:
        """What the function is called."""
        return getattr(self.function, "__qualname__", type(self.function).__name__)


def upcasts(old: str | type, *, to: str | type) -> Callable[[Step], Upcast]:
    """Make a pure function the step by which events of an old type are read as those of a newer one.

    ``@upcasts("orders.paid.v1", to="orders.paid.v2")`` over ``def add_currency(old): ...`` gives what the
    newest class names in ``upcasts=[add_currency]``. A class may stand for its type's name.
    """
    return lambda function: Upcast(_name_of(old), _name_of(to), function)


def _name_of(kind: str | type) -> str:
    return kind if isinstance(kind, str) else str(getattr(kind, "event_type", kind.__name__))


def chains(event_type: str, steps: Sequence[Upcast]) -> dict[str, tuple[Upcast, ...]]:
    """Return, for every old type name, the steps that lead from it to an event type.

    Raises: InvalidInputError if a name has two ways on, leads nowhere, or lies in another topic.
    """
    by_old: dict[str, Upcast] = {}
    for step in steps:
        if by_old.setdefault(step.old, step) is not step:
            raise _refused(event_type, step, f"{by_old[step.old].name!r} does so already")
        if step.old.partition(".")[0] != event_type.partition(".")[0]:
            raise _refused(event_type, step, f"{step.old!r} lies in another topic")
    return {old: _chain(event_type, step, by_old) for old, step in by_old.items()}


def _chain(event_type: str, first: Upcast, by_old: Mapping[str, Upcast]) -> tuple[Upcast, ...]:
    chain = [first]
    while chain[-1].new != event_type:
        following = by_old.get(chain[-1].new)
        if following is None or following in chain:
            raise _refused(event_type, first, f"{chain[-1].new!r} leads nowhere")
        chain.append(following)
    if first.old == event_type:
        raise _refused(event_type, first, f"{first.old!r} is what it is to become")
    return tuple(chain)


def _refused(event_type: str, step: Upcast, fact: str) -> InvalidInputError:
    return InvalidInputError(
        f"Cannot upcast {step.old!r} with {step.name!r}: {fact}. "
        f"Name steps that lead, one by one, to {event_type!r}."
    )


def upcast(data: bytes, steps: Sequence[Upcast]) -> bytes:
    """Return a payload after some steps.

    Raises: msgspec.ValidationError if the payload is no object, or a step fails; the text names the step and
    never the payload.
    """
    try:
        fields: Any = msgspec.json.decode(data)
    except RecursionError:
        raise msgspec.ValidationError("the payload is nested too deeply") from None
    for step in steps:
        if not isinstance(fields, dict):
            raise msgspec.ValidationError(f"upcast {step.name!r} was given no object")
        try:
            fields = dict(step(fields))
        except Exception as error:
            raise msgspec.ValidationError(
                f"upcast {step.name!r} from {step.old!r} to {step.new!r} raised {_told(error, data)}"
            ) from error
    try:
        return msgspec.json.encode(fields)
    except (TypeError, ValueError, RecursionError) as error:
        raise msgspec.ValidationError(f"upcast {steps[-1].name!r} gave what is no JSON") from error


def _told(error: Exception, data: bytes) -> str:
    """Return what a step raised: which key it missed, where that is not out of the payload itself."""
    key = error.args[0] if isinstance(error, KeyError) and error.args else None
    if isinstance(key, str) and key.encode(errors="replace") not in data:
        return f"KeyError: {key!r}"
    return type(error).__name__
