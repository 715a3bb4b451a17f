"""Avro payloads as JSON values: by fastavro, with logical types as JSON writes them."""

import io
import json
from typing import Any

import fastavro
from fastavro.types import Schema as Parsed

from tropism.adapters.confluent.avro_values import fitted, name_of
from tropism.adapters.confluent.payloads import Format, Misfit
from tropism.adapters.confluent.registry import Registered, SchemaRegistry


class AvroPayloads:
    """The payloads of one Avro schema."""

    def __init__(self, schema: Parsed, named: dict[str, Any]) -> None:
        self._schema = schema
        self._named = named
        self.name = name_of(schema)

    def decode(self, payload: bytes) -> tuple[str, Any]:
        """Return what the record is called, and its value. Raises: ValueError."""
        buffer = io.BytesIO(payload)
        try:
            value = fastavro.schemaless_reader(buffer, self._schema, None)
        except Exception as error:
            raise ValueError(f"the bytes do not fit the schema {self.name!r}") from error
        if buffer.tell() != len(payload):
            raise ValueError(f"there are more bytes than the schema {self.name!r} has fields for")
        return self.name, value

    def encode(self, value: Any, event_type: str) -> bytes:
        """Return a value as the payload. Raises: Misfit."""
        schema: Any = self._schema
        if isinstance(schema, list):
            chosen = [each for each in schema if name_of(each) == event_type]
            # Of several records, the one that is called as the event is.
            schema = chosen[0] if chosen else schema
        found = fitted(schema, value, self._named, "$")
        if schema is not self._schema and not isinstance(found, tuple):
            found = (name_of(schema), found)
        buffer = io.BytesIO()
        try:
            fastavro.schemaless_writer(buffer, self._schema, found)
        except Exception as error:
            raise Misfit(f"it does not fit the schema {self.name!r}") from error
        return buffer.getvalue()


def open_avro(registered: Registered, registry: SchemaRegistry) -> AvroPayloads:
    """Return what encodes and decodes by a registered schema. Raises: ValueError if it is no Avro schema."""
    named: dict[str, Any] = {}
    _learn(registered, registry, named)
    try:
        schema = fastavro.parse_schema(json.loads(registered.text), named_schemas=named)
    except Exception as error:
        raise ValueError(f"schema {registered.id} is no valid Avro schema") from error
    return AvroPayloads(schema, named)


def _learn(registered: Registered, registry: SchemaRegistry, named: dict[str, Any]) -> None:
    """Parse what a schema builds upon, the deepest first."""
    for reference in registered.references:
        if reference.name not in named:
            found = registry.version(reference.subject, reference.version)
            _learn(found, registry, named)
            fastavro.parse_schema(json.loads(found.text), named_schemas=named)


AVRO = Format("AVRO", "application/avro", open_avro)
