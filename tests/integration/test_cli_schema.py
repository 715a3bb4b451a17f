"""Schemas on the command line: registered by starting, shown, checked, exported, and refused."""

import json

import pytest

OLD = """
from tropism import App, Event, Service
class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    amount: float
s = Service("books")
@s.on(Paid)
def note(paid: Paid) -> None: ...
app = App("shop", services=[s])
"""
NEW = OLD.replace("    amount: float\n", '    amount: float\n    currency: str = "EUR"\n')
BROKEN = OLD.replace("    amount: float\n", "    cents: int\n")
FORWARD = BROKEN.replace("services=[s]", 'services=[s], compatibility={Paid: "forward"}')
UPCAST = BROKEN.replace(
    'class Paid(Event, type="orders.paid.v1", key="order"',
    """
from tropism import upcasts
@upcasts("orders.paid.v1", to="orders.paid.v2")
def to_cents(old):
    return {"order": old["order"], "cents": round(old["amount"] * 100)}
class Paid(Event, type="orders.paid.v2", key="order", upcasts=[to_cents]""",
)
PAID = "orders.paid.v1"


@pytest.fixture
def shop(folder):
    folder.write("shop.py", OLD)
    folder.write("tropism.toml", 'app = "shop:app"\n')
    return folder


def started(shop):
    running = shop.start("run")
    running.wait_for("Ready")
    assert running.stop() == 0
    return running.text


def test_a_start_registers_each_version_once_and_refuses_what_old_events_do_not_fit(shop):
    """Two starts add one record; a new version says so; a break leaves the app down with the field named."""
    assert "No schemas" in shop.run("schema", "list").err
    assert "new schema" not in started(shop) + started(shop)
    assert [event["version"] for event in shop.events("schemas")] == [1]
    shop.write("shop.py", NEW)
    assert "Event type orders.paid.v1 has a new schema, version 2." in started(shop)
    shop.write("shop.py", BROKEN)
    refused = shop.run("run", code=1, apart=True)
    assert "Cannot start app 'shop': event type 'orders.paid.v1' changed" in refused.err
    assert "field '$.cents' is required and may be missing. Give the field a default" in refused.err
    assert [event["version"] for event in shop.events("schemas")] == [1, 2]

    listed = shop.run("schema", "list", "--json").json
    assert [version["version"] for version in listed[PAID]] == [1, 2]
    assert PAID in shop.run("schema", "list").out
    shown = shop.run("schema", "show", PAID, "--json").json
    assert (shown["version"], shown["mode"]) == (2, "backward")
    assert "currency" not in json.dumps(shop.run("schema", "show", f"{PAID}@1").json)
    assert "Name one from 1 to 2" in shop.run("schema", "show", f"{PAID}@7", code=1).err
    assert "Name one of ['orders.paid.v1']" in shop.run("schema", "show", "nothing", code=1).err

    found = shop.run("schema", "check", code=1)
    assert "$.cents" in found.out
    assert "Give the field a default" in found.out
    told = shop.run("schema", "check", "--json", code=1).json
    assert told["compatible"] is False
    assert {each["field"] for each in told["breaks"]} == {"$.cents"}
    shop.write("shop.py", FORWARD)
    assert "$.amount" in shop.run("schema", "check", code=1).out
    assert "Compatible" in shop.run("schema", "check", "--mode", "none").err
    assert "no such mode" in shop.run("schema", "check", "--mode", "sideways", code=1).err
    assert "doctor" not in shop.run("doctor", code=None).err
    assert "tropism-schemas" not in shop.run("doctor", code=None).out

    shop.write("shop.py", UPCAST)
    shop.run("schema", "check")


def test_a_checked_in_file_is_checked_without_a_log(shop):
    """Exported, committed and compared: a pipeline needs no store, and exports add versions to the file."""
    shop.run("schema", "export", "-o", "schemas.json")
    first = (shop.path / "schemas.json").read_bytes()
    shop.run("schema", "export", "-o", "schemas.json")
    assert (shop.path / "schemas.json").read_bytes() == first
    assert shop.run("schema", "export").json == json.loads(first)
    shop.write("shop.py", NEW)
    assert "schemas.json" in shop.run("schema", "check").err
    assert not (shop.path / ".tropism").exists()
    shop.run("schema", "export", "-o", "schemas.json")
    assert len(json.loads((shop.path / "schemas.json").read_bytes())["schemas"][PAID]) == 2
    shop.write("shop.py", BROKEN)
    assert "schemas.json" in shop.run("schema", "check", code=1).out
    assert shop.run("schema", "check", "--against", "schemas.json", "--mode", "full", "--json", code=1).json[
        "checked"
    ] == ["schemas.json"]
    shop.run("schema", "check", "--against", "sqlite:///./none/there.db")
    assert "Cannot export the schemas" in shop.run("schema", "export", "-o", "schemas.json", code=1).err
    shop.write("odd.json", "[1]")
    assert "is not what" in shop.run("schema", "check", "--against", "odd.json", code=1).err
    assert "Write it with" in shop.run("schema", "check", "--against", "no.json", code=1).err
    assert "Cannot write" in shop.run("schema", "export", "-o", "no/where/s.json", code=1).err


def test_tail_shows_old_events_as_they_are_stored_or_as_they_are_read(shop):
    """What is stored stays as it was published; --upcast shows what handlers get."""
    shop.run("events", "publish", PAID, "--data", '{"order": "a", "amount": 1.5}')
    shop.write("shop.py", UPCAST)
    (stored,) = shop.run("events", "tail", "--json").json
    assert (stored["type"], stored["data"]) == (PAID, {"order": "a", "amount": 1.5})
    (read,) = shop.run("events", "tail", "--json", "--upcast").json
    assert (read["type"], read["data"]) == ("orders.paid.v2", {"order": "a", "cents": 150})
    assert read["id"] == stored["id"]
