"""A typed, immutable fact."""

from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

import msgspec

from tropism.core.errors import InvalidInputError

if TYPE_CHECKING:
    # msgspec takes class keywords in a metaclass, which type checkers cannot follow:
    # they see this twin, which declares the same construction and the same keywords.
    @dataclass_transform(frozen_default=True, field_specifiers=(msgspec.field,))
    class Event:
        """A typed, immutable fact: subclass it with a stable type name and a key field."""

        event_type: ClassVar[str]
        event_key: ClassVar[str | None]
        event_topic: ClassVar[str]

        def __init_subclass__(cls, *, type: str | None = None, key: str | None = None) -> None: ...

else:

    class _EventMeta(msgspec.StructMeta):
        def __new__(mcls, name, bases, namespace, *, type=None, key=None, **options):
            cls = super().__new__(mcls, name, bases, namespace, **{"frozen": True, **options})
            if any(isinstance(base, _EventMeta) for base in bases):
                _name_type(cls, type, key)
            return cls

    class Event(msgspec.Struct, metaclass=_EventMeta, frozen=True):
        """A typed, immutable fact: subclass it with a stable type name and a key field.

        ``class Paid(Event, type="orders.paid.v1", key="order_id")`` stores facts under the name
        ``orders.paid.v1``, in the topic ``orders``, ordered per ``order_id``. The type name is what
        is stored: the class may be renamed and moved. Without a key, facts are spread and unordered.
        """

    Event.event_type = ""
    Event.event_key = None
    Event.event_topic = ""


def _name_type(cls: Any, type: str | None, key: str | None) -> None:
    name = type if type is not None else cls.event_type
    topic, dot, rest = name.partition(".")
    if not (topic and dot and rest) or not all(c.isalnum() or c in "._-" for c in name):
        raise InvalidInputError(
            f"Cannot define event {cls.__name__!r}: its type {name!r} is not of the form 'domain.fact.v1'. "
            f'Write class {cls.__name__}(Event, type="domain.fact.v1", key="...").'
        )
    field = key if key is not None else cls.event_key
    if field is not None and field not in cls.__struct_fields__:
        raise InvalidInputError(
            f"Cannot define event {cls.__name__!r}: its key {field!r} is not one of its fields "
            f"{list(cls.__struct_fields__)}. Name a field as the key."
        )
    cls.event_type, cls.event_key, cls.event_topic = name, field, topic


def key_of(event: Event) -> str:
    """Return the key under which an event is ordered; empty where its type has none."""
    field = type(event).event_key
    return "" if field is None else str(getattr(event, field))


def topic_of(event_type: str) -> str:
    """Return the topic of an event type: its domain, the part before the first dot."""
    return event_type.partition(".")[0]
