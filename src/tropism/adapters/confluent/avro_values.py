"""JSON values fitted to Avro schemas: text becomes the time, number or bytes that Avro means by it."""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from tropism.adapters.confluent.payloads import Misfit

_BITS = {"int": 31, "long": 63}


def name_of(schema: Any) -> str:
    """Return the full name of a record, as fastavro parses it; of another schema, its type."""
    if isinstance(schema, str):
        return schema
    if isinstance(schema, list):
        return next((name_of(each) for each in schema if isinstance(each, dict)), "union")
    return str(schema.get("name") or schema.get("type"))


def fitted(schema: Any, value: Any, named: dict[str, Any], path: str) -> Any:
    """Return a JSON value as fastavro writes it. Raises: Misfit, naming the field that has no place."""
    if isinstance(schema, list):
        return _union(schema, value, named, path)
    if isinstance(schema, str):
        if schema in named:
            return fitted(named[schema], value, named, path)
        return _primitive(schema, None, value, path)
    kind = schema["type"]
    if kind in {"record", "error"}:
        return _record(schema, value, named, path)
    if kind == "enum":
        if value not in schema["symbols"]:
            raise Misfit(f"field {path!r} is none of the symbols of {name_of(schema)!r}")
        return value
    if kind == "array":
        _is(value, list, "array", path)
        return [fitted(schema["items"], each, named, f"{path}[{n}]") for n, each in enumerate(value)]
    if kind == "map":
        _is(value, dict, "map", path)
        return {key: fitted(schema["values"], each, named, f"{path}.{key}") for key, each in value.items()}
    if not isinstance(kind, str) or kind in named:
        return fitted(kind, value, named, path)
    return _primitive(kind, schema, value, path)


def _record(schema: Any, value: Any, named: dict[str, Any], path: str) -> dict[str, Any]:
    _is(value, dict, "record", path)
    fields = {field["name"]: field for field in schema["fields"]}
    unknown = sorted(value.keys() - fields.keys())
    if unknown:
        raise Misfit(f"field '{path}.{unknown[0]}' is not in the schema")
    found = {}
    for name, field in fields.items():
        if name in value:
            found[name] = fitted(field["type"], value[name], named, f"{path}.{name}")
        elif "default" not in field:
            raise Misfit(f"field '{path}.{name}' is missing, and the schema has no default for it")
    return found


def _union(branches: list[Any], value: Any, named: dict[str, Any], path: str) -> Any:
    """Return a value as the first branch that takes it; one alone beside null says what is wrong."""
    others = [each for each in branches if each != "null"]
    if value is None and len(others) < len(branches):
        return None
    if len(others) == 1:
        return fitted(others[0], value, named, path)
    for each in others:
        try:
            found = fitted(each, value, named, path)
        except Misfit:
            continue
        plain = named.get(each, each) if isinstance(each, str) else each
        is_record = isinstance(plain, dict) and plain["type"] == "record"
        return (name_of(plain), found) if is_record else found
    raise Misfit(f"field {path!r} fits none of {[name_of(each) for each in branches]}")


def _primitive(kind: str, schema: Any, value: Any, path: str) -> Any:
    logical = (schema or {}).get("logicalType")
    if logical in _LOGICAL and not isinstance(value, bool):
        try:
            return _LOGICAL[logical](value)
        except (ValueError, TypeError, InvalidOperation, OverflowError):
            raise Misfit(f"field {path!r} is no {logical}") from None
    if kind in _BITS:
        _is(value, int, kind, path)
        if not -(1 << _BITS[kind]) <= value < 1 << _BITS[kind]:
            raise Misfit(f"field {path!r} is too large for {kind}")
    elif kind in {"float", "double"}:
        _is(value, (int, float), kind, path)
    elif kind in {"bytes", "fixed"}:
        return _bytes(kind, schema, value, path)
    elif kind in _PLAIN:
        _is(value, _PLAIN[kind], kind, path)
    return value


def _bytes(kind: str, schema: Any, value: Any, path: str) -> bytes:
    _is(value, str, kind, path)
    try:
        found = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Misfit(f"field {path!r} is no base64") from None
    if kind == "fixed" and len(found) != schema["size"]:
        raise Misfit(f"field {path!r} has {len(found)} bytes, and not {schema['size']}")
    return found


def _is(value: Any, kinds: type | tuple[type, ...], told: str, path: str) -> None:
    # To Python, true is a number.
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise Misfit(f"field {path!r} is no {told}")


_PLAIN: dict[str, type] = {"string": str, "boolean": bool, "null": type(None)}


def _instant(value: Any) -> Any:
    if isinstance(value, int):
        return value
    found = datetime.fromisoformat(value)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _local(value: Any) -> Any:
    return value if isinstance(value, int) else datetime.fromisoformat(value).replace(tzinfo=None)


def _day(value: Any) -> Any:
    return value if isinstance(value, int) else date.fromisoformat(value)


def _time(value: Any) -> Any:
    return value if isinstance(value, int) else time.fromisoformat(value)


def _decimal(value: Any) -> Decimal:
    return Decimal(str(value))


_LOGICAL: dict[str | None, Callable[[Any], Any]] = {
    "timestamp-millis": _instant,
    "timestamp-micros": _instant,
    "local-timestamp-millis": _local,
    "local-timestamp-micros": _local,
    "date": _day,
    "time-millis": _time,
    "time-micros": _time,
    "decimal": _decimal,
}
