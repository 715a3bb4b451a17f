"""The JSON Schema of what msgspec decodes, exactly: a checker of compatibility stands on it.

msgspec's own generator tells a ``datetime`` without a zone as a plain string, and the keys of a mapping not
at all, so that a change of them would look harmless.
"""

from collections.abc import Iterator
from typing import Any, get_origin

import msgspec
from msgspec import NODEFAULT
from msgspec import inspect as mi

from tropism.core.errors import InvalidInputError
from tropism.core.schema.bounds import DECIMALS, DIGITS, MAX_BYTES, MIN_BYTES

Schema = dict[str, Any]

_REF = "#/$defs/"
_PLAIN: dict[type, Schema] = {
    mi.AnyType: {},
    mi.RawType: {},
    mi.NoneType: {"type": "null"},
    mi.BoolType: {"type": "boolean"},
    mi.DateType: {"type": "string", "format": "date"},
    mi.TimeDeltaType: {"type": "string", "format": "duration"},
    mi.UUIDType: {"type": "string", "format": "uuid"},
    mi.DecimalType: {"type": "string", "format": "decimal", DIGITS: None, DECIMALS: None},
}
_BOUNDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
_LENGTHS = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "object": ("minProperties", "maxProperties"),
}


def struct_schema(kind: type) -> Schema:
    """Return the JSON Schema of a Struct or dataclass. Raises: InvalidInputError for what has none."""
    drawn = _Drawing()
    schema = drawn.draw(mi.type_info(kind))
    return {**schema, "$defs": drawn.definitions}


class _Drawing:
    """One schema in the making: classes are defined once, by name, so that they may be recursive."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self._names: dict[Any, str] = {}

    def draw(self, info: Any) -> Schema:
        """Return the schema of a type."""
        if isinstance(info, mi.Metadata):
            return {**self.draw(info.type), **(info.extra_json_schema or {})}
        if type(info) in _PLAIN:
            return dict(_PLAIN[type(info)])
        if isinstance(info, mi.IntType | mi.FloatType):
            return _number(info)
        if isinstance(info, mi.StrType):
            return _sized("string", info) | ({} if info.pattern is None else {"pattern": info.pattern})
        if isinstance(info, mi.BytesType | mi.ByteArrayType | mi.MemoryViewType):
            return _bytes(info)
        if isinstance(info, mi.DateTimeType | mi.TimeType):
            return zoned("time" if isinstance(info, mi.TimeType) else "date-time", info.tz)
        return self._composed(info)

    def _composed(self, info: Any) -> Schema:
        if isinstance(info, mi.LiteralType):
            return {"enum": list(info.values)}
        if isinstance(info, mi.EnumType):
            return {"enum": [member.value for member in info.cls]}
        if isinstance(info, mi.UnionType):
            return self._union(info)
        return self._container(info)

    def _container(self, info: Any) -> Schema:
        if isinstance(info, mi.CollectionType):
            unique = {"uniqueItems": True} if isinstance(info, mi.SetType | mi.FrozenSetType) else {}
            return _sized("array", info) | {"items": self.draw(info.item_type)} | unique
        if isinstance(info, mi.TupleType):
            return _tuple([self.draw(each) for each in info.item_types], len(info.item_types))
        if isinstance(info, mi.DictType):
            names = key_schema(self.draw(info.key_type))
            values = _sized("object", info) | {"additionalProperties": self.draw(info.value_type) or True}
            return values | ({"propertyNames": names} if names else {})
        if isinstance(info, mi.StructType | mi.DataclassType | mi.TypedDictType | mi.NamedTupleType):
            return {"$ref": f"{_REF}{self._define(info)}"}
        told = getattr(getattr(info, "cls", None), "__name__", type(info).__name__)
        raise InvalidInputError(
            f"Cannot describe a field of type {told!r}: it has no JSON Schema. Choose one that msgspec knows."
        )

    def _union(self, info: mi.UnionType) -> Schema:
        tags = {each.tag_field for each in _structs(info) if each.tag_field is not None}
        found: Schema = {"anyOf": [self.draw(each) for each in info.types]}
        if len(tags) == 1 and len(list(_structs(info))) > 1:
            found["discriminator"] = {"propertyName": tags.pop()}
        return found

    def _define(self, info: Any) -> str:
        known = self._names.get(info.cls)
        if known is not None:
            return known
        base = getattr(get_origin(info.cls) or info.cls, "__name__", "Type")
        name, number = base, 1
        while name in self.definitions:
            number += 1
            name = f"{base}{number}"
        self._names[info.cls] = name
        self.definitions[name] = {}
        self.definitions[name].update(self._fields(info))
        return name

    def _fields(self, info: Any) -> Schema:
        tag: dict[str, Schema] = {}
        if getattr(info, "tag_field", None) is not None:
            tag = {info.tag_field: {"enum": [info.tag]}}
        drawn = {f.encode_name: self.draw(f.type) | _default(f) for f in info.fields}
        required = [*tag, *(f.encode_name for f in info.fields if f.required)]
        strict = getattr(info, "forbid_unknown_fields", False)
        if isinstance(info, mi.NamedTupleType) or getattr(info, "array_like", False):
            closed = strict or isinstance(info, mi.NamedTupleType)
            positions = [*tag.values(), *drawn.values()]
            return _tuple(positions, len(required), closed=closed)
        closing = {"additionalProperties": False} if strict else {}
        return {"type": "object", "properties": tag | drawn, "required": required, **closing}


def _structs(info: mi.UnionType) -> Iterator[mi.StructType]:
    for each in info.types:
        plain = each.type if isinstance(each, mi.Metadata) else each
        if isinstance(plain, mi.StructType):
            yield plain


def _default(field: Any) -> Schema:
    """Return what is told of a field's default: what no JSON can say is left out."""
    value = field.default
    if value is NODEFAULT and field.default_factory in {list, dict, set}:
        value = field.default_factory()
    if value is NODEFAULT:
        return {}
    try:
        return {"default": msgspec.to_builtins(value, str_keys=True)}
    except TypeError:
        return {}


def _number(info: Any) -> Schema:
    bounds = {word: getattr(info, name) for name, word in _BOUNDS.items() if getattr(info, name) is not None}
    return {"type": "integer" if isinstance(info, mi.IntType) else "number"} | bounds


def _sized(type: str, info: Any) -> Schema:
    least, most = _LENGTHS[type]
    sizes = {least: info.min_length, most: info.max_length}
    return {"type": type} | {word: size for word, size in sizes.items() if size is not None}


def _bytes(info: Any) -> Schema:
    # In base64, three bytes are four characters, and so are one and two: characters alone do not tell.
    bounds = (("minLength", MIN_BYTES, info.min_length), ("maxLength", MAX_BYTES, info.max_length))
    found: Schema = {"type": "string", "contentEncoding": "base64"}
    for characters, exactly, size in bounds:
        if size is not None:
            found |= {characters: 4 * ((size + 2) // 3), exactly: size}
    return found


def zoned(format: str, tz: bool | None) -> Schema:
    """Return the schema of times with a zone, without one, or with and without."""
    with_zone = {"type": "string", "format": format}
    without = {"type": "string", "format": f"local-{format}"}
    return {"anyOf": [with_zone, without]} if tz is None else with_zone if tz else without


def _tuple(positions: list[Schema], least: int, *, closed: bool = True) -> Schema:
    ends = {"items": False, "maxItems": len(positions)} if closed else {}
    prefix = {"prefixItems": positions} if positions else {}
    return {"type": "array", **prefix, "minItems": least, **ends}


def key_schema(schema: Schema) -> Schema:
    """Return what the names of an object's properties are, which are texts whatever the keys are."""
    if "anyOf" in schema:
        return {"anyOf": [key_schema(each) for each in schema["anyOf"]]}
    if "enum" in schema:
        return {"enum": [each if isinstance(each, str) else str(each) for each in schema["enum"]]}
    rest = {word: value for word, value in schema.items() if word != "type"}
    return rest if schema.get("type", "string") == "string" else {"format": schema["type"], **rest}
