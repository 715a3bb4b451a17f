"""The examples of docs/delivery.md do what they say."""

import asyncio
import importlib
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    """Import an example, and forget it again."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    imported = []

    def of(name):
        imported.append(name)
        return importlib.import_module(name)

    yield of
    for name in imported:
        del sys.modules[name]


def test_reminders_come_for_invoices_that_are_not_paid(example):
    """Of two invoices the one that is not paid is reported as overdue, on the weekdays after its 14 days."""
    assert asyncio.run(example("reminders").main()) == [("Tue 20 05:00", 1), ("Wed 21 05:00", 1)]


def test_orders_are_told_of_when_they_were_stored(example, tmp_path):
    """The two books that were sold are told of, the one that was not is not."""
    found = asyncio.run(example("orders_outbox").main(tmp_path))
    assert found == ['{"order":1,"book":"Emma"}', '{"order":2,"book":"Persuasion"}']
