"""A typed, immutable fact."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

import msgspec

from tropism.core.errors import InvalidInputError
from tropism.core.forms import field_names, is_frozen, is_pydantic
from tropism.core.upcast import Upcast, chains

C = TypeVar("C", bound=type)

_OURS = ("event_type", "event_key", "event_topic", "event_upcasts")

if TYPE_CHECKING:
    # msgspec takes class keywords in a metaclass, which type checkers cannot follow:
    # they see this twin, which declares the same construction and the same keywords.
    @dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
    class Event:
        """A typed, immutable fact: subclass it with a stable type name and a key field."""

        event_type: ClassVar[str]
        event_key: ClassVar[str | None]
        event_topic: ClassVar[str]
        event_upcasts: ClassVar[tuple[Upcast, ...]]

        def __init_subclass__(
            cls,
            *,
            type: str | None = None,
            key: str | None = None,
            upcasts: Sequence[Upcast] = (),
            gc: bool = True,
        ) -> None: ...

else:

    class _EventMeta(msgspec.StructMeta):
        def __new__(mcls, name, bases, namespace, *, type=None, key=None, upcasts=(), **options):
            cls = super().__new__(mcls, name, bases, namespace, **{"frozen": True, **options})
            if any(isinstance(base, _EventMeta) for base in bases):
                _name_type(cls, type, key, upcasts)
            return cls

    class Event(msgspec.Struct, metaclass=_EventMeta, frozen=True):
        """A typed, immutable fact: subclass it with a stable type name and a key field.

        ``class Paid(Event, type="orders.paid.v1", key="order_id")`` stores facts under the name
        ``orders.paid.v1``, in the topic ``orders``, ordered per ``order_id``. The type name is what
        is stored: the class may be renamed and moved. Without a key, facts are spread and unordered.
        ``upcasts`` are the steps by which events of older types are read as this one.
        """

    Event.event_type = ""
    Event.event_key = None
    Event.event_topic = ""
    Event.event_upcasts = ()


def event(*, type: str, key: str | None = None, upcasts: Sequence[Upcast] = ()) -> Callable[[C], C]:
    """Make a frozen dataclass or pydantic model an event: ``@event(type="orders.paid.v1", key="order_id")``.

    The class stays what it is; it is known by the same names as a subclass of `Event`, and serves wherever
    one does.

    Raises: InvalidInputError if it is neither of these, may be changed, or lacks the key.
    """

    def name(cls: C) -> C:
        found: Any = cls
        if not (dataclasses.is_dataclass(found) or is_pydantic(cls)):
            raise InvalidInputError(
                f"Cannot make {cls.__name__!r} an event: it is no dataclass and no pydantic model. "
                f'Write class {cls.__name__}(Event, type="domain.fact.v1", key="...").'
            )
        if not is_frozen(cls):
            raise InvalidInputError(
                f"Cannot make {cls.__name__!r} an event: its fields can be changed, and a fact cannot. "
                f"Write @dataclass(frozen=True), or class {cls.__name__}(BaseModel, frozen=True)."
            )
        _name_type(cls, type, key, upcasts)
        return cls

    return name


def is_event_type(kind: Any) -> bool:
    """Say whether a class is one of events: a subclass of `Event` with a name, or made one by `event`."""
    return isinstance(kind, type) and bool(getattr(kind, "event_type", ""))


def _name_type(cls: Any, type: str | None, key: str | None, upcasts: Sequence[Upcast]) -> None:
    name = type if type is not None else getattr(cls, "event_type", "")
    topic, dot, rest = name.partition(".")
    if not (topic and dot and rest) or not all(c.isalnum() or c in "._-" for c in name):
        raise InvalidInputError(
            f"Cannot define event {cls.__name__!r}: its type {name!r} is not of the form 'domain.fact.v1'. "
            f'Write class {cls.__name__}(Event, type="domain.fact.v1", key="...").'
        )
    field = key if key is not None else getattr(cls, "event_key", None)
    if field is not None and field not in field_names(cls):
        raise InvalidInputError(
            f"Cannot define event {cls.__name__!r}: its key {field!r} is not one of its fields "
            f"{list(field_names(cls))}. Name a field as the key."
        )
    taken = [each for each in _OURS if hasattr(cls.__dict__.get(each), "__set__")]
    if taken:
        raise InvalidInputError(
            f"Cannot define event {cls.__name__!r}: its field {taken[0]!r} has the name of what the class is "
            f"known by. Give the field another name."
        )
    chains(name, upcasts)
    cls.event_type, cls.event_key, cls.event_topic = name, field, topic
    cls.event_upcasts = tuple(upcasts)


def key_of(event: Any) -> str:
    """Return the key under which an event is ordered; empty where its type has none."""
    field = type(event).event_key
    return "" if field is None else str(getattr(event, field))


def topic_of(event_type: str) -> str:
    """Return the topic of an event type: its domain, the part before the first dot."""
    return event_type.partition(".")[0]
