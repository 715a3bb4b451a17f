"""``tropism replay``: beside a live service, with old code and new, interrupted and resumed."""

import signal
import sqlite3
from contextlib import closing

import pytest

APP = """
import time, urllib.request
from tropism import App, Event, Retry, Service, State, use
class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    cents: int
class Booked(Event, type="books.booked.v1", key="order"):
    order: str
    total: int
def make(name="books", factor=1, effect=False, pause=0.0):
    books = Service(name)
    @books.on(Paid, retry=Retry(attempts=1))
    def book(paid: Paid, total: State[int] = use("total")) -> Booked:
        print("booking")
        if pause:
            time.sleep(pause)
        if effect and paid.cents == 3:
            urllib.request.urlopen("http://127.0.0.1:9/")
        total.set((total.get() or 0) + paid.cents * factor)
        return Booked(order=paid.order, total=total.get() or 0)
    return books
app = App("shop", services=[make()])
double = App("shop", services=[make(factor=2)])
calling = App("shop", services=[make(effect=True)])
slow = App("shop", services=[make(pause=0.01)])
"""


def dump(path):
    """Return all that the live database holds."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as sql:
        return [
            sql.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall() for t in ("events", "state", "topics")
        ]


@pytest.fixture(scope="module")
def shop(shared_folder):
    shared_folder.write("shop.py", APP)
    shared_folder.write("tropism.toml", 'app = "shop:app"\n')
    rows = "".join(f"o{n % 7},{n},2026-01-01T{n // 60:02}:{n % 60:02}:00Z\n" for n in range(1, 201))
    shared_folder.write("paid.csv", "order,cents,at\n" + rows)
    shared_folder.run("events", "import", "paid.csv", "--type", "orders.paid.v1", "--time", "at")
    live = shared_folder.start("run")
    shared_folder.wait_until(lambda: len(shared_folder.events("books")) == 200)
    shared_folder.live = live
    return shared_folder


def test_a_replay_beside_the_live_service_leaves_it_alone(shop):
    """Old code tells the same, new code tells what is otherwise, and the live store stays byte for byte."""
    database = shop.path / ".tropism" / "tropism.db"
    before = dump(database)
    same = shop.run("replay", "books", "--check", "--json").json
    assert same["is_same"]
    assert same["difference"]["total"]["same"] == same["events"] == 200
    doubled = shop.run("replay", "books", "--code", "shop:double", "--into", "doubled", code=0)
    assert "Not as before." in doubled.out
    assert "total: 1 -> 2" in doubled.out
    shop.run("replay", "books", "--code", "shop:double", "--into", "doubled", "--check", code=1)
    assert dump(database) == before
    assert shop.live.process.poll() is None


def test_a_range_is_said_in_times_or_offsets(shop):
    """From and until bound what is handled; the state before it can be rebuilt."""
    found = shop.run(
        "replay", "books", "--from", "2026-01-01T01:00Z", "--until", "2026-01-01T02:00Z", "--state", "rebuilt",
        "--into", "hour", "--json",
    ).json  # fmt: skip
    assert found["events"] == 60
    assert found["difference"]["total"] == {"same": 60, "moved": 0, "changed": 0, "missing": 0, "new": 0}
    only = shop.run("replay", "books", "--from", "orders/0:2", "--into", "part", "--json").json
    assert list(only["partitions"]) == ["orders/0"]
    names = [each["name"] for each in shop.run("replay", "list", "--json").json["replays"]]
    assert {"hour", "part"} <= set(names)
    for name in ("hour", "part"):
        shop.run("replay", "discard", name)
    assert not {"hour", "part"} & {e["name"] for e in shop.run("replay", "list", "--json").json["replays"]}
    assert not list((shop.path / ".tropism" / "replays").glob("hour*"))


def test_what_handlers_would_do_outside_is_refused_and_counted(shop):
    """A connection from a handler is not made; the event counts as failed, with that as its cause."""
    found = shop.run("replay", "books", "--code", "shop:calling", "--into", "calling", "--json").json
    assert found["refused"] == {"books.book: connect": 1}
    assert found["failed"] == 1
    assert "this is a replay" in found["failures"][0]["cause"], found


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_replay_goes_on(shop, how):
    """Ctrl-C and kill -9 end it; the same command goes on, and its report is that of one left alone."""
    name = f"slow-{how}"
    file = shop.path / ".tropism" / "replays" / f"{name}.db"
    arguments = ("replay", "books", "--code", "shop:slow", "--into", name, "--json")
    going = shop.start(*arguments)
    going.wait_for("booking", count=10)
    shop.run("replay", "discard", name, code=1)
    shop.run(*arguments, code=1)
    assert going.stop(how) in {130, -9}
    assert file.exists()
    done = shop.run(*arguments).json
    assert done["resumed"]
    assert done["difference"]["total"]["same"] == 200


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nobody",), "has no such service"),
        (("books", "--from", "soon"), "it is no time, and no offset"),
        (("books", "--from", "99999"), "offset 99999 is not in"),
        (("books", "--from", "2026-01-02", "--until", "2026-01-01"), "not after its begin"),
        (("books", "--from", "2030-01-01"), "lies in this range"),
        (("books", "--into", "../else"), "Cannot name a replay"),
        (("books", "--code", "shop:nothing"), "has no such attribute"),
        (("books", "--state", "old"), "is no state to begin with"),
        (("discard", "nothing"), "Cannot discard replay"),
    ],
)
def test_wrong_orders_are_refused_in_one_line(shop, arguments, told):
    """Each says what is wrong and what to do, and begins nothing."""
    into = () if "--into" in arguments or "discard" in arguments else ("--into", "wrong")
    assert told in shop.run("replay", *arguments, *into, code=1).err


def test_code_that_changed_is_another_replay(shop):
    """An edit between two runs of one replay is noticed: its parts would not fit together."""
    shop.run("replay", "books", "--into", "edited")
    shop.write("shop.py", APP + "\n# edited\n")
    assert "its code has changed since" in shop.run("replay", "books", "--into", "edited", code=1).err
    shop.run("replay", "discard", "edited")
    shop.run("replay", "books", "--into", "edited")
