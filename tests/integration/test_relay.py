"""``tropism relay`` beside programs that write to their own databases: killed, and taken over."""

import json
import signal
import sqlite3
import threading
from contextlib import closing

import psycopg
import pytest
from tests.integration.test_outbox_transactions import Paid, postgres_database

from tropism import create_outbox, publish_in

APP = """
from tropism import App, Event, Service

class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    amount: int = 0

class Booked(Event, type="books.booked.v1", key="order"):
    order: str
    amount: int

books = Service("books")

@books.on(Paid)
def book(event: Paid) -> Booked:
    return Booked(order=event.order, amount=event.amount)

app = App("shop", services=[books])
"""


@pytest.fixture
def shop(folder):
    folder.write("shop.py", APP)
    folder.write("tropism.toml", 'app = "shop:app"\n')
    return folder


def opened(url):
    return (
        sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)
        if "sqlite" in url
        else psycopg.connect(url)
    )


def left(url):
    with closing(opened(url)) as connection:
        return connection.execute("SELECT count(*) FROM tropism_outbox").fetchone()[0]


def made(found):
    with closing(opened(found)) as connection:
        create_outbox(connection)
        connection.commit()
    return found


@pytest.fixture
def file_url(tmp_path):
    return made(f"sqlite:///{tmp_path}/user's 100%.db")


@pytest.fixture
def server_url():
    return made(postgres_database())


@pytest.fixture(params=["file_url", "server_url"])
def url(request):
    return request.getfixturevalue(request.param)


def order_of(events):
    found = {}
    for event in events:
        found.setdefault(event["order"], []).append(event["amount"])
    return found


def test_a_relay_that_is_killed_loses_nothing_and_doubles_nothing(shop, url):
    """However often it dies in the middle of writers, each key's events lie in the log once, in order."""
    writers, rounds = 2, 40

    def write(number):
        with closing(opened(url)) as connection:
            for n in range(rounds):
                publish_in(
                    connection,
                    [Paid(order=f"w{number}", amount=2 * n), Paid(order=f"w{number}", amount=2 * n + 1)],
                )
                if n % 7 == 3:
                    connection.rollback()
                    publish_in(connection, Paid(order=f"w{number}", amount=2 * n))
                connection.commit()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for least in (1, 40, 80):
        running = shop.start("relay", url)
        shop.wait_until(lambda least=least: len(shop.events("orders")) >= least)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
    for thread in threads:
        thread.join()
    running = shop.start("relay", url)
    shop.wait_until(lambda: left(url) == 0)
    running.stop()
    wanted = [a for n in range(rounds) for a in ((2 * n,) if n % 7 == 3 else (2 * n, 2 * n + 1))]
    assert order_of(shop.events("orders")) == {f"w{n}": wanted for n in range(writers)}


def test_run_publishes_what_the_settings_name(shop, server_url):
    """With outbox in tropism.toml, the app's services handle what a transaction left, and the table is empty."""
    url = server_url
    shop.write("tropism.toml", f'app = "shop:app"\noutbox = {json.dumps([url])}\n')
    running = shop.start("run")
    running.wait_for("Ready")
    with closing(opened(url)) as connection:
        publish_in(connection, Paid(order="a", amount=7), ids=["one"])
        connection.commit()
        publish_in(connection, Paid(order="a", amount=7), ids=["one"])  # the same fact, told twice
        connection.commit()
    shop.wait_until(lambda: shop.events("books") and left(url) == 0)
    running.stop()
    assert shop.events("books") == [{"order": "a", "amount": 7}]


def test_doctor_tells_of_outboxes_and_of_what_no_log_takes(shop, file_url):
    """How much waits is told; what was put aside is a problem, and so is an outbox that cannot be read."""
    url = file_url
    shop.write("tropism.toml", f'app = "shop:app"\n[outbox]\nurls = {json.dumps([url])}\n')
    with closing(opened(url)) as connection:
        publish_in(connection, [Paid(order="a"), Paid(order="b"), Paid(order="c")])
        connection.commit()
    (told,) = shop.run("doctor", "--json").json["outboxes"]
    assert (told["waiting"], told["refused"]) == (3, 0)
    with closing(opened(url)) as connection:
        connection.execute("UPDATE tropism_outbox SET refused = 'too large' WHERE subject = 'b'")
        connection.commit()
    report = shop.run("doctor", "--json", code=1).json
    assert any("Cannot publish 1 events of outbox" in problem for problem in report["problems"])
    assert "2 events wait, 1 were put aside" in shop.run("doctor", code=1).out
    nowhere = {"TROPISM_OUTBOX": f"sqlite:///{shop.path}/none.db"}
    report = shop.run("doctor", "--json", code=1, **nowhere).json
    assert any("Make its table with create_outbox" in problem for problem in report["problems"])


def test_outboxes_that_cannot_be_meant_are_refused(shop):
    """No outbox, another database, a list that holds no text: each is told with its remedy."""
    assert "no outbox is named" in shop.run("relay", code=1).err
    assert "outboxes are in postgresql and sqlite" in shop.run("relay", "mysql://u:secret@h/d", code=1).err
    assert "secret" not in shop.run("relay", "mysql://u:secret@h/d", code=1).err
    assert "it names no file" in shop.run("relay", "sqlite:///", code=1).err
    shop.write("tropism.toml", 'app = "shop:app"\noutbox = [1]\n')
    assert "neither a URL nor a list of them" in shop.run("relay", code=1).err
