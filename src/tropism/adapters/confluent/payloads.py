"""What a format does: payloads of one schema to JSON values and back."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from tropism.adapters.confluent.registry import Registered, SchemaRegistry


class Misfit(ValueError):  # noqa: N818 (it is a fact about a value, which its catcher makes an error of)
    """A value that a schema has no place for; the text names the field and never the value."""


class Payloads(Protocol):
    """Encodes and decodes the payloads of one schema."""

    @property
    def name(self) -> str:
        """What the schema calls the record."""
        ...

    def decode(self, payload: bytes) -> tuple[str, Any]:
        """Return what the record is called, and its value. Raises: ValueError if the bytes do not fit."""
        ...

    def encode(self, value: Any, event_type: str) -> bytes:
        """Return a value as the payload. Raises: Misfit."""
        ...


class Format(NamedTuple):
    """A format by its name in the registry and as a content type, and how its schemas are made use of."""

    type: str
    content_type: str
    open: Callable[[Registered, SchemaRegistry], Payloads]
