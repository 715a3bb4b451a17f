"""Rows become events: each once, under an id of its own that other rows do not change."""

from typing import Annotated

import msgspec
import pytest

from tropism.cli.history import Row, Table
from tropism.cli.rows import Columns, Converter, RowError, numbered
from tropism.core.codec import Codec
from tropism.core.event import Event

TOLD = msgspec.Meta(description="In cents.")


class Paid(Event, type="r_orders.paid.v1", key="order"):
    order: str
    amount: Annotated[int | None, TOLD] = 0
    note: Annotated[str, msgspec.Meta(min_length=1)] | None = None


class Sent(Event, type="r_orders.sent.v1", key="order"):
    order: str


def converter(kind=Paid, **columns):
    return Converter(kind, Codec([Paid, Sent]), Columns("at", **columns), None, name="f.csv", source="f")


def row(number, **values):
    return Row(number, number + 1, {"at": "2026-01-01", **values})


def ids(*rows):
    return [record.id for record in numbered(map(converter().record, rows))]


def test_equal_rows_are_events_of_their_own_and_keep_their_ids_when_others_go():
    a, b = {"order": "a", "amount": "1"}, {"order": "b", "amount": "1"}
    first, second, third, other = ids(row(1, **a), row(3, **a), row(4, **a), row(5, **b))
    assert len({first, second, third, other}) == 4
    assert ids(row(1, **a), row(2, **a), row(3, **b)) == [first, second, other]


def test_rows_of_two_types_with_one_id_are_two_events():
    values = {"order": "a", "id": 7}
    paid, sent = (converter(kind, id="id").record(row(1, **values)) for kind in (Paid, Sent))
    assert paid.topic == sent.topic
    assert paid.id != sent.id


@pytest.mark.parametrize("id", [None, "", float("nan")])
def test_what_is_no_id_is_rejected(id):
    with pytest.raises(RowError, match="holds no id"):
        converter(id="id").record(row(1, order="a", id=id))


def test_whole_numbers_are_texts_where_texts_are_declared():
    """Parquet and JSON have numbers where a key is a text."""
    record = converter().record(row(1, order=17, amount=3, note=4))
    assert msgspec.json.decode(record.data) == {"order": "17", "amount": 3, "note": "4"}
    assert record.subject == "17"


def test_an_empty_cell_is_none_also_where_the_type_is_annotated():
    record = converter().record(row(1, order="a", amount="", note=""))
    assert msgspec.json.decode(record.data)["amount"] is None


def test_a_row_that_is_nested_without_end_is_rejected_alone(tmp_path):
    path = tmp_path / "f.ndjson"
    deep = '{"order": ' + "[" * 100_000 + "]" * 100_000 + "}"
    path.write_text(f'{deep}\n{{"order": "b", "at": "2026-01-01"}}\n')
    bad, good = Table(path).rows()
    assert bad.problem == "it is nested too deeply"
    assert converter().record(good).subject == "b"


def test_a_long_cell_is_a_cell(tmp_path):
    path = tmp_path / "f.csv"
    path.write_text("at,order\n2026-01-01," + "x" * 200_000 + "\n")
    (found,) = Table(path).rows()
    assert found.problem is None
    assert len(found.values["order"]) == 200_000
