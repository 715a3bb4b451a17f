"""Random types, changes of them, classes of either library made of them, and messages that fit."""

import string
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, NamedTuple, Union
from uuid import UUID

import msgspec
import pydantic
from hypothesis import strategies as st

NAMES = ("a", "b", "c", "d")
WORDS = ("x", "y", "z")


class Node(NamedTuple):
    """A type: its kind, its parts, and what bounds it."""

    kind: str
    parts: tuple = ()
    low: int | None = None
    high: int | None = None
    closed: bool = False


class Part(NamedTuple):
    """A field of an object."""

    name: str
    node: Node
    required: bool


LEAVES = (
    "int",
    "float",
    "str",
    "bool",
    "null",
    "utc",
    "local",
    "time",
    "date",
    "decimal",
    "uuid",
    "bytes",
    "any",
)
bounds = st.one_of(st.none(), st.integers(-3, 3))
sizes = st.one_of(st.none(), st.integers(0, 3))


def _bounded(kind, limits):
    return st.builds(
        lambda a, b: Node(kind, (), *(sorted((a, b)) if None not in {a, b} else (a, b))), limits, limits
    )


leaves = st.one_of(
    st.sampled_from(LEAVES).map(Node),
    _bounded("int", bounds),
    _bounded("float", bounds),
    _bounded("str", sizes),
    st.lists(st.sampled_from(WORDS), min_size=1, unique=True).map(lambda found: Node("enum", tuple(found))),
    st.lists(st.sampled_from((1, 2, "x", None)), min_size=1, unique=True).map(
        lambda found: Node("literal", tuple(found))
    ),
)


def _objects(inner):
    parts = st.lists(
        st.builds(Part, st.sampled_from(NAMES), inner, st.booleans()), max_size=4, unique_by=lambda p: p.name
    )
    return st.builds(lambda found, closed: Node("object", tuple(found), closed=closed), parts, st.booleans())


def _containers(inner):
    keys = st.sampled_from([Node("str"), Node("int"), Node("date"), Node("enum", ("x", "y"))])
    return st.one_of(
        _objects(inner),
        st.builds(lambda part, size: Node("list", (part,), size.low, size.high), inner, _bounded("", sizes)),
        st.lists(inner, max_size=3).map(lambda found: Node("tuple", tuple(found))),
        st.builds(lambda key, part: Node("dict", (key, part)), keys, inner),
        inner.map(lambda part: Node("optional", (part,))),
        st.lists(st.sampled_from(("int", "str", "bool", "null")), min_size=2, unique=True).map(
            lambda found: Node("union", tuple(Node(each) for each in found))
        ),
        st.dictionaries(st.sampled_from(WORDS), _objects(leaves), min_size=1).map(
            lambda found: Node("tagged", tuple(found.items()))
        ),
    )


nodes = st.recursive(leaves, _containers, max_leaves=6)
objects = _objects(nodes)
bounded = st.sampled_from(
    [("int", bounds), ("float", bounds), ("str", sizes), ("list", sizes), ("enum", sizes)]
)


@st.composite
def bounded_pairs(draw):
    """Return two types of one kind with bounds of their own: most of what tells them apart."""
    kind, limits = draw(bounded)
    if kind == "enum":
        words = st.lists(st.sampled_from(WORDS), min_size=1, unique=True).map(tuple)
        return tuple(Node(draw(st.sampled_from(("enum", "literal"))), draw(words)) for _ in range(2))
    found = [draw(_bounded(kind, limits)) for _ in range(2)]
    return tuple(node._replace(parts=(Node("int"),)) if kind == "list" else node for node in found)


@st.composite
def changed(draw, node):
    """Return a type with a change or some, mostly small ones."""
    do = draw(st.integers(0, 9))
    if node.kind != "object" and do == 0:
        return draw(nodes)
    if node.kind != "object" and do == 1:
        return Node("optional", (node,))
    if node.kind in {"int", "float"} and do < 6:
        return draw(
            st.sampled_from([Node("float"), node._replace(low=draw(bounds), high=None), Node(node.kind)])
        )
    if node.kind == "str" and do < 6:
        return node._replace(low=None, high=draw(sizes))
    if node.kind in {"enum", "literal"} and do < 6:
        return node._replace(
            parts=tuple(dict.fromkeys((*node.parts, *draw(st.lists(st.sampled_from(WORDS))))))
        )
    if node.kind == "object":
        return draw(_changed_object(node))
    if node.kind in {"list", "optional", "tuple", "dict"} and node.parts:
        *others, last = node.parts
        return node._replace(parts=(*others, draw(changed(last))))
    if node.kind == "tagged":
        more = draw(st.dictionaries(st.sampled_from(WORDS), _objects(leaves), max_size=2))
        return node._replace(parts=tuple({**more, **dict(node.parts)}.items()))
    return node


@st.composite
def _changed_object(draw, node):
    parts = []
    for part in node.parts:
        do = draw(st.integers(0, 7))
        if do == 1:
            parts.append(part._replace(required=not part.required))
        elif do in {2, 3, 4}:
            parts.append(part._replace(node=draw(changed(part.node))))
        elif do:
            parts.append(part)
    free = [name for name in NAMES if name not in {part.name for part in node.parts}]
    if free and draw(st.booleans()):
        parts.append(Part(draw(st.sampled_from(free)), draw(nodes), draw(st.integers(0, 3)) == 0))
    return node._replace(parts=tuple(parts), closed=node.closed and draw(st.booleans()))


PLAIN = {
    "int": int, "float": float, "str": str, "bool": bool, "null": None, "time": datetime, "date": date,
    "decimal": Decimal, "uuid": UUID, "bytes": bytes, "any": Any,
}  # fmt: skip


class Maker:
    """Makes types of one library."""

    def __init__(self, library):
        self.library = library
        self.count = 0

    def type_of(self, node):
        if node.kind in {"utc", "local"}:
            return self._zoned(node.kind == "utc")
        if node.kind in PLAIN:
            return (
                self._bounded(PLAIN[node.kind], node, "ge", "le")
                if node.kind in {"int", "float"}
                else self._sized(node)
            )
        if node.kind == "enum":
            return Enum("Found", {word.upper(): word for word in node.parts})
        if node.kind == "literal":
            return Literal[node.parts]
        if node.kind == "list":
            return self._bounded(list[self.type_of(node.parts[0])], node, "min_length", "max_length")
        if node.kind == "tuple":
            return (
                tuple[tuple(self.type_of(part) for part in node.parts) or ((),)] if node.parts else tuple[()]
            )
        if node.kind == "dict":
            return dict[self.type_of(node.parts[0]), self.type_of(node.parts[1])]
        if node.kind == "optional":
            return reduce(or_, [_plain(self.type_of(node.parts[0])), None])
        if node.kind == "union":
            return reduce(or_, [PLAIN[part.kind] for part in node.parts])
        return self.class_of(node)

    def class_of(self, node):
        if node.kind == "tagged":
            return self._tagged(node)
        fields = [(part.name, self.type_of(part.node), part.required) for part in node.parts]
        return self._class(fields, closed=node.closed)

    def _class(self, fields, *, closed, tag=None):
        self.count += 1
        name = f"Made{self.count}"
        if self.library is msgspec:
            made = [(n, t) if required else (n, t, None) for n, t, required in fields]
            made.sort(key=len)
            tags = {} if tag is None else {"tag": tag}
            return msgspec.defstruct(name, made, frozen=True, forbid_unknown_fields=closed, **tags)
        made = {n: (t, ...) if required else (t, None) for n, t, required in fields}
        if tag is not None:
            made["type"] = (Literal[tag], ...)
        extra = "forbid" if closed else "ignore"
        return pydantic.create_model(name, __config__={"frozen": True, "extra": extra}, **made)

    def _tagged(self, node):
        made = [
            self._class(
                [(p.name, self.type_of(p.node), p.required) for p in part.parts], closed=part.closed, tag=tag
            )
            for tag, part in node.parts
        ]
        found = reduce(or_, made)
        if self.library is pydantic and len(made) > 1:
            return Annotated[found, pydantic.Field(discriminator="type")]
        return found

    def _zoned(self, utc):
        if self.library is msgspec:
            return Annotated[datetime, msgspec.Meta(tz=utc)]
        return pydantic.AwareDatetime if utc else pydantic.NaiveDatetime

    def _sized(self, node):
        return self._bounded(PLAIN[node.kind], node, "min_length", "max_length")

    def _bounded(self, kind, node, low, high):
        found = {word: bound for word, bound in ((low, node.low), (high, node.high)) if bound is not None}
        if not found:
            return kind
        return Annotated[kind, (msgspec.Meta if self.library is msgspec else pydantic.Field)(**found)]


def _plain(kind):
    return kind if not hasattr(kind, "__metadata__") else _Or(kind)


class _Or:
    """Lets an annotated type be joined with others."""

    def __init__(self, kind):
        self.kind = kind

    def __or__(self, other):
        return Union[self.kind, other]  # noqa: UP007 (what is annotated has no operator)


json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(string.ascii_letters, max_size=3)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(NAMES), inner, max_size=2)
    ),
    max_leaves=4,
)
moments = st.integers(0, 2**30).map(lambda found: datetime.fromtimestamp(found, UTC).replace(tzinfo=None))
SIMPLE = {
    "bool": st.booleans(),
    "null": st.none(),
    "utc": moments.map(lambda m: m.replace(tzinfo=UTC).isoformat()),
    "local": moments.map(datetime.isoformat),
    "time": moments.map(lambda m: m.isoformat() + ("Z" if m.second % 2 else "")),
    "date": st.dates(date(2000, 1, 1), date(2030, 1, 1)).map(date.isoformat),
    "decimal": st.decimals(-9, 9, places=2).map(str),
    "uuid": st.uuids().map(str),
    "bytes": st.sampled_from(["", "AAAA", "YQ=="]),
    "any": json,
}


def messages(node):
    """Return a strategy of the JSON values that fit a type."""
    if node.kind in SIMPLE:
        return SIMPLE[node.kind]
    if node.kind == "int":
        small = st.integers(-5 if node.low is None else node.low, 5 if node.high is None else node.high)
        return st.one_of(small, st.just(2**60)) if node.high is None else small
    if node.kind == "float":
        small = st.integers(-5 if node.low is None else node.low, 5 if node.high is None else node.high)
        return st.one_of(
            small, st.floats(node.low, node.high, allow_nan=False, allow_infinity=False, width=32)
        )
    if node.kind == "str":
        return st.text(
            string.ascii_letters, min_size=node.low or 0, max_size=5 if node.high is None else node.high
        )
    if node.kind in {"enum", "literal"}:
        return st.sampled_from(node.parts)
    if node.kind == "list":
        high = max(3, node.low or 0) if node.high is None else node.high
        return st.lists(messages(node.parts[0]), min_size=node.low or 0, max_size=high)
    if node.kind == "tuple":
        return st.tuples(*map(messages, node.parts)).map(list)
    if node.kind == "dict":
        return st.dictionaries(messages(node.parts[0]).map(str), messages(node.parts[1]), max_size=2)
    if node.kind == "optional":
        return st.one_of(st.none(), messages(node.parts[0]))
    if node.kind == "union":
        return st.one_of(*map(messages, node.parts))
    if node.kind == "tagged":
        return st.one_of(
            *(messages(part).map(lambda found, t=tag: {**found, "type": t}) for tag, part in node.parts)
        )
    needed = {part.name: messages(part.node) for part in node.parts if part.required}
    return st.fixed_dictionaries(
        needed, optional={p.name: messages(p.node) for p in node.parts if not p.required}
    )
