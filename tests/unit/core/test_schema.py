"""Which changes of an event's schema break whom, one by one, and how that is told."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest

from tropism import Event
from tropism.core.errors import InvalidInputError
from tropism.core.schema.canonical import digest_of, schema_of, text_of
from tropism.core.schema.compare import breaks
from tropism.core.schema.modes import Version, check_mode, findings, refusal


def made(**fields: Any) -> dict[str, Any]:
    """Return the schema of an event with fields; a pair is one with a default."""
    declared = [(n, *t) if isinstance(t, tuple) else (n, t) for n, t in fields.items()]
    return schema_of(msgspec.defstruct("Made", sorted(declared, key=len)))


class Old(msgspec.Struct, tag="old"):
    a: int


class New(msgspec.Struct, tag="new"):
    a: int


class More(msgspec.Struct, tag="old"):
    a: int
    b: str


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


AT_LEAST = Annotated[int, msgspec.Meta(ge=1)]
EVEN = Annotated[int, msgspec.Meta(multiple_of=2)]
SHORT = Annotated[str, msgspec.Meta(max_length=3)]
WORD = Annotated[str, msgspec.Meta(pattern="^a")]
ONE_BYTE = Annotated[bytes, msgspec.Meta(min_length=1, max_length=1)]
TWO_BYTES = Annotated[bytes, msgspec.Meta(min_length=1, max_length=2)]
THREE_BYTES = Annotated[bytes, msgspec.Meta(min_length=3, max_length=3)]

CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], str | None, str | None]] = [
    # what, before, after; what breaks for new code with old events, and for old code with new ones
    ("nothing", {"a": int}, {"a": int}, None, None),
    ("added with a default", {"a": int}, {"a": int, "b": (int, 1)}, None, None),
    ("added without one", {"a": int}, {"a": int, "b": int}, "$.b is required", None),
    ("removed", {"a": int, "b": int}, {"a": int}, None, "$.b is required"),
    ("removed with a default", {"a": int, "b": (int, 1)}, {"a": int}, None, None),
    ("made optional", {"a": int}, {"a": (int, 1)}, None, "$.a is required"),
    ("may be null", {"a": int}, {"a": int | None}, None, "$.a wants integer and may be null"),
    ("never null", {"a": int | None}, {"a": int}, "$.a wants integer and may be null", None),
    ("widened", {"a": int}, {"a": float}, None, "$.a wants integer and may be number"),
    ("narrowed", {"a": float}, {"a": int}, "$.a wants integer and may be number", None),
    ("another type", {"a": int}, {"a": str}, "$.a wants string", "$.a wants integer"),
    ("a type more", {"a": int}, {"a": int | str}, None, "$.a wants integer and may be string"),
    ("to any", {"a": int}, {"a": Any}, None, "$.a wants integer and may be anything"),
    ("a member more", {"a": Literal["x"]}, {"a": Literal["x", "y"]}, None, "$.a does not know 'y'"),
    ("enum to text", {"a": Colour}, {"a": str}, None, "$.a wants one of ['blue', 'red']"),
    ("a bound", {"a": int}, {"a": AT_LEAST}, "$.a wants minimum 1 and may be below it", None),
    ("a step", {"a": int}, {"a": EVEN}, "$.a wants multiples of 2", None),
    ("a length", {"a": str}, {"a": SHORT}, "$.a wants maxLength 3 and may have more", None),
    ("bytes", {"a": TWO_BYTES}, {"a": ONE_BYTE}, "$.a wants 1 bytes at most and may have 2", None),
    ("more bytes", {"a": ONE_BYTE}, {"a": THREE_BYTES}, "$.a wants 3 bytes", "$.a wants 1 bytes at most"),
    ("a pattern", {"a": str}, {"a": WORD}, "$.a wants pattern '^a'", None),
    ("text to time", {"a": str}, {"a": datetime}, "$.a wants", None),
    ("items", {"a": list[int]}, {"a": list[int | None]}, None, "$.a[] wants integer and may be null"),
    ("a list to a set", {"a": list[int]}, {"a": set[int]}, "$.a wants each item once", None),
    ("values", {"a": dict[str, int]}, {"a": dict[str, str]}, "$.a.* wants string", "$.a.* wants integer"),
    ("keys", {"a": dict[str, int]}, {"a": dict[int, int]}, "$.a (keys) wants format 'integer'", None),
    ("a longer tuple", {"a": tuple[int]}, {"a": tuple[int, int]}, "$.a wants minItems 2", "$.a wants maxItems 1"),
    ("within", {"a": list[Old]}, {"a": list[More]}, "$.a[].b is required", None),
    ("an alternative more", {"a": Old}, {"a": Old | New}, None, "$.a.type does not know 'new'"),
    ("a class to a mapping", {"a": Old}, {"a": dict[str, Any]}, None, "$.a.a is required"),
]  # fmt: skip


def told(reader: dict[str, Any], writer: dict[str, Any]) -> list[str]:
    return [f"{each.path} {each.reason}" for each in breaks(reader, writer)]


@pytest.mark.parametrize(
    ("before", "after", "backward", "forward"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_a_change_breaks_who_it_breaks(
    before: Any, after: Any, backward: str | None, forward: str | None
) -> None:
    """A harmless change is none to either side, and the first break names the field and why."""
    old, new = made(**before), made(**after)
    for found, wanted in ((told(new, old), backward), (told(old, new), forward)):
        assert (found == []) if wanted is None else any(each.startswith(wanted) for each in found), found


def test_a_field_removed_breaks_code_that_refuses_unknown_ones() -> None:
    """Who forbids unknown fields cannot read events that still have one."""
    strict = msgspec.defstruct("S", [("a", int)], forbid_unknown_fields=True)
    (found,) = breaks(schema_of(strict), made(a=int, b=int))
    assert (found.path, found.kind) == ("$.b", "unknown")


class Tree(msgspec.Struct):
    value: int
    under: "list[Tree]" = []


class Bush(msgspec.Struct):
    value: int
    under: "list[Bush]" = []
    height: float = 0


class Weed(msgspec.Struct):
    value: str
    under: "list[Weed]" = []


def test_classes_that_hold_themselves_are_compared() -> None:
    """Recursion ends, and what lies within counts."""
    assert breaks(schema_of(Bush), schema_of(Tree)) == []
    assert {each.path for each in breaks(schema_of(Weed), schema_of(Tree))} == {"$.value"}


def test_an_untagged_event_is_no_alternative_by_tag() -> None:
    """A tag with a default may be left out of old events, where the new class goes by it."""

    class Cat(pydantic.BaseModel):
        kind: Literal["cat"] = "cat"

    class Dog(pydantic.BaseModel):
        kind: Literal["dog"] = "dog"

    one = schema_of(pydantic.create_model("P", pet=(Cat, ...)))
    tagged = Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
    several = schema_of(pydantic.create_model("P", pet=(tagged | None, ...)))
    assert [each.path for each in breaks(several, one)] == ["$.pet.kind"]


def test_names_order_and_words_for_people_change_no_digest() -> None:
    """Renaming a class within, moving its fields, and describing them is no new version."""

    class Line(msgspec.Struct):
        """What is ordered."""

        sku: str
        n: Annotated[int, msgspec.Meta(description="How many.")]

    @dataclass
    class Item:
        n: int
        sku: str

    one, other = made(a=list[Line]), made(a=list[Item])
    assert digest_of(one) == digest_of(other)
    assert text_of(one) == text_of(other)
    assert digest_of(made(a=int)) != digest_of(made(a=(int, 1)))


def test_what_has_no_schema_is_refused_by_name() -> None:
    """A type that is no JSON is told when the schema is made."""

    class Odd(Event, type="odd.seen.v1"):
        a: complex

    with pytest.raises(InvalidInputError, match="'complex'"):
        schema_of(Odd)


V1 = Version(1, "1", made(a=int), "backward")
V2 = Version(2, "2", made(a=int, b=(int, 0)), "backward")


def test_all_versions_count_and_not_only_the_last() -> None:
    """A log keeps what the first version wrote, so new code must read it."""
    found = findings("x.y.v1", made(a=int, b=int), [V1, V2], "backward")
    assert [(each.version, each.direction) for each in found] == [(1, "backward"), (2, "backward")]
    assert findings("x.y.v1", made(b=(int, 0)), [V1, V2], "backward") == []
    assert [each.direction for each in findings("x.y.v1", made(b=(int, 0)), [V1, V2], "full")] == [
        "forward",
        "forward",
    ]
    assert findings("x.y.v1", made(a=str), [V1, V2], "none") == []


def test_a_version_that_came_without_a_check_begins_anew() -> None:
    """What lay before it was given up on, and is not held against those that follow."""
    began = Version(3, "3", made(a=str), "none")
    assert findings("x.y.v1", made(a=str, c=(int, 0)), [V1, V2, began], "full") == []
    assert findings("x.y.v1", made(a=int), [V1, V2, began], "backward") != []


def test_going_back_to_a_version_is_allowed() -> None:
    """A roll-back starts: its code reads what it wrote."""
    old, new = made(a=Literal["x"]), made(a=Literal["x", "y"])
    history = [Version(1, digest_of(old), old), Version(2, digest_of(new), new)]
    assert findings("x.y.v1", old, history, "full") == []


def test_a_refusal_names_the_field_and_what_to_do() -> None:
    """One sentence says what changed, the next what mends it."""
    found = findings("x.y.v1", made(a=str, b=int), [V1], "full")
    text = str(refusal("start app 'shop'", found))
    assert "Cannot start app 'shop': event type 'x.y.v1' changed" in text
    assert "events of version 1 could not be read: field '$.a' wants string and may be integer" in text
    assert "Let the field take what it was as well, or give the event a new type name" in text
    assert "more: see 'tropism schema check'" in text
    assert all(each.remedy and each.fact for each in found)


def priced(**limits: Any) -> dict[str, Any]:
    """Return the schema of a pydantic model with an amount."""
    amount = (Decimal, pydantic.Field(**limits))
    return schema_of(pydantic.create_model("Priced", amount=amount))


@pytest.mark.parametrize(
    ("reader", "writer", "breaks_at"),
    [
        ({}, {"decimal_places": 2}, None),
        ({"decimal_places": 2}, {}, "decimals"),
        ({"max_digits": 9, "decimal_places": 3}, {"max_digits": 9, "decimal_places": 2}, "before the point"),
        ({"max_digits": 9, "decimal_places": 2}, {"max_digits": 8, "decimal_places": 2}, None),
        ({"max_digits": 8}, {"max_digits": 9}, "digits"),
    ],
)
def test_digits_of_decimals_are_compared(
    reader: dict[str, Any], writer: dict[str, Any], breaks_at: str | None
) -> None:
    """How many digits an amount may have is part of what is read, though JSON Schema has no word for it."""
    found = " ".join(told(priced(**reader), priced(**writer)))
    assert (found == "") if breaks_at is None else breaks_at in found


def test_an_app_that_did_not_change_is_not_refused_for_what_was_not_told_once() -> None:
    """Decimals and bytes of schemas that older code registered say no digits and no bytes: they are let pass."""
    both = {"amount": (Annotated[Decimal, pydantic.Field(max_digits=9, decimal_places=2)], ...)}
    for now in (schema_of(pydantic.create_model("Priced", **both)), made(key=THREE_BYTES)):
        text = re.sub(r'"x-[a-z-]+":(\d+|null),?', "", text_of(now)).replace(",}", "}")
        once = msgspec.json.decode(text)
        assert once != now
        assert breaks(now, once) == breaks(once, now) == []


@pytest.mark.parametrize("kind", [pydantic.PastDate, pydantic.AwareDatetime, complex])
def test_what_a_reader_refuses_of_a_wider_type_is_a_break(kind: Any) -> None:
    """A date that must lie behind, a time with a zone, a number as text: not every date, time or text is one."""
    wider = {pydantic.PastDate: date, pydantic.AwareDatetime: datetime, complex: str}[kind]
    reader, writer = (schema_of(pydantic.create_model("M", a=(each, ...))) for each in (kind, wider))
    assert breaks(reader, writer)
    assert not breaks(reader, reader)


def test_modes_are_these() -> None:
    """Another word is refused, and the error names those there are."""
    assert check_mode("full") == "full"
    with pytest.raises(InvalidInputError, match="backward"):
        check_mode("sideways")
