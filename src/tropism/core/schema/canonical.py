"""One text for one schema, however its generator ordered and named things."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from tropism.core.forms import is_pydantic
from tropism.core.schema.models import pydantic_schema
from tropism.core.schema.structs import struct_schema

Schema = dict[str, Any]

ANNOTATIONS = frozenset(
    {"title", "description", "examples", "deprecated", "readOnly", "writeOnly", "$comment"}
)
"""Words that tell people something, and decoders nothing."""

MAPS = ("properties", "patternProperties")
LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
SINGLES = ("items", "additionalProperties", "propertyNames", "not")
REF = "#/$defs/"

_ENCODE = msgspec.json.Encoder(order="deterministic").encode


def schema_of(kind: type) -> Schema:
    """Return the canonical JSON Schema of an event class: what it accepts, and so what may lie in a log.

    Classes within are named by the order in which they are met, so that renaming one changes nothing.

    Raises: InvalidInputError if a field has a type that cannot be described.
    """
    found = pydantic_schema(kind) if is_pydantic(kind) else struct_schema(kind)
    return canonical(found)


def canonical(schema: Schema) -> Schema:
    """Return a schema with its definitions renamed, its lists in order, and without words for people."""
    return _Renaming(schema.get("$defs", {})).whole(schema)


def digest_of(schema: Schema) -> str:
    """Return what tells a canonical schema from every other."""
    return sha256(_ENCODE(schema)).hexdigest()[:32]


def text_of(schema: Schema) -> str:
    """Return a canonical schema as text, the same in every process."""
    return _ENCODE(schema).decode()


class _Renaming:
    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._given = definitions
        self._names: dict[str, str] = {}

    def whole(self, schema: Schema) -> Schema:
        """Return a schema and what it refers to."""
        root: Schema = self.one({word: value for word, value in schema.items() if word != "$defs"})
        found: dict[str, Schema] = {}
        while len(found) < len(self._names):
            old = list(self._names)[len(found)]
            found[self._names[old]] = self.one(self._given[old])
        return root | ({"$defs": found} if found else {})

    def one(self, schema: Any) -> Any:
        if not isinstance(schema, dict):
            return schema
        found: Schema = {}
        for word in sorted(schema.keys() - ANNOTATIONS):
            value = schema[word]
            if word in MAPS:
                found[word] = {name: self.one(value[name]) for name in sorted(value)}
            elif word in LISTS:
                found[word] = [self.one(each) for each in value]
            elif word in SINGLES:
                found[word] = self.one(value)
            else:
                found[word] = _WORDS.get(word, _same)(value)
        if str(found.get("$ref", "")).startswith(REF):
            found["$ref"] = REF + self._name(found["$ref"].removeprefix(REF))
        return found

    def _name(self, old: str) -> str:
        return self._names.setdefault(old, f"d{len(self._names)}")


def _same(value: Any) -> Any:
    return value


_WORDS: dict[str, Callable[[Any], Any]] = {
    "required": sorted,
    "enum": lambda values: sorted(values, key=_ENCODE),
    # Where each tag leads is told by the alternatives themselves.
    "discriminator": lambda told: {"propertyName": told["propertyName"]},
}
