"""Bounds on numbers, texts, lists and objects: whether those of a writer lie within those of a reader."""

from collections.abc import Iterator
from fractions import Fraction
from math import floor, inf
from typing import Any

from tropism.core.schema.breaks import Break

Schema = dict[str, Any]

SIZES = (("minLength", "maxLength"), ("minItems", "maxItems"), ("minProperties", "maxProperties"))
EXACT = ("pattern", "format", "contentEncoding", "contentMediaType")
"""Words of which only the very same is known to hold."""

MIN_BYTES, MAX_BYTES = "x-min-bytes", "x-max-bytes"
"""Of data in base64: JSON Schema counts its characters only, which are as many for one byte as for three."""

DIGITS, DECIMALS = "x-max-digits", "x-max-decimals"
"""Of decimals, whether they stand as a text or as a number."""

NUMBERS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")
_OURS = (MIN_BYTES, MAX_BYTES, DIGITS, DECIMALS)
BOUNDS = (*EXACT, *NUMBERS, *_OURS, *(word for pair in SIZES for word in pair))


def bound_breaks(reader: Schema, writer: Schema, path: str) -> Iterator[Break]:
    """Yield the bounds of a reader that a writer of the same type does not keep."""
    for word in EXACT:
        if word in reader and reader[word] != writer.get(word):
            yield Break(path, "bound", f"wants {word} {reader[word]!r} and may have {writer.get(word)!r}")
    for least, most in SIZES:
        if reader.get(least, 0) > writer.get(least, 0):
            yield Break(path, "bound", f"wants {least} {reader[least]} and may have {writer.get(least, 0)}")
        if reader.get(most, inf) < writer.get(most, inf):
            yield Break(path, "bound", f"wants {most} {reader[most]} and may have {writer.get(most, 'more')}")
    yield from _byte_breaks(reader, writer, path)
    yield from _decimal_breaks(reader, writer, path)
    if reader.get("uniqueItems") and not writer.get("uniqueItems"):
        yield Break(path, "bound", "wants each item once and may repeat one")
    if writer.get("type") in {"integer", "number"}:
        yield from _number_breaks(reader, writer, path)


def _byte_breaks(reader: Schema, writer: Schema, path: str) -> Iterator[Break]:
    # Schemas of before these words were told say characters alone, and are taken at that.
    if reader.get(MIN_BYTES, 0) > writer.get(MIN_BYTES, inf):
        yield Break(path, "bound", f"wants {reader[MIN_BYTES]} bytes and may have {writer[MIN_BYTES]}")
    if reader.get(MAX_BYTES, inf) < writer.get(MAX_BYTES, 0):
        yield Break(
            path, "bound", f"wants {reader[MAX_BYTES]} bytes at most and may have {writer[MAX_BYTES]}"
        )


def _decimal_breaks(reader: Schema, writer: Schema, path: str) -> Iterator[Break]:
    most, given = ([_bound(each.get(word)) for word in (DIGITS, DECIMALS)] for each in (reader, writer))
    for wanted, may_have, told in zip(most, given, ("digits", "decimals"), strict=True):
        if wanted < may_have:
            yield Break(path, "bound", f"wants {wanted} {told} at most and may have more")
    if inf not in {*most, *given} and most[0] - most[1] < given[0] - given[1]:
        yield Break(path, "bound", f"wants fewer digits before the point than {given[0] - given[1]}")


def _bound(size: int | None) -> float:
    return inf if size is None else size


def _number_breaks(reader: Schema, writer: Schema, path: str) -> Iterator[Break]:
    whole = writer["type"] == "integer"
    if _low(reader, whole=whole) > _low(writer, whole=whole):
        yield Break(path, "bound", f"wants {_words(reader, 'inimum')} and may be below it")
    if _high(reader, whole=whole) < _high(writer, whole=whole):
        yield Break(path, "bound", f"wants {_words(reader, 'aximum')} and may be above it")
    step = reader.get("multipleOf")
    steps = writer.get("multipleOf", 1 if whole else None)
    if step is not None and (steps is None or Fraction(str(steps)) % Fraction(str(step))):
        yield Break(path, "bound", f"wants multiples of {step} and may be none")


def _low(schema: Schema, *, whole: bool) -> tuple[float, int]:
    """Return the lower bound, and 1 where it lies outside."""
    bounds: list[tuple[float, int]] = [(-inf, 0)]
    if "minimum" in schema:
        bounds.append((schema["minimum"], 0))
    if "exclusiveMinimum" in schema:
        bounds.append((schema["exclusiveMinimum"], 1))
    found = max(bounds)
    return (floor(found[0]) + 1, 0) if whole and found[1] else found


def _high(schema: Schema, *, whole: bool) -> tuple[float, int]:
    low = _low({word: -schema[other] for word, other in _MIRRORED.items() if other in schema}, whole=whole)
    return -low[0], -low[1]


_MIRRORED = {"minimum": "maximum", "exclusiveMinimum": "exclusiveMaximum"}


def _words(schema: Schema, ending: str) -> str:
    return " and ".join(f"{word} {schema[word]}" for word in sorted(schema) if word.endswith(ending))


def holds(schema: Schema, value: Any) -> bool:
    """Say whether a value surely keeps the bounds of a schema of its type."""
    if any(schema.get(word) is not None for word in (*EXACT, DIGITS, DECIMALS, "multipleOf")):
        return False
    if isinstance(value, int | float) and not isinstance(value, bool):
        exactly = {"type": "number", "minimum": value, "maximum": value}
        return not list(_number_breaks(schema, exactly, ""))
    if isinstance(value, str):
        least: int = schema.get("minLength", 0)
        most: float = schema.get("maxLength", inf)
        return least <= len(value) <= most
    return not isinstance(value, (list, dict))
