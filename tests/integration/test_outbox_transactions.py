"""Publishing in transactions of the user's, on real databases: with the commit, or not at all."""

import asyncio
import re
import sqlite3
import uuid
from contextlib import closing, contextmanager
from datetime import datetime
from urllib.parse import unquote

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from tests.servers import postgres

from tropism import Event, create_outbox, create_outbox_async, publish_in, publish_in_async
from tropism.adapters.outbox import open_outgoing
from tropism.adapters.outbox.rows import lock_of
from tropism.adapters.outbox.sqlite import SqliteOutgoing
from tropism.core.errors import InvalidInputError, NotSupportedError, UnavailableError


class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    amount: int = 0


def postgres_database():
    """Return a URL of a database that nobody uses yet."""
    base = postgres().get_uri().replace("postgres:@", "postgres@")
    name = f"shop{uuid.uuid4().hex}"
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return re.sub(r"/postgres\?", f"/{name}?", base)


@pytest.fixture(scope="module")
def url():
    found = postgres_database()
    with psycopg.connect(found) as connection:
        connection.execute("CREATE TABLE orders (name text PRIMARY KEY)")
        create_outbox(connection)
    return found


@pytest.fixture
def postgres_url(url):
    with psycopg.connect(url) as connection:
        connection.execute("TRUNCATE tropism_outbox, orders")
    return url


@pytest.fixture
def file(tmp_path):
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        create_outbox(connection)
        create_outbox(connection)  # made already: nothing happens
        connection.execute("CREATE TABLE orders (name text PRIMARY KEY)")
        connection.commit()
    return tmp_path / "shop.db"


def engine_url(url):
    return url.replace("postgresql://", "postgresql+psycopg://")


@contextmanager
def plain_sqlite(file, url):
    with closing(sqlite3.connect(file)) as connection:
        yield connection


@contextmanager
def plain_psycopg(file, url):
    with closing(psycopg.connect(url)) as connection:
        yield connection


@contextmanager
def alchemy(made, kind):
    engine = sqlalchemy.create_engine(made)
    try:
        with Session(engine) if kind is Session else engine.connect() as found:
            yield found
    finally:
        engine.dispose()


WAYS = {
    "sqlite3": plain_sqlite,
    "psycopg": plain_psycopg,
    "connection on sqlite": lambda file, url: alchemy(f"sqlite:///{file}", None),
    "session on sqlite": lambda file, url: alchemy(f"sqlite:///{file}", Session),
    "connection on postgresql": lambda file, url: alchemy(engine_url(url), None),
    "session on postgresql": lambda file, url: alchemy(engine_url(url), Session),
}


def inserted(connection, name):
    sql = f"INSERT INTO orders VALUES ('{name}')"
    connection.execute(sqlalchemy.text(sql) if "sqlalchemy" in type(connection).__module__ else sql)


def outbox(way, file, url):
    """Return what lies in the outbox, and in the user's own table."""
    query = "SELECT event_id, subject, data FROM tropism_outbox ORDER BY id"
    with closing(sqlite3.connect(file) if "sqlite" in way else psycopg.connect(url)) as connection:
        rows = [(id, subject, bytes(data)) for id, subject, data in connection.execute(query).fetchall()]
        return rows, [
            row[0] for row in connection.execute("SELECT name FROM orders ORDER BY name").fetchall()
        ]


@pytest.mark.parametrize("way", WAYS)
def test_events_stand_and_fall_with_what_they_tell_of(way, file, postgres_url):
    """A commit leaves both rows, a rollback neither; ids are given, or made and told."""
    with WAYS[way](file, postgres_url) as connection:
        inserted(connection, "lost")
        publish_in(connection, Paid(order="lost"))
        connection.rollback()
        inserted(connection, "kept")
        ids = publish_in(
            connection, [Paid(order="kept", amount=1), Paid(order="kept", amount=2)], ids=["1", "2"]
        )
        (made,) = publish_in(connection, Paid(order="other"), source="till")
        assert publish_in(connection, []) == []
        connection.commit()
    assert ids == ["1", "2"]
    assert len(made) == 32
    rows, orders = outbox(way, file, postgres_url)
    assert rows == [
        ("1", "kept", b'{"order":"kept","amount":1}'),
        ("2", "kept", b'{"order":"kept","amount":2}'),
        (made, "other", b'{"order":"other","amount":0}'),
    ]
    assert orders == ["kept"]


def test_a_savepoint_that_is_rolled_back_takes_its_events_along(postgres_url):
    """Of a nested transaction that fails nothing is published, of the one around it everything."""
    with alchemy(engine_url(postgres_url), Session) as session:
        publish_in(session, Paid(order="outer"), ids=["outer"])
        with session.begin_nested() as inner:
            publish_in(session, Paid(order="inner"))
            inner.rollback()
        session.commit()
    assert [row[0] for row in outbox("psycopg", None, postgres_url)[0]] == ["outer"]


def test_what_has_to_be_awaited_is(postgres_url):
    """An asynchronous session, connection or psycopg connection publishes as the others do."""

    async def main():
        engine = create_async_engine(engine_url(postgres_url))
        async with AsyncSession(engine) as session:
            await create_outbox_async(session)
            await publish_in_async(session, Paid(order="a"), ids=["session"])
            await session.commit()
            await publish_in_async(session, Paid(order="a"))
            await session.rollback()
        async with engine.begin() as connection:
            await publish_in_async(connection, [Paid(order="a"), Paid(order="b")], ids=["one", "two"])
        await engine.dispose()
        connection = await psycopg.AsyncConnection.connect(postgres_url)
        async with connection:
            await publish_in_async(connection, Paid(order="a"), ids=["plain"])
            with pytest.raises(InvalidInputError, match="has to be awaited. Call publish_in_async"):
                publish_in(connection, Paid(order="a"))

    asyncio.run(main())
    assert [row[0] for row in outbox("psycopg", None, postgres_url)[0]] == ["session", "one", "two", "plain"]


def test_a_connection_that_commits_by_itself_is_refused(file, postgres_url):
    """Without a transaction there is nothing to stand or fall with, so that is an error, and nothing is stored."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        create_outbox(connection)
        with pytest.raises(InvalidInputError, match="Begin a transaction first"):
            publish_in(connection, Paid(order="a"))
        connection.execute("BEGIN")
        publish_in(connection, Paid(order="a"))
        connection.execute("ROLLBACK")
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        with pytest.raises(InvalidInputError, match="Begin a transaction first"):
            publish_in(connection, Paid(order="a"))
        with connection.transaction():
            publish_in(connection, Paid(order="in a block"))
    for how in ({"isolation_level": "AUTOCOMMIT"}, {"execution_options": {"isolation_level": "AUTOCOMMIT"}}):
        engine = sqlalchemy.create_engine(engine_url(postgres_url), **how)
        with engine.connect() as connection, pytest.raises(InvalidInputError, match="Begin a transaction"):
            publish_in(connection, Paid(order="a"))
        engine.dispose()
    assert [row[1] for row in outbox("psycopg", None, postgres_url)[0]] == ["in a block"]
    assert outbox("sqlite", file, None)[0] == []


def test_what_does_not_fit_is_refused_before_anything_is_stored(file):
    """Events that do not fit their types, ids that are too few, other connections: each is told in words."""
    with closing(sqlite3.connect(file)) as connection:
        for events, more, fact in [
            ([Paid(order="a"), Paid(order=3)], {}, "Construct it with values that fit"),
            ([Paid(order="a")], {"ids": ["1", "2"]}, "Give each event one, or none"),
            ([Paid(order="a\0")], {}, "holds U\\+0000"),
            ([Paid(order="a")], {"at": datetime(2026, 1, 1)}, "names no time zone"),  # noqa: DTZ001
        ]:
            with pytest.raises(InvalidInputError, match=fact):
                publish_in(connection, events, **more)
        with pytest.raises(InvalidInputError, match="does not have to be awaited. Call publish_in"):
            asyncio.run(publish_in_async(connection, Paid(order="a")))
        connection.commit()
    assert outbox("sqlite", file, None)[0] == []
    with pytest.raises(NotSupportedError, match="it is no connection of sqlite3 or psycopg 3"):
        publish_in(object(), Paid(order="a"))


def test_transactions_of_one_key_publish_in_the_order_of_their_commits(postgres_url):
    """The second to publish for a key waits for the first one's end; those of other keys do not wait."""
    other = next(f"k{n}" for n in range(50) if lock_of("orders", f"k{n}") != lock_of("orders", "a"))
    with closing(psycopg.connect(postgres_url)) as first, closing(psycopg.connect(postgres_url)) as second:
        publish_in(first, Paid(order="a"), ids=["first"])
        second.execute("SET lock_timeout = '50ms'")
        second.commit()
        publish_in(second, Paid(order=other), ids=["other"])
        second.commit()
        with pytest.raises(psycopg.errors.LockNotAvailable):
            publish_in(second, Paid(order="a"))
        second.rollback()
        publish_in(second, Paid(order="a"), ids=["unordered"], ordered=False)
        second.rollback()
        first.commit()
        publish_in(second, Paid(order="a"), ids=["second"])
        second.commit()
    found = [row[0] for row in outbox("psycopg", None, postgres_url)[0]]
    assert sorted(found) == ["first", "other", "second"]
    assert found.index("first") < found.index("second")


def test_a_missing_file_or_table_is_waited_for_with_a_remedy(tmp_path):
    """Before the user's program made its outbox, the relay is told so, and makes no file itself."""

    async def main():
        outgoing = SqliteOutgoing(f"sqlite:///{tmp_path}/none.db")
        with pytest.raises(UnavailableError, match="Make its table with create_outbox"):
            await outgoing.waiting(10)
        await outgoing.close()

    asyncio.run(main())
    assert not (tmp_path / "none.db").exists()


def waiting_ids(page):
    return [each.record.id for each in page]


def test_a_commit_wakes_who_waits_also_while_it_was_reading(postgres_url, monkeypatch):
    """A notification ends the wait, whether it comes during it or came while rows were read."""
    monkeypatch.setattr("tropism.adapters.outbox.postgres.LOOK_SECONDS", 3600.0)

    async def main():
        async with open_outgoing(postgres_url) as outgoing:
            assert await outgoing.waiting(10) == []
            asked = asyncio.ensure_future(outgoing.wait(3600.0))
            await asyncio.to_thread(commit, postgres_url, "one")
            await asyncio.wait_for(asked, 30)
            (found,) = await outgoing.waiting(10)
            # What is told from here on is told while this one's connection does something else.
            await asyncio.to_thread(commit, postgres_url, "two")
            await outgoing.remove([found.place])
            await asyncio.wait_for(outgoing.wait(3600.0), 30)
            assert waiting_ids(await outgoing.waiting(10)) == ["two"]

    asyncio.run(main())


def commit(url, id):
    with closing(psycopg.connect(url)) as connection:
        publish_in(connection, Paid(order=id), ids=[id])
        connection.commit()


def test_a_transaction_that_commits_late_is_not_skipped(postgres_url):
    """Rows of an earlier place that become visible after later ones were published are published all the same."""

    async def main():
        async with open_outgoing(postgres_url) as outgoing:
            with closing(psycopg.connect(postgres_url)) as late:
                publish_in(late, Paid(order="late"), ids=["late"])
                commit(postgres_url, "early")
                page = await outgoing.waiting(10)
                assert waiting_ids(page) == ["early"]
                await outgoing.remove([each.place for each in page])
                late.commit()
            (found,) = await outgoing.waiting(10)
            assert found.record.id == "late"
            assert found.place < page[0].place

    asyncio.run(main())


def test_outboxes_are_told_apart_and_no_password_is_shown(postgres_url):
    """The name of an outbox has host and database; a schema is where its table is looked for."""
    with closing(psycopg.connect(postgres_url)) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS till; SET search_path TO till")
        create_outbox(connection)
        publish_in(connection, Paid(order="a"), ids=["till"])
        connection.commit()

    async def main():
        async with open_outgoing(f"{postgres_url}&schema=till&password=secret") as outgoing:
            assert waiting_ids(await outgoing.waiting(10)) == ["till"]
            assert unquote(re.search(r"host=([^&]+)", postgres_url)[1]) in outgoing.name
            assert "secret" not in outgoing.name
        with pytest.raises(InvalidInputError) as raised:
            async with open_outgoing("postgresql://u:secret@[h/d"):
                pass
        assert "secret" not in str(raised.value)

    asyncio.run(main())


def test_a_lost_connection_and_a_missing_table_are_told_and_mended(postgres_url):
    """What ends a connection is an outage that the next call mends; a missing table says how to make it."""

    async def main():
        async with open_outgoing(postgres_url) as outgoing:
            await outgoing.waiting(1)
            with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE application_name = 'tropism relay' AND datname = current_database()"
                )
            with pytest.raises(UnavailableError):
                await outgoing.waiting(1)
            assert await outgoing.waiting(1) == []
        async with open_outgoing(postgres_database()) as outgoing:
            with pytest.raises(UnavailableError, match=r"Make it with create_outbox\(connection\)"):
                await outgoing.waiting(1)

    asyncio.run(main())
