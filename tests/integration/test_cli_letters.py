"""Dead letters: listed with their cause, handed back in one commit, or forgotten when told to."""

import pytest

APP = """
import os
from tropism import App, Event, Retry, Service
class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
class Booked(Event, type="books.booked.v1", key="order"):
    order: str
books, other = Service("books"), Service("other")
@books.on(Paid, retry=Retry(attempts=1))
def book(paid: Paid) -> Booked:
    if not os.path.exists("mended") and paid.order != "good":
        raise ValueError(f"no account for this")
    return Booked(order=paid.order)
@other.on(Paid, retry=Retry(attempts=1))
def look(paid: Paid) -> None:
    if paid.order == "c":
        raise KeyError("missing")
app = App("shop", services=[books, other])
"""


@pytest.fixture(scope="module")
def shop(shared_folder):
    shared_folder.write("shop.py", APP)
    shared_folder.write("tropism.toml", 'app = "shop:app"\n')
    return shared_folder


def letters(shop):
    return shop.run("dead-letters", "list", "--json").json


def test_the_whole_life_of_dead_letters(shop):
    """One story, for each of its steps needs the one before."""
    running = shop.start("run")
    running.wait_for("Ready: shop with books, other.")
    for order in ("a", "b", "c", "good"):
        shop.run(
            "events", "publish", "orders.paid.v1", "--data", f'{{"order": "{order}"}}', "--id", f"e-{order}"
        )
    shop.wait_until(lambda: letters(shop)["count"] == 4)
    assert "gave up on orders.paid.v1 'e-a' after 1 attempts: ValueError: no account for this" in running.text
    assert "(in shop.py, line" in running.text
    found = letters(shop)["dead_letters"]
    assert [letter["id"] for letter in found] == [
        "e-a/books.book",
        "e-b/books.book",
        "e-c/books.book",
        "e-c/other.look",
    ]
    assert found[0]["cause"] == "ValueError: no account for this"
    assert found[0]["event"]["data"] == {"order": "a"}
    assert found[0]["attempts"] == 1

    assert len(shop.run("dead-letters", "list", "--service", "other", "--json").json["dead_letters"]) == 1
    for command in ("list", "redrive", "discard"):
        error = shop.run("dead-letters", command, "--service", "bokks", code=1).err
        assert "none of that name has run here. Name one of ['books', 'other']." in error
    table = shop.run("dead-letters", "list").out
    assert "ValueError: no account for this" in table
    shown = shop.run("dead-letters", "show", "e-a").out
    assert "try 1:" in shown
    assert '{"order":"a"}' in shown
    assert shop.run("dead-letters", "show", "e-a/books.book", "--json").json["service"] == "books"
    assert "2 begin so" in shop.run("dead-letters", "show", "e-c", code=1).err
    assert "none begins so" in shop.run("dead-letters", "show", "nix", code=1).err

    for command in ("redrive", "discard"):
        assert "nothing says which" in shop.run("dead-letters", command, code=1).err
    assert "Not without --yes" in shop.run("dead-letters", "discard", "--all", code=1).err
    assert letters(shop)["count"] == 4

    assert shop.run("doctor", "--json").json["dead_letters"] == {"books": 3, "other": 1}

    shop.write("mended", "")
    redriven = shop.run("dead-letters", "redrive", "e-a", "--json").json
    assert redriven == {"count": 1, "redriven": ["e-a/books.book"]}
    shop.wait_until(lambda: len(booked(shop)) == 2)
    shop.run("dead-letters", "redrive", "--service", "books")
    shop.wait_until(lambda: len(booked(shop)) == 4)
    assert sorted(booked(shop)) == ["a", "b", "c", "good"]
    assert letters(shop)["count"] == 1

    # What is not mended comes back as a dead letter of its own.
    shop.run("dead-letters", "redrive", "--all")
    shop.wait_until(lambda: letters(shop)["count"] == 1)
    assert shop.run("dead-letters", "discard", "--all", "--yes", "--json").json["count"] == 1
    assert letters(shop) == {"count": 0, "dead_letters": []}
    assert "No dead letters." in shop.run("dead-letters", "redrive", "--all").err
    assert running.stop() == 0


def booked(shop):
    return [event["order"] for event in shop.events("books")]
