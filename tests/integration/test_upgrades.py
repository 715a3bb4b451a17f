"""Stores of the format before: kept, upgraded once, and told apart from those that are too new."""

import asyncio
import logging
import sqlite3
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from tests.servers import Crashes, postgres, postgres_url
from tests.simulation.replay_system import Paid, shop

from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryBlobs, MemoryCompute
from tropism.adapters.postgres import open_postgres
from tropism.adapters.postgres import schema as postgres_schema
from tropism.adapters.sqlite import open_sqlite
from tropism.adapters.sqlite import schema as sqlite_schema
from tropism.core.codec import record_of
from tropism.core.errors import NotSupportedError
from tropism.ports.platform import Platform
from tropism.ports.queue import Message
from tropism.runtime.runtime import Runtime
from tropism.testing.log import read_all

FIXTURES = Path(__file__).parents[1] / "fixtures"


class Sqlite:
    """A database file made by the SQL of schema 2."""

    old, new = 2, sqlite_schema.SCHEMA_VERSION

    def __init__(self, folder):
        self.path = folder / "x.db"
        self.url = f"sqlite:///{self.path}"
        with closing(sqlite3.connect(self.path)) as sql:
            sql.executescript("PRAGMA journal_mode = WAL;" + (FIXTURES / "sqlite_2.sql").read_text("utf-8"))

    def open(self, more=""):
        return open_sqlite(self.url + (f"?{more}" if more else ""))

    def ask(self, query):
        with closing(sqlite3.connect(self.path)) as sql:
            found = sql.execute(query).fetchall()
            sql.commit()
            return found

    def version(self):
        return self.ask("PRAGMA user_version")[0][0]

    def become(self, version):
        self.ask(f"PRAGMA user_version = {version}")

    def table(self, name):
        return name


class Postgres:
    """A schema made by the SQL of version 1."""

    old, new = 1, postgres_schema.SCHEMA_VERSION

    def __init__(self, folder):
        self.url = postgres_url()
        self.schema = self.url.rpartition("schema=")[2]
        self._crashes = Crashes(postgres())
        script = (FIXTURES / "postgres_1.sql").read_text("utf-8")
        self.ask(script.replace(":schema", self.schema))

    def open(self, more=""):
        return open_postgres(self.url + (f"&{more}" if more else ""))

    def ask(self, query):
        return self._crashes.ask(self.url, query)

    def version(self):
        return self.ask(f"SELECT version FROM {self.schema}.store")[0][0]

    def become(self, version):
        self.ask(f"UPDATE {self.schema}.store SET version = {version}")

    def table(self, name):
        return f"{self.schema}.{name}"


@pytest.fixture(params=[Sqlite, Postgres])
def old(request, tmp_path):
    return request.param(tmp_path)


@asynccontextmanager
async def opened(old, more=""):
    store = await old.open(more)
    try:
        yield store
    finally:
        await store.close()


async def work(store, start, count=10):
    """Let the shop handle payments, and return how often each order was thanked."""
    platform = Platform(store.log, store.state, MemoryBlobs(), MemoryCompute(), SystemClock(), store.queue)
    runtime = Runtime([shop()], platform)
    await runtime.start()
    events = [Paid(order=f"o{n % 3}", cents=n) for n in range(start, start + count)]
    await store.log.append(
        [record_of(e, runtime.codec.encode(e), id=f"p{e.cents}", time_us=e.cents) for e in events]
    )
    while not runtime.is_idle or sum(w.handled for w in runtime.workers.values()) < count:
        runtime.raise_if_stopped()
        await asyncio.sleep(0.01)
    await runtime.stop()


async def thanked(store):
    pages = await read_all(store.log, "mail")
    ids = [s.record.id for (topic, _), page in pages.items() if topic == "mail" for s in page]
    assert len(ids) == len(set(ids))
    return len(ids)


def test_a_store_of_the_format_before_is_upgraded_and_goes_on(old, caplog):
    """What it held is there, its service goes on where it stood, and its history says who did it and when."""

    async def check():
        async with opened(old, "upgrade=no") as store:
            await work(store, 0)
            await store.queue.send("work", [Message("a", b"")])
        assert old.version() == old.old
        with caplog.at_level(logging.WARNING, "tropism"):
            async with opened(old) as store:
                assert old.version() == old.new
                assert f"schema {old.new}, by tropism" in await store.format()
                await work(store, 10)
                assert await thanked(store) == 20
                (loan,) = await store.queue.receive("work", count_max=1, lease_seconds=1)
                assert loan.message.id == "a"
        told = [record.getMessage() for record in caplog.records if "is upgraded from schema" in record.msg]
        assert len(told) == 1
        assert "a backup made before" in told[0]
        async with opened(old) as store:
            assert await thanked(store) == 20
        assert len(old.ask(f"SELECT * FROM {old.table('upgrades')}")) == 1

    asyncio.run(check())


def test_a_store_may_be_looked_at_as_it_is(old):
    """With upgrade=no it keeps its format, and says that the next start changes it, and what to do before."""

    async def check():
        async with opened(old, "upgrade=no") as store:
            told = await store.format()
            assert f"schema {old.old}; the next start upgrades it to {old.new}: make a backup before" in told
        assert old.version() == old.old

    asyncio.run(check())


def test_a_format_that_is_too_new_is_refused_and_left_alone(old):
    """Code that does not know a format does not write to it; one that says it works with this code is used."""

    async def check():
        async with opened(old):
            pass
        upgrades = old.table("upgrades")
        old.become(99)
        # What is noted of other versions says nothing of this one.
        with pytest.raises(NotSupportedError, match="version is 99"):
            await old.open()
        old.ask(f"INSERT INTO {upgrades} VALUES (99, {old.new + 1}, '9.9', 0)")
        for more in ("", "upgrade=no"):
            with pytest.raises(
                NotSupportedError, match=r"version is 99, this Tropism knows .*Upgrade Tropism"
            ):
                await old.open(more)
        old.ask(f"UPDATE {upgrades} SET works_with = {old.new} WHERE version = 99")
        async with opened(old) as store:
            await work(store, 0)
            assert "may work with it" in await store.format()
        assert old.version() == 99

    asyncio.run(check())


def test_an_upgrade_that_fails_changes_nothing(old, monkeypatch):
    """It is one transaction: the store stays at the version before, with all that it holds."""
    if isinstance(old, Sqlite):
        broken = sqlite_schema.Step("CREATE TABLE half(a); CREATE TABLE events(a);", 1)
        monkeypatch.setattr(sqlite_schema, "_STEPS", (*sqlite_schema._STEPS[:2], broken))
    else:
        monkeypatch.setattr(postgres_schema, "_UPGRADES", {2: (("tables.sql",), 1)})

    async def check():
        with pytest.raises(Exception, match="Cannot open"):
            await old.open()
        assert old.version() == old.old
        async with opened(old, "upgrade=no") as store:
            await work(store, 0)

    asyncio.run(check())
    if isinstance(old, Sqlite):
        assert old.ask("SELECT * FROM sqlite_master WHERE name = 'half'") == []


def test_old_and_new_processes_share_a_store_while_it_is_upgraded(old, monkeypatch):
    """The old one is at work when the new one comes: both go on, and nothing is lost or done twice.

    In a file it is the owner who decides: it is upgraded when the old owner has left. PostgreSQL has no
    owner: whoever comes first with newer code upgrades, and what is at work goes on.
    """
    module = sqlite_schema if isinstance(old, Sqlite) else postgres_schema

    async def check():
        with monkeypatch.context() as before:
            before.setattr(module, "SCHEMA_VERSION", old.old)
            first = await old.open("upgrade=no")
            await work(first, 0)
        second = await old.open()
        assert old.version() == (old.old if isinstance(old, Sqlite) else old.new)
        await work(second, 10)
        await work(first, 20)
        await first.close()
        await work(second, 30)
        assert old.version() == old.new
        assert await thanked(second) == 40
        await second.close()

    asyncio.run(check())


def test_many_new_processes_upgrade_once(old):
    """Those that come at the same time wait for the one that upgrades."""

    async def check():
        stores = await asyncio.gather(*(old.open() for _ in range(3)))
        assert old.version() == old.new
        assert len(old.ask(f"SELECT * FROM {old.table('upgrades')}")) == 1
        for store in stores:
            await store.close()

    asyncio.run(check())


def test_doctor_shows_the_format_and_leaves_it(folder):
    """Looking at a deployment of the format before tells of the upgrade to come, and does not make it."""
    folder.path.joinpath(".tropism").mkdir()
    made = Sqlite(folder.path / ".tropism")
    made.path.rename(folder.path / ".tropism" / "tropism.db")
    made.path = folder.path / ".tropism" / "tropism.db"
    found = folder.run("doctor", "--json").json
    assert "schema 2; the next start upgrades it" in found["ports"]["log"]["format"]
    assert "schema 2; the next start upgrades it" in folder.run("doctor").out
    assert made.version() == 2
