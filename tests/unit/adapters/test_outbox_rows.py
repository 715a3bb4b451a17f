"""Rows of an outbox that others than ``publish_in`` have written."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tropism import Event, create_outbox, publish_in
from tropism.adapters.outbox import open_outgoing
from tropism.adapters.outbox.rows import COLUMNS


class Paid(Event, type="orders.paid.v1", key="order"):
    order: str


GOOD = dict(zip(COLUMNS, ("x", "orders.paid.v1", "orders", "k", 1, b"{}", "", "{}"), strict=True))


@pytest.mark.parametrize(
    ("column", "value", "fact"),
    [
        ("extensions", "", "the bytes are not JSON"),
        ("extensions", '{"a": 1}', "Expected `str`, got `int`"),
        ("data", "{}", "column 'data' holds 'str'"),
        ("time_us", "today", "column 'time_us' holds 'str'"),
        ("subject", b"k", "column 'subject' holds 'bytes'"),
    ],
)
def test_a_row_that_holds_no_event_is_put_aside_and_holds_up_nothing(
    tmp_path: Path, column: str, value: Any, fact: str
) -> None:
    """It stays in the table with its cause; those around it are published."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection:
        create_outbox(connection)
        with connection:
            publish_in(connection, Paid(order="before"))
            row = GOOD | {column: value}
            marks = ", ".join("?" * len(row))
            insert = f"INSERT INTO tropism_outbox ({', '.join(row)}) VALUES ({marks})"
            connection.execute(insert, list(row.values()))
            publish_in(connection, Paid(order="after"))

    async def main() -> None:
        async with open_outgoing(f"sqlite:///{path}") as outgoing:
            assert [each.record.subject for each in await outgoing.waiting(10)] == ["before", "after"]
            assert await outgoing.depth() == (2, 1)

    asyncio.run(main())
    with closing(sqlite3.connect(path)) as connection:
        ((refused,),) = connection.execute("SELECT refused FROM tropism_outbox WHERE refused IS NOT NULL")
    assert fact in refused
