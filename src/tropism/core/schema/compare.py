"""Whether all that one schema allows can be read under another: the one question of compatibility.

A writer is taken at its word: it writes the fields that it declares and no others, unless its schema says so.
Where it cannot be shown that a document fits, it counts as a break.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from tropism.core.schema.bounds import BOUNDS, DECIMALS, DIGITS, bound_breaks, holds
from tropism.core.schema.breaks import Break
from tropism.core.schema.canonical import ANNOTATIONS, REF

Schema = dict[str, Any]

_SILENT = ANNOTATIONS | {"default", "discriminator", "$defs"}
_NO_MORE = object()
TYPES_OF: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
TYPES = {"null", *TYPES_OF.values()}
_COMPARED = {
    *("type", "enum", "const", "properties", "required", "additionalProperties", "propertyNames"),
    *("items", "prefixItems", "uniqueItems", *BOUNDS),
}

_encode = msgspec.json.Encoder(order="deterministic").encode


def breaks(reader: Schema, writer: Schema) -> list[Break]:
    """Return where documents that a writer's schema allows do not fit a reader's; none if all of them do."""
    return sorted(set(_Comparison(reader, writer).compare(reader, writer, "$")))


class _Comparison:
    def __init__(self, reader: Schema, writer: Schema) -> None:
        self._readers: dict[str, Schema] = reader.get("$defs", {})
        self._writers: dict[str, Schema] = writer.get("$defs", {})
        self._open: set[tuple[bytes, bytes]] = set()

    def compare(self, reader: Any, writer: Any, path: str) -> list[Break]:
        """Return the breaks between two schemas."""
        return list(self._branches(reader, writer, path))

    def _assumed(self, reader: Schema, writer: Schema, path: str) -> list[Break]:
        """Return the breaks between two plain schemas; what is being compared already is taken to fit."""
        pair = _encode(reader), _encode(writer)
        if pair in self._open:
            return []
        before = set(self._open)
        self._open.add(pair)
        found = list(self._atoms(reader, writer, path))
        if found:
            # What was shown on the strength of this pair was not shown.
            self._open = before
        return found

    def _branches(self, reader: Any, writer: Any, path: str) -> Iterator[Break]:
        readers = list(_alternatives(reader, self._readers))
        if any(not _words(each) for each in readers):
            return
        writers = list(_alternatives(writer, self._writers))
        if any(each.get("format") == "decimal" and DIGITS not in each for each in writers):
            # Of before digits were told: an app that did not change is not to be refused for it.
            readers = [{w: v for w, v in each.items() if w not in {DIGITS, DECIMALS}} for each in readers]
        for one in writers:
            yield from self._one_of(readers, one, path)
        yield from self._untagged(reader, writer, path)

    def _untagged(self, reader: Any, writer: Any, path: str) -> Iterator[Break]:
        """Yield a break where a reader goes by a tag that a writer, who does not, may leave out."""
        tags = set(_tags(reader, self._readers)) - set(_tags(writer, self._writers))
        for one in _alternatives(writer, self._writers) if tags else ():
            for tag in tags - set(one.get("required", ())) if _type(one) == "object" else ():
                yield Break(f"{path}.{tag}", "required", "tells the alternatives apart and may be missing")

    def _one_of(self, readers: list[Schema], writer: Schema, path: str) -> list[Break]:
        """Return why a writer's alternative fits none of a reader's; nothing if it fits one."""
        values = _values(writer)
        if values is not None:
            refused = [value for value in values if not any(_accepts(each, value) for each in readers)]
            return [Break(path, "value", f"does not know {value!r}") for value in refused]
        told: list[list[Break]] = []
        for each in readers:
            found = self._assumed(each, writer, path)
            if not found:
                return []
            told.append(found)
        near = [f for each, f in zip(readers, told, strict=True) if _is_near(each, writer)]
        if len(near) == 1 or len(readers) == 1:
            return (near or told)[0]
        wanted = " or ".join(sorted({_type(each) for each in readers}))
        return [Break(path, "type", f"wants {wanted} and may be {_type(writer)}, which fits none of them")]

    def _atoms(self, reader: Schema, writer: Schema, path: str) -> Iterator[Break]:
        wanted, given = _type(reader), _type(writer)
        if _values(reader) is not None:
            yield Break(path, "value", f"wants one of {_values(reader)!r} and may be any {given}")
            return
        if wanted not in TYPES and _plain(reader) != _plain(writer):
            yield Break(path, "type", "is described in words that cannot be compared")
            return
        if wanted != given and (wanted, given) != ("number", "integer"):
            yield Break(path, "type", f"wants {wanted} and may be {given}")
            return
        for word in reader.keys() - _COMPARED - _SILENT:
            if reader[word] != writer.get(word) or "$ref" in str(reader[word]):
                yield Break(path, "bound", f"is bound by {word!r}, which cannot be compared")
        yield from bound_breaks(reader, _implied(writer), path)
        if wanted == "object":
            yield from self._objects(reader, writer, path)
        elif wanted == "array":
            yield from self._arrays(reader, writer, path)

    # -- objects ----------------------------------------------------------------------------------

    def _objects(self, reader: Schema, writer: Schema, path: str) -> Iterator[Break]:
        needed, sure = set(reader.get("required", ())), set(writer.get("required", ()))
        for name in needed - sure:
            yield Break(f"{path}.{name}", "required", "is required and may be missing")
        fields, written = reader.get("properties", {}), writer.get("properties", {})
        others = reader.get("additionalProperties", True)
        for name, schema in written.items():
            if name in fields:
                yield from self.compare(fields[name], schema, f"{path}.{name}")
            elif others is False:
                yield Break(f"{path}.{name}", "unknown", "is unknown there, and unknown fields are refused")
            elif others is not True:
                yield from self.compare(others, schema, f"{path}.{name}")
        more = _more(writer)
        if more is not _NO_MORE:
            for name in fields.keys() - written.keys():
                yield from self.compare(fields[name], more, f"{path}.{name}")
            if others is False:
                yield Break(
                    f"{path}.*", "unknown", "may have fields of any name, and unknown ones are refused"
                )
            elif others is not True:
                yield from self.compare(others, more, f"{path}.*")
        yield from self._names(reader, writer, path)

    def _names(self, reader: Schema, writer: Schema, path: str) -> Iterator[Break]:
        if "propertyNames" not in reader:
            return
        names = {"type": "string", **reader["propertyNames"]}
        for name in writer.get("properties", {}):
            if self.compare(names, {"enum": [name]}, path):
                yield Break(f"{path}.{name}", "value", "has a name that is no key there")
        if _more(writer) is not _NO_MORE:
            written = {"type": "string", **writer.get("propertyNames", {})}
            yield from self.compare(names, written, f"{path} (keys)")

    # -- arrays -----------------------------------------------------------------------------------

    def _arrays(self, reader: Schema, writer: Schema, path: str) -> Iterator[Break]:
        wanted, given = reader.get("prefixItems", []), writer.get("prefixItems", [])
        count = max(len(wanted), len(given))
        for place in range(count):
            if place >= writer.get("maxItems", place + 1):
                return
            one = wanted[place] if place < len(wanted) else reader.get("items", True)
            other = given[place] if place < len(given) else writer.get("items", True)
            if other is False:
                return
            yield from self._item(one, other, f"{path}[{place}]")
        rest = writer.get("items", True)
        if rest is not False and count < writer.get("maxItems", count + 1):
            yield from self._item(reader.get("items", True), rest, f"{path}[]")

    def _item(self, reader: Any, writer: Any, path: str) -> Iterator[Break]:
        if reader is False:
            yield Break(path, "unknown", "is one item more than is wanted")
        else:
            yield from self.compare(reader, writer, path)


def _alternatives(schema: Any, definitions: dict[str, Schema]) -> Iterator[Schema]:
    """Yield the plain schemas, without references, of which a document fits one."""
    if schema is True:
        yield {}
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        rest = {word: value for word, value in schema.items() if word != "$ref" and word not in _SILENT}
        yield from _alternatives({**definitions[schema["$ref"].removeprefix(REF)], **rest}, definitions)
        return
    if len(schema.get("allOf", ())) == 1:
        rest = {word: value for word, value in schema.items() if word != "allOf"}
        yield from _alternatives({**schema["allOf"][0], **rest}, definitions)
        return
    for word in ("anyOf", "oneOf"):
        if word in schema:
            rest = {key: value for key, value in schema.items() if key != word and key not in _SILENT}
            for each in schema[word]:
                yield from _alternatives({**rest, **each} if isinstance(each, dict) else each, definitions)
            return
    if isinstance(schema.get("type"), list):
        for each in schema["type"]:
            yield {**schema, "type": each}
        return
    yield schema


def _words(schema: Schema) -> set[str]:
    return set(schema) - _SILENT


def _plain(schema: Schema) -> Schema:
    return {word: value for word, value in schema.items() if word not in _SILENT}


def _values(schema: Schema) -> list[Any] | None:
    """Return the values that a schema lists, None if it lists none."""
    if "const" in schema:
        return [schema["const"]]
    found: list[Any] | None = schema.get("enum")
    return found


def _type(schema: Schema) -> str:
    if _values(schema) is not None:
        return "one of some values"
    if "type" in schema:
        return str(schema["type"])
    return "object" if "properties" in schema else "anything" if not _words(schema) else "something else"


def _accepts(schema: Schema, value: Any) -> bool:
    """Say whether a value surely fits a plain schema."""
    listed = _values(schema)
    if listed is not None:
        return any(_encode(value) == _encode(each) for each in listed)
    wanted = schema.get("type")
    is_type = wanted == _type_of(value) or (wanted == "number" and _type_of(value) == "integer")
    return is_type and holds(schema, value)


def _type_of(value: Any) -> str:
    return TYPES_OF.get(type(value), "null")


def _is_near(reader: Schema, writer: Schema) -> bool:
    """Say whether two plain schemas are of one type and, of objects, not told apart by a tag."""
    if _type(reader) != _type(writer):
        return False
    fields = reader.get("properties", {})
    tags = [(fields[n], s) for n, s in writer.get("properties", {}).items() if n in fields]
    lists = [(_values(a), _values(b)) for a, b in tags if isinstance(a, dict) and isinstance(b, dict)]
    return all(a is None or b is None or a == b for a, b in lists)


def _more(schema: Schema) -> Any:
    """Return what a writer may write besides the fields it declares."""
    if "additionalProperties" in schema:
        found = schema["additionalProperties"]
        return _NO_MORE if found is False else found
    return _NO_MORE if "properties" in schema else True


def _tags(schema: Any, definitions: dict[str, Schema]) -> Iterator[str]:
    """Yield the fields by which the alternatives of a schema are told apart."""
    if not isinstance(schema, dict):
        return
    if "discriminator" in schema:
        yield schema["discriminator"]["propertyName"]
    if "$ref" in schema:
        yield from _tags(definitions[schema["$ref"].removeprefix(REF)], definitions)
    for word in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(word, ()):
            yield from _tags(each, definitions)


def _implied(schema: Schema) -> Schema:
    """Return a schema with the sizes that follow from what else it says."""
    if _type(schema) == "array" and schema.get("items") is False:
        count = len(schema.get("prefixItems", ()))
        return {**schema, "maxItems": min(count, schema.get("maxItems", count))}
    if _type(schema) == "object" and _more(schema) is _NO_MORE:
        least = max(schema.get("minProperties", 0), len(schema.get("required", ())))
        return {**schema, "minProperties": least, "maxProperties": len(schema.get("properties", {}))}
    return schema
