"""The JSON Schema of what a pydantic model accepts, exactly where pydantic's own leaves things open.

Its own tells a Decimal as any text of any length, times alike with and without a zone and before or after
now, and keys of mappings mostly not.
"""

from importlib import import_module
from typing import Any

from tropism.core.schema.bounds import DECIMALS, DIGITS
from tropism.core.schema.structs import Schema, key_schema, zoned

_ZONES = {"aware": True, "naive": False}


def pydantic_schema(kind: type) -> Schema:
    """Return the JSON Schema of a pydantic class. Raises: what pydantic does for what has none."""
    # Whoever has such a class has pydantic: only here is it asked for itself.
    base = import_module("pydantic.json_schema").GenerateJsonSchema
    generator = type("ExactSchema", (base,), {name: _overriding(base, name) for name in _EXACT})
    adapter = import_module("pydantic").TypeAdapter(kind)
    schema: Schema = adapter.json_schema(mode="validation", schema_generator=generator)
    return schema


def _overriding(base: Any, name: str) -> Any:
    def method(self: Any, core: Any) -> Schema:
        return _EXACT[name](self, core, getattr(base, name)(self, core))

    return method


def _decimal(_: Any, core: Any, schema: Schema) -> Schema:
    # Also where there are none: schemas of before these words were told can then be known by their absence.
    told = {DIGITS: core.get("max_digits"), DECIMALS: core.get("decimal_places")}
    for each in schema.get("anyOf", [schema]):
        each.update(told | ({"format": "decimal"} if each.get("type") == "string" else {}))
    return schema


def _date(_: Any, core: Any, schema: Schema) -> Schema:
    return schema | ({"x-must-be": core["now_op"]} if core.get("now_op") else {})


def _complex(_: Any, __: Any, schema: Schema) -> Schema:
    return schema | {"format": "complex"}


def _datetime(_: Any, core: Any, schema: Schema) -> Schema:
    return _timed("date-time", core, schema)


def _time(_: Any, core: Any, schema: Schema) -> Schema:
    return _timed("time", core, schema)


def _timed(format: str, core: Any, schema: Schema) -> Schema:
    told = _date(None, core, schema)
    rest = {word: value for word, value in told.items() if word not in {"type", "format"}}
    return {**rest, **zoned(format, _ZONES.get(str(core.get("tz_constraint"))))}


def _dict(self: Any, core: Any, schema: Schema) -> Schema:
    if "keys_schema" not in core or "propertyNames" in schema or "patternProperties" in schema:
        return schema
    names = key_schema(self.generate_inner(core["keys_schema"]))
    return schema | ({"propertyNames": names} if names.keys() - {"title"} else {})


_EXACT = {
    "date_schema": _date,
    "complex_schema": _complex,
    "decimal_schema": _decimal,
    "datetime_schema": _datetime,
    "time_schema": _time,
    "dict_schema": _dict,
}
