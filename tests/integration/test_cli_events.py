"""Reading, publishing and importing events, as users do it."""

import gzip
import json
import signal

import pytest

APP = """
from datetime import datetime
from typing import Annotated
import msgspec
from tropism import App, Event, Service

class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    amount: Annotated[int, msgspec.Meta(ge=0)]
    note: str | None = None
    weight: float | None = None
    at: datetime | None = None
    express: bool = False

class Ping(Event, type="ops.ping.v1"):
    text: str

app = App("shop", services=[Service("idle")], events=[Paid, Ping])
"""
PAID = "orders.paid.v1"


@pytest.fixture
def shop(folder):
    folder.write("shop.py", APP)
    folder.write("tropism.toml", 'app = "shop:app"\n')
    return folder


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_publish_checks_dedups_and_tells(shop):
    told = shop.run(
        "events", "publish", PAID, "--data", '{"order": "a", "amount": 3}', "--id", "one", "--json"
    )
    assert told.json["new"] is True
    assert told.json["topic"] == "orders"
    assert told.json["subject"] == "a"
    again = shop.run("events", "publish", PAID, "--data", '{"order": "a", "amount": 3}', "--id", "one")
    assert "already holds an event with id 'one'" in again.err
    assert again.out == ""
    shop.write("data.json", '{"order": "b", "amount": 4}')
    shop.run(
        "events", "publish", PAID, "--file", "data.json", "--id", "two", "--time", "2030-01-01T00:00:00Z"
    )
    shop.run("events", "publish", PAID, "--file", "-", input='{"order": "c", "amount": 5}')

    shown = shop.run("events", "tail", "--json").json
    assert [event["id"] for event in shown][:1] == ["one"]
    assert len(shown) == 3
    two = next(event for event in shown if event["id"] == "two")
    assert two["specversion"] == "1.0"
    assert two["time"] == "2030-01-01T00:00:00Z"
    assert two["data"] == {
        "order": "b",
        "amount": 4,
        "note": None,
        "weight": None,
        "at": None,
        "express": False,
    }


def test_publishing_from_far_ahead_is_warned_of(shop):
    """A wrong clock cannot be taken back: who publishes with one hears what it does."""
    arguments = ("events", "publish", PAID, "--data", '{"order": "a", "amount": 1}', "--time")
    assert "Careful: 2400-01-01T00:00:00Z lies ahead." in shop.run(*arguments, "2400-01-01").err
    assert "Careful" not in shop.run(*arguments, "2020-01-01").err


def test_a_time_that_not_every_calendar_can_tell_does_not_come_in(shop):
    arguments = ("events", "publish", PAID, "--data", '{"order": "a", "amount": 1}', "--time")
    for time in ("9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "9000-01-01"):
        error = shop.run(*arguments, time, code=1).err
        assert f"Cannot read time '{time}': it lies outside of the years 1000 to 8999." in error
    shop.write(
        "old.csv", "order,amount,known\na,1,9999-12-31T23:59:59-05:00\nb,1,2026-01-01\nc,1,0500-01-01\n"
    )
    done = shop.run("events", "import", "old.csv", "--type", PAID, "--time", "known", "--json", code=1)
    assert (done.json["imported"], done.json["rejected"]) == (1, 2)
    assert "Rejected line 2: column 'known' lies outside of the years 1000 to 8999." in done.err


def test_publish_refuses_what_does_not_fit(shop):
    def refused(*arguments):
        error = shop.run("events", "publish", *arguments, code=1).err
        assert len(error.strip().splitlines()) == 1
        return error

    assert "Name one of ['ops.ping.v1', 'orders.paid.v1']" in refused("orders.payed.v1", "--data", "{}")
    assert "missing required field `amount`" in refused(PAID, "--data", '{"order": "a"}')
    assert "`int` >= 0 - at `$.amount`" in refused(PAID, "--data", '{"order": "a", "amount": -1}')
    assert "not JSON" in refused(PAID, "--data", "{order: a}")
    assert "one of --data and --file" in refused(PAID)
    assert "No such file" in refused(PAID, "--file", "absent.json")
    assert "not ISO 8601" in refused(PAID, "--data", '{"order": "a", "amount": 1}', "--time", "soon")
    assert shop.run("events", "tail", "--json").json == []


@pytest.fixture(scope="module")
def history(shared_folder):
    """A log of a hundred payments and a ping between them, one every minute."""
    shop = shared_folder
    shop.write("shop.py", APP)
    shop.write("tropism.toml", 'app = "shop:app"\n')
    rows = "".join(f"2030-01-01T{n // 60:02}:{n % 60:02}:00Z,k{n % 7},{n}\n" for n in range(100))
    shop.write("paid.csv", f"time,order,amount\n{rows}")
    told = shop.run("events", "import", "paid.csv", "--type", PAID, "--time", "time", "--json").json
    assert told["imported"] == 100
    shop.run("events", "publish", "ops.ping.v1", "--data", '{"text": "x"}', "--time", "2030-01-01T00:30:30Z")
    return shop


@pytest.mark.parametrize(
    ("arguments", "amounts"),
    [
        (["--count", "3"], [97, 98, 99]),
        (["--from", "start", "--count", "2"], [0, 1]),
        (["--from", "2030-01-01T01:38:00Z"], [98, 99]),
        (["--from", "2030-01-01 01:37:30"], [98, 99]),
        (["--from", "end"], []),
        (["--from", "2031-01-01"], []),
        (["--topic", "ops"], [None]),
        (["--type", "ops.ping.v1", "--topic", "ops", "--topic", "orders"], [None]),
        (["--from", "2030-01-01T00:30:00Z", "--count", "3"], [30, None, 31]),
        (["--count", "1000"], [*range(31), None, *range(31, 100)]),
    ],
)
def test_tail_shows_what_is_asked_in_order_of_time(history, arguments, amounts):
    shown = history.run("events", "tail", "--json", *arguments).json
    assert [event["data"].get("amount") for event in shown] == amounts


def test_tail_for_people(history):
    out = history.run("events", "tail", "--count", "1").out
    assert out.split()[:3] == ["2030-01-01T01:39:00Z", PAID, "k1"]
    assert "does not exist" in history.run("events", "tail", "--topic", "nix", code=1).err
    assert "not ISO 8601" in history.run("events", "tail", "--from", "yesterday", code=1).err


def test_follow_prints_a_line_per_event_as_it_comes(shop):
    running = shop.start("events", "tail", "--follow", "--json", "--from", "start")
    for number in range(2):
        shop.run("events", "publish", PAID, "--data", f'{{"order": "a", "amount": {number}}}')
    shop.wait_until(lambda: shop.out().count("\n") == 2)
    assert running.stop(signal.SIGINT) == 130
    assert [event["data"]["amount"] for event in lines(shop.out())] == [0, 1]
    assert "Traceback" not in running.text


def test_import_csv_converts_reports_and_is_idempotent(shop):
    shop.write(
        "paid.csv",
        "when,who,amount,note,weight,at,express,unused\n"
        "2030-01-01 10:00:00,a,1,,,2030-01-01T00:00:00,true,x\n"
        "2030-01-01 11:00:00,b,minus,hello,,,,x\n"
        "2030-01-01 12:00:00,c,3,hello,1.5,,0,x\n"
        "2030-01-01 12:00:00,c,3,hello,1.5,,0,x\n"
        "not a time,d,4,,,,,x\n"
        "2030-01-01 14:00:00,e,5\n"
        "2030-01-01 15:00:00,f,-6,NA,NA,,,x\n"
        "2030-01-01 16:00:00,g,7,NA,NA,,,x\n",
    )
    arguments = ("events", "import", "paid.csv", "--type", PAID, "--time", "when", "--key", "who")
    arguments = (*arguments, "--null", "NA", "--zone", "Europe/Paris", "--json")
    done = shop.run(*arguments, code=1)
    assert {k: done.json[k] for k in ("rows", "imported", "known_before", "rejected")} == {
        "rows": 8,
        "imported": 4,
        "known_before": 0,
        "rejected": 4,
    }
    rejects = lines((shop.path / "paid.csv.rejects.ndjson").read_text())
    assert [reject["line"] for reject in rejects] == [3, 6, 7, 8]
    assert "Expected `int`, got `str` - at `$.amount`" in rejects[0]["error"]
    assert "no ISO 8601 time" in rejects[1]["error"]
    assert "3 values for 8 columns" in rejects[2]["error"]
    assert rejects[3]["row"]["who"] == "f"
    assert "Rejected line 3" in done.err

    again = shop.run(*arguments, code=1).json
    assert (again["imported"], again["known_before"]) == (0, 4)
    events = shop.run("events", "tail", "--json").json
    assert [event["data"]["order"] for event in events] == ["a", "c", "c", "g"]
    assert events[0]["time"] == "2030-01-01T09:00:00Z"
    assert events[0]["data"] == {
        "order": "a",
        "amount": 1,
        "note": None,
        "weight": None,
        "at": "2030-01-01T00:00:00",
        "express": True,
    }
    assert events[1]["data"]["weight"] == 1.5
    assert events[3]["data"]["note"] is None


def test_bad_rows_are_not_written_over_the_file_they_are_in(shop):
    shop.write("paid.csv", "order,amount,at\na,1,2026-01-01\nb,none,2026-01-02\n")
    before = (shop.path / "paid.csv").read_text()
    refused = ("events", "import", "paid.csv", "--type", PAID, "--time", "at", "--rejects", "./paid.csv")
    assert "would be lost. Choose another --rejects." in shop.run(*refused, code=1).err
    assert (shop.path / "paid.csv").read_text() == before


def test_a_file_that_was_mended_adds_what_was_rejected_and_nothing_twice(shop):
    arguments = ("events", "import", "paid.csv", "--type", PAID, "--time", "when", "--json")
    shop.write("paid.csv", "order,amount,when\na,1,2026-01-01\nb,none,2026-01-02\nc,3,2026-01-03\n")
    assert shop.run(*arguments, code=1).json["imported"] == 2
    assert (shop.path / "paid.csv.rejects.ndjson").exists()
    shop.write("paid.csv", "order,amount,when\na,1,2026-01-01\nc,3,2026-01-03\nd,4,2026-01-04\n")
    told = shop.run(*arguments).json
    assert (told["imported"], told["known_before"]) == (1, 2)
    # What was rejected before is rejected no more.
    assert not (shop.path / "paid.csv.rejects.ndjson").exists()


def test_a_quote_that_is_not_closed_costs_its_own_line_and_no_other(shop):
    """Rows after it are imported, and a value that rightly spans lines stays whole."""
    rows = [f"2030-01-01,o{n},{n}," for n in range(4000)]
    rows[5] = '2030-01-01,"o5,5,'
    rows[7] = '2030-01-01,o7,7,"two\nlines"'
    shop.write("paid.csv", "\n".join(["t,order,amount,note", *rows]) + "\n")
    done = shop.run("events", "import", "paid.csv", "--type", PAID, "--time", "t", "--json", code=1)
    assert (done.json["imported"], done.json["rejected"]) == (3999, 1)
    (reject,) = lines((shop.path / "paid.csv.rejects.ndjson").read_text())
    assert reject == {
        "line": 7,
        "error": "a quote that it opens is not closed",
        "row": {"text": '2030-01-01,"o5,5,'},
    }
    notes = [event["data"]["note"] for event in shop.run("events", "tail", "--json", "-n", "5000").json]
    assert notes.count("two\nlines") == 1


def test_unsorted_times_are_sorted_first_and_ids_of_a_column_count_once(shop):
    rows = [
        {"id": n % 90, "order": "k", "amount": n, "t": f"2030-01-{1 + n * 7 % 28:02}T00:00:00Z"}
        for n in range(100)
    ]
    shop.write("paid.ndjson", "\n".join(json.dumps(row) for row in rows) + "\n\n[1]\n{\n")
    done = shop.run(
        "events", "import", "paid.ndjson", "--type", PAID, "--time", "t", "--id", "id", "--json", code=1
    )
    assert (done.json["imported"], done.json["known_before"], done.json["rejected"]) == (90, 10, 2)
    assert "sorting them first" in done.err
    times = [event["time"] for event in shop.run("events", "tail", "--json", "--from", "start").json]
    assert times == sorted(times)


def test_import_parquet(shop):
    pa = pytest.importorskip("pyarrow")
    from datetime import UTC, datetime

    from pyarrow import parquet

    times = [datetime(2030, 1, 1, hour, tzinfo=UTC) for hour in range(3)]
    table = {
        "t": times,
        "order": ["a", "b", "c"],
        "amount": [1, 2, None],
        "weight": [1.0, float("nan"), None],
    }
    parquet.write_table(pa.table(table), shop.path / "paid.parquet")
    done = shop.run("events", "import", "paid.parquet", "--type", PAID, "--time", "t", "--json", code=1)
    assert (done.json["imported"], done.json["rejected"]) == (2, 1)
    weights = [event["data"]["weight"] for event in shop.run("events", "tail", "--json").json]
    assert weights == [1.0, None]


def test_a_parquet_time_that_no_calendar_reaches_costs_its_own_row(shop):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    moments = [1_700_000_000_000_000, 2**62, 1_700_000_001_000_000]
    at, exact = pa.array(moments, pa.timestamp("us")), pa.array([1, 2, 3], pa.timestamp("ns"))
    table = pa.table({"order": ["a", "b", "c"], "amount": [1, 2, 3], "known": at, "at": exact})
    parquet.write_table(table, shop.path / "paid.parquet")
    done = shop.run("events", "import", "paid.parquet", "--type", PAID, "--time", "known", "--json", code=1)
    assert (done.json["imported"], done.json["rejected"]) == (2, 1)
    (rejected,) = lines((shop.path / "paid.parquet.rejects.ndjson").read_text())
    assert rejected["error"] == "column 'known' holds a value that is out of range"
    assert str(2**62) in rejected["row"]["known"]


def test_import_refuses_what_it_cannot_read(shop):
    shop.write("paid.csv", "time,order\n2030-01-01,a\n")
    shop.write("twice.csv", "time,time\n")
    shop.write("paid.xls", "")
    shop.write("no.parquet", "no parquet")
    (shop.path / "latin.csv").write_bytes("time,order,amount\n2030-01-01,é,1\n".encode("latin-1"))

    text = "time,order,amount\n" + "".join(f"2030-01-01,o{n * 7919 % 9973},{n}\n" for n in range(9000))
    packed = bytearray(gzip.compress(text.encode()))
    packed[1000:2000] = b"\xff" * 1000
    (shop.path / "torn.csv.gz").write_bytes(bytes(packed))

    def refused(*arguments, type=PAID, time="time"):
        return shop.run("events", "import", *arguments, "--type", type, "--time", time, code=1).err

    assert "has no column 'amount'" in refused("paid.csv")
    assert "has no column 'when'" in refused("paid.csv", time="when")
    assert "the app does not know this type" in refused("paid.csv", type="orders.payed.v1")
    assert "there is no such file" in refused("absent.csv")
    assert "its kind is unknown" in refused("paid.xls")
    assert "names 'time' twice" in refused("twice.csv")
    assert "no Parquet file" in refused("no.parquet")
    assert "it is not UTF-8" in refused("latin.csv")
    assert "Convert or mend the file." in refused("torn.csv.gz")
    assert "time zone 'Mars'" in refused("paid.csv", "--field", "amount=order", "--zone", "Mars")
    assert "Write it as FIELD=COLUMN" in refused("paid.csv", "--field", "amount")
    assert "has no key" in refused("paid.csv", "--key", "order", type="ops.ping.v1")
