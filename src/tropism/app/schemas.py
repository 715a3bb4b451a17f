"""The schemas of an app: what it declares, and their registration when it starts."""

from collections.abc import Iterable, Mapping
from typing import Any

from tropism.core.codec import Codec
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.core.schema.modes import check_mode
from tropism.ports.platform import Platform
from tropism.runtime.schemas import Declared, SchemaRegistered, declared, register

DEFAULT = "backward"


def modes_of(compatibility: str | Mapping[Any, str]) -> tuple[dict[str, str], str]:
    """Return the modes of single types, by name, and that of all others.

    Raises: InvalidInputError for a mode that does not exist, or a key that names no type.
    """
    if isinstance(compatibility, str):
        return {}, check_mode(compatibility)
    found: dict[str, str] = {}
    for kind, mode in compatibility.items():
        name = kind if isinstance(kind, str) else getattr(kind, "event_type", None)
        if not name:
            raise InvalidInputError(
                f"Cannot set the compatibility of {kind!r}: it is no event type. Name a type, or its class."
            )
        found[name] = check_mode(mode)
    return found, DEFAULT


def declared_by(
    name: str, types: Iterable[type[Event]], compatibility: str | Mapping[Any, str]
) -> list[Declared]:
    """Return the schemas that an app declares, each with its mode. Raises: InvalidInputError."""
    modes, default = modes_of(compatibility)
    found = declared(types, modes, default)
    unknown = sorted(modes.keys() - {each.event_type for each in found})
    if unknown:
        raise InvalidInputError(
            f"Cannot set the compatibility of {unknown[0]!r}: app {name!r} has no such event type. "
            f"Name one of {[each.event_type for each in found]}."
        )
    return found


async def register_schemas(
    platform: Platform, name: str, codec: Codec, compatibility: str | Mapping[Any, str]
) -> list[SchemaRegistered]:
    """Add to the log's registry what is new of an app's event types, before it handles any event.

    Raises: InvalidInputError if a type changed so that its mode forbids it.
    """
    types = declared_by(name, codec.types.values(), compatibility)
    return await register(platform, name, types) if types else []
