"""How classes become JSON and come back: Structs, dataclasses, and pydantic models.

A pydantic model brings its own validator and serializer, so it is asked, and pydantic is never imported here.
"""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import msgspec

from tropism.core.errors import InvalidInputError

_ENCODE = msgspec.json.Encoder().encode

_TOLD_BY_PYDANTIC = (
    "missing", "extra_forbidden", "enum", "literal_error", "string_pattern_mismatch", "multiple_of",
)  # fmt: skip
_TOLD_ENDINGS = ("_type", "_than", "_equal", "_short", "_long")


class Form(NamedTuple):
    """What encodes and decodes one class; ``decode`` raises nothing but what msgspec raises."""

    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes]


class Field(NamedTuple):
    """A field as its class declares it."""

    name: str
    type: Any
    required: bool


def is_pydantic(kind: type) -> bool:
    """Say whether a class is validated by pydantic."""
    return hasattr(kind, "__pydantic_validator__")


def form_of(kind: type) -> Form:
    """Return how a class is encoded and decoded. Raises: InvalidInputError if it declares what cannot be."""
    if is_pydantic(kind):
        return _pydantic_form(kind)
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(kind).decode
    return Form(_contained(kind, decode) if hasattr(kind, "__post_init__") else decode, _ENCODE)


def encoded(instance: Any) -> bytes:
    """Return an instance of such a class as JSON, as its class is written."""
    kind = type(instance)
    return _pydantic_form(kind).encode(instance) if is_pydantic(kind) else _ENCODE(instance)


def fields_of(kind: Any) -> tuple[Field, ...]:
    """Return the fields of a class."""
    if hasattr(kind, "__struct_fields__"):
        return tuple(Field(f.name, f.type, f.required) for f in msgspec.structs.fields(kind))
    if hasattr(kind, "model_fields"):
        return tuple(Field(n, f.annotation, f.is_required()) for n, f in kind.model_fields.items())
    return tuple(Field(f.name, f.type, _is_required(f)) for f in dataclasses.fields(kind))


def field_names(kind: Any) -> tuple[str, ...]:
    """Return the names of a class's fields; it may not be whole yet."""
    names: tuple[str, ...] | None = getattr(kind, "__struct_fields__", None)
    return tuple(field.name for field in fields_of(kind)) if names is None else names


def convert(values: dict[str, Any], kind: Any) -> Any:
    """Return an instance made of values that may be text where the class wants something else.

    Raises: msgspec.ValidationError.
    """
    if is_pydantic(kind):
        # A row brings fields by their names, whatever they are called in JSON.
        validate = kind.__pydantic_validator__.validate_python
        return _contained(kind, lambda found: validate(found, by_alias=True, by_name=True))(values)
    return msgspec.convert(values, kind, strict=False)


def is_frozen(kind: Any) -> bool:
    """Say whether the fields of a dataclass or a pydantic model stay as they are."""
    parameters = getattr(kind, "__dataclass_params__", None)
    if parameters is not None:
        return bool(parameters.frozen)
    return bool(getattr(kind, "model_config", {}).get("frozen"))


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _pydantic_form(kind: Any) -> Form:
    try:
        if not getattr(kind, "__pydantic_complete__", True):
            kind.model_rebuild()
        validate, serialize = kind.__pydantic_validator__.validate_json, kind.__pydantic_serializer__.to_json
    except Exception as error:
        raise InvalidInputError(
            f"Cannot use event type {kind.event_type!r}: {kind.__name__} is not whole, "
            f"{type(error).__name__}. Define what its annotations name before the app."
        ) from error

    def encode(event: Any) -> bytes:
        # What does not fit is told when the bytes are read back, not by a warning.
        data: bytes = serialize(event, by_alias=True, warnings="none")
        return data

    return Form(_contained(kind, validate), encode)


def _contained(kind: Any, call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a decoder whose class runs code of its own: what that raises says that the payload is wrong."""

    def decode(data: Any) -> Any:
        try:
            return call(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise
        except Exception as error:  # noqa: BLE001 (a validator may raise anything, and must stop no service)
            told = _told(kind, error)
        # Outside of the handler, so that no payload hangs on to it.
        raise msgspec.ValidationError(told)

    return decode


def _told(kind: Any, error: Any) -> str:
    if is_pydantic(kind) and hasattr(error, "errors"):
        found = error.errors(include_url=False, include_context=False, include_input=False)[0]
        last = len(found["loc"]) - 1 if found["type"] == "extra_forbidden" else -1
        names = _names_in(kind)
        place = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" if part in names or at == last else "[...]"
            for at, part in enumerate(found["loc"])
        )
        return f"{_words(found['type'], found['msg'])} - at `${place}`"
    return f"{kind.__name__} refused it with {type(error).__name__}"


@cache
def _names_in(kind: type) -> frozenset[str]:
    """Return the names of all fields within a pydantic class: other parts of a place come from a payload."""
    from tropism.core.schema.models import pydantic_schema  # noqa: PLC0415 (wanted for bad events alone)

    schema = pydantic_schema(kind)
    parts = (schema, *schema.get("$defs", {}).values())
    return frozenset(name for part in parts for name in part.get("properties", {}))


def _words(type: str, message: str) -> str:
    """Return what is wrong, in pydantic's words where these repeat no value of the payload."""
    if type in _TOLD_BY_PYDANTIC or type.endswith(_TOLD_ENDINGS):
        return message
    return type.replace("_", " ").capitalize()
