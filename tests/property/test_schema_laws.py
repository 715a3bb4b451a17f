"""What the checker of schemas calls compatible is: every old message that fits is read by the new class."""

from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from tests.property.drawn_types import Maker, Node, Part, bounded_pairs, changed, messages, objects

from tropism.core.forms import form_of
from tropism.core.schema.canonical import digest_of, schema_of
from tropism.core.schema.compare import breaks

LIBRARIES = st.sampled_from([msgspec, msgspec, msgspec, pydantic])  # to make a model takes long
SETTINGS = settings(max_examples=60, suppress_health_check=list(HealthCheck))


def made(node: Any, library: Any) -> Any:
    """Return a class; not every random type is one that a library can decode."""
    try:
        kind = Maker(library).class_of(node)
        form_of(kind)
    except (TypeError, pydantic.errors.PydanticUserError):
        assume(False)
    return kind


def fits(kind: Any, data: bytes) -> bool:
    try:
        form_of(kind).decode(data)
    except msgspec.MsgspecError:
        return False
    return True


@SETTINGS
@given(st.data(), LIBRARIES, LIBRARIES)
def test_what_is_called_backward_compatible_reads_every_old_message(data: Any, old: Any, new: Any) -> None:
    """Whatever changed, and whichever library reads: no break found means that each message decodes."""
    before = data.draw(objects)
    _compare(data, before, data.draw(changed(before)), old, new)


@SETTINGS
@given(st.data(), bounded_pairs(), LIBRARIES, LIBRARIES)
def test_bounds_that_are_called_kept_are_kept(data: Any, pair: Any, old: Any, new: Any) -> None:
    """Of one kind on both sides, with bounds or members of their own, at the edges too."""
    before, after = (Node("object", (Part("a", node, required=True),)) for node in pair)
    _compare(data, before, after, old, new)


def _compare(data: Any, before: Any, after: Any, old: Any, new: Any) -> None:
    writer, reader = made(before, old), made(after, new)
    found = breaks(schema_of(reader), schema_of(writer))
    event("compatible" if not found else "incompatible")
    for message in data.draw(st.lists(messages(before), min_size=1, max_size=5)):
        encoded = msgspec.json.encode(message)
        if fits(writer, encoded):
            assert found or fits(reader, encoded), (message, schema_of(writer), schema_of(reader))


@SETTINGS
@given(objects, LIBRARIES)
def test_a_schema_is_compatible_with_itself(node: Any, library: Any) -> None:
    """Nothing changed breaks nothing, and the same class made anew has the same digest."""
    kind = made(node, library)
    schema = schema_of(kind)
    assert breaks(schema, schema) == []
    assert digest_of(schema_of(made(node, library))) == digest_of(schema)


@SETTINGS
@given(st.data(), LIBRARIES)
def test_every_message_of_a_type_fits_its_schema(data: Any, library: Any) -> None:
    """The schema says no less than the class: the official validator accepts what the class does."""
    validator = pytest.importorskip("jsonschema_rs")
    node = data.draw(objects)
    kind = made(node, library)
    message = data.draw(messages(node))
    if fits(kind, msgspec.json.encode(message)):
        assert validator.is_valid(schema_of(kind), message)
