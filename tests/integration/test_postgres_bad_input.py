"""What is wrong with a URL, a server or a value is said clearly, without secrets, and costs nothing else."""

import asyncio
import re
from contextlib import suppress

import psycopg
import pytest
from tests.integration.children import record, step_commit
from tests.integration.test_sqlite_bad_input import ids_of
from tests.servers import Crashes, own_postgres, postgres_url

from tropism.adapters.postgres import open_postgres
from tropism.adapters.postgres.address import address_of
from tropism.adapters.postgres.schema import prepare
from tropism.adapters.postgres.store import PostgresStore
from tropism.core.errors import (
    CorruptError,
    InvalidInputError,
    NotSupportedError,
    TropismError,
    UnavailableError,
)
from tropism.ports.state import Commit, Position, Write
from tropism.testing.checks import settle

SECRET = "s3cr3t-Pa55"  # noqa: S105 (it must not be found in any text)


@pytest.fixture(scope="module")
def crashes():
    with own_postgres() as server:
        yield Crashes(server)


def ask(url, *queries):
    """Carry out queries at the server of a URL; return the rows of the last one."""
    with psycopg.connect(re.sub(r"[?&]schema=\w+", "", url), autocommit=True) as connection:
        for query in queries:
            cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def schema_of(url):
    return address_of(url).schema


def told_by(error):
    """Return all that an error says, its causes and notes included."""
    told = []
    while error is not None:
        told += [str(error), repr(error), *getattr(error, "__notes__", ())]
        error = error.__cause__
    return "\n".join(told)


def fails(url, kind, words):
    async def attempt():
        store = await open_postgres(url)
        await store.close()

    with pytest.raises(kind, match=words) as caught:
        asyncio.run(attempt())
    assert str(caught.value).startswith("Cannot open ")
    assert str(caught.value).endswith(".")
    assert SECRET not in told_by(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"postgresql:{SECRET}", "none that libpq reads"),
        (f"postgresql://u:{SECRET}@h/d?schema=Bad-Name", "no name for a schema"),
        (f"postgresql://u:{SECRET}@h/d?nonsense=1", "none that libpq reads"),
        (f"postgresql://u:%zz{SECRET}@h/d", "none that libpq reads"),
        (f"postgresql://u@h/d?password={SECRET}&sslmode=%", "none that libpq reads"),
    ],
)
def test_wrong_urls(url, words):
    """A URL that cannot be read is refused without being shown."""
    fails(url, InvalidInputError, words)


def test_servers_that_do_not_answer(tmp_path):
    """A server that is not there is unavailable, under its name without the password."""
    fails(f"postgresql://u:{SECRET}@/d?host={tmp_path}", UnavailableError, "No such file.*Try again")
    fails(f"postgresql://u:{SECRET}@127.0.0.1:1/d", UnavailableError, "refused.*Try again")


def test_databases_and_users_that_do_not_exist():
    """A database or a user that the server does not know is named, with the remedy."""
    base = postgres_url().partition("?")[2]
    fails(
        f"postgresql://postgres@/nowhere?{base}", InvalidInputError, "'?nowhere'?.*does not exist. Create it"
    )
    fails(f"postgresql://nobody:{SECRET}@/postgres?{base}", InvalidInputError, "does not exist. Create it")


def test_wrong_passwords(crashes):
    """A wrong password is said to be wrong, and never shown."""
    url = postgres_url(crashes.server)
    ask(url, "DROP ROLE IF EXISTS guarded", f"CREATE ROLE guarded LOGIN PASSWORD '{SECRET}'")
    hba = crashes.server.pgdata / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"local all guarded scram-sha-256\n{before}")
    try:
        ask(url, "SELECT pg_reload_conf()")
        guarded = url.replace("postgres@", f"guarded:{SECRET}x@")
        fails(guarded, InvalidInputError, "password authentication failed.*Correct the user or the password")
        fails(url.replace("postgres@", "guarded@"), InvalidInputError, "password.*Put a password")
        fails(url.replace("postgres@", f"guarded:{SECRET}@"), InvalidInputError, "permission denied.*Grant")
    finally:
        hba.write_text(before)
        ask(url, "SELECT pg_reload_conf()")


def test_passwords_are_not_in_what_is_shown():
    """What names a store in errors and in commit domains holds no password."""
    url = postgres_url().replace("postgres@", f"postgres:{SECRET}@")

    async def check():
        store = await open_postgres(url)
        assert SECRET not in repr(address_of(url))
        assert SECRET not in store.state.commit_domain
        await store.close()
        with pytest.raises(UnavailableError) as caught:
            await store.log.append([record("a")])
        assert SECRET not in told_by(caught.value)

    asyncio.run(check())


def test_newer_and_foreign_schemas():
    """A schema of a newer Tropism, or of another program, is left alone."""
    newer, foreign = postgres_url(), postgres_url()
    asyncio.run(prepare(address_of(newer)))
    ask(newer, f"UPDATE {schema_of(newer)}.store SET version = 999")
    fails(newer, NotSupportedError, "schema version is 999.*Upgrade Tropism")
    name = schema_of(foreign)
    ask(foreign, f"CREATE SCHEMA {name}", f"CREATE TABLE {name}.events(a int)")
    fails(foreign, NotSupportedError, "another program's tables")
    tables = ask(foreign, f"SELECT tablename FROM pg_tables WHERE schemaname = '{name}'")
    assert tables == [("events",)]


def test_other_encodings():
    """A database in an encoding that cannot keep every text is refused."""
    url = postgres_url()
    ask(
        url,
        "DROP DATABASE IF EXISTS latin",
        "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    fails(url.replace("/postgres?", "/latin?"), InvalidInputError, "encoding is LATIN1.*ENCODING 'UTF8'")


def test_many_open_a_new_store_at_once():
    """Those who open a store at once find the same one: it is made once."""
    url = postgres_url()

    async def check():
        stores = await asyncio.gather(*(open_postgres(url) for _ in range(6)))
        assert len({store.state.commit_domain for store in stores}) == 1
        await asyncio.gather(*(store.log.append([record(f"{n}")]) for n, store in enumerate(stores)))
        assert await ids_of(stores[0]) == [f"{n}" for n in range(6)]
        for store in stores:
            await store.close()

    asyncio.run(check())


def test_domains_name_the_store_however_its_url_is_spelled():
    """Two URLs of one schema have one commit domain, two schemas have two."""
    url = postgres_url()

    async def domain(spelled):
        return (await prepare(address_of(spelled))).domain

    async def check():
        one = await domain(url)
        assert one == await domain(url.replace("postgresql://", "postgres://") + "&application_name=x")
        assert one != await domain(postgres_url())

    asyncio.run(check())


def test_values_that_no_column_takes():
    """Texts that are no Unicode, integers beyond 64 bits and too long ids are refused, and harm no neighbour."""

    async def refuse():
        store = await open_postgres(postgres_url())
        lease, _ = await store.state.acquire("c", "h", lease_seconds=60)
        position = Position(b"1")
        bad = [
            store.log.append([record("a", "\ud800")]),
            store.log.append([record("\ud800", "k")]),
            store.log.append([record("b" * 2001)]),
            store.state.commit(Commit(lease, Position(b"1", 2**70))),
            store.state.commit(Commit(lease, position, [Write("n", "k", b"1", 2**70)])),
            store.state.commit(Commit(lease, position, [Write("n", "k" * 2001, b"1")])),
            store.state.commit(Commit(lease, position, [Write("n", "\udfff", b"1")])),
            store.state.get("\ud800", ["a"]),
            store.log.create_topics({"t": 10**12}),
        ]
        outcomes = await asyncio.gather(store.log.append([record("good")]), *bad, return_exceptions=True)
        assert outcomes[0] == 1
        for outcome in outcomes[1:]:
            assert isinstance(outcome, InvalidInputError), outcome
            assert str(outcome).startswith("Cannot ")
            assert str(outcome).endswith(".")
        assert await ids_of(store) == ["good"]
        assert await store.state.positions() == [("c", Position())]
        await store.state.commit(step_commit(lease, 1))
        await store.close()

    asyncio.run(refuse())


def test_texts_with_nul_are_kept_exactly():
    """What PostgreSQL has no character for is kept all the same, wherever it stands."""
    nul = "a\0b\1c\0"

    async def check():
        store = await open_postgres(postgres_url())
        sent = record(nul, nul)
        sent = type(sent)(nul, nul, nul, nul, 1, b"\0", nul, {nul: nul})
        assert await store.log.append([sent]) == 1
        assert await store.log.append([sent]) == 0
        ends = await store.log.ends([nul])
        pages = await store.log.read(dict.fromkeys(ends, 0), count_max=9)
        assert [stored.record for page in pages.values() for stored in page] == [sent]
        left_out = await store.log.read(dict.fromkeys(ends, 0), count_max=9, without=[nul])
        assert len(left_out) == 1
        lease, _ = await store.state.acquire(nul, nul, lease_seconds=60)
        await store.state.commit(Commit(lease, Position(b"\0"), [Write(nul, nul, b"\0")]))
        assert await store.state.get(nul, [nul, "a"]) == [b"\0", None]
        assert [entry.key for entry in await store.state.scan(nul, prefix="a\0")] == [nul]
        assert await store.state.positions() == [(nul, Position(b"\0"))]
        await store.close()

    asyncio.run(check())


def test_too_many_connections(crashes):
    """Where the server has no connection left, calls wait for one, and say so when their time is up."""
    url = postgres_url(crashes.server)

    async def check():
        facts = await prepare(address_of(url))
        taken = []
        with suppress(psycopg.OperationalError):
            while True:
                taken.append(await psycopg.AsyncConnection.connect(re.sub(r"&schema=\w+", "", url)))
        store = PostgresStore(address_of(url), facts, reconnect_seconds=0.5)
        with pytest.raises(UnavailableError, match="too many clients") as caught:
            await store.log.append([record("a")])
        assert caught.value.retryable
        with pytest.raises(UnavailableError, match="too many clients"):
            await open_postgres(url)
        for connection in taken:
            await connection.close()
        async with asyncio.timeout(30):
            assert await store.log.append([record("a")]) == 1
        await store.close()

    asyncio.run(check())


def test_a_server_that_stays_away(crashes):
    """Calls fail as unavailable when their time is up, and succeed when the server is back."""
    url = postgres_url(crashes.server)

    async def check():
        store = PostgresStore(address_of(url), await prepare(address_of(url)), reconnect_seconds=0.3)
        lease, _ = await store.state.acquire("c", "h", lease_seconds=3600)
        await asyncio.to_thread(crashes.stop)
        calls = [
            store.log.append([record("a")]),
            store.state.commit(step_commit(lease, 1)),
            store.log.ends(["orders"]),
            store.state.get("n", ["k"]),
            store.queue.receive("q", count_max=1, lease_seconds=1),
        ]
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, UnavailableError), outcome
        await asyncio.to_thread(crashes.start)
        await store.state.commit(step_commit(lease, 1))
        assert await store.log.append([record("a")]) == 1
        assert await ids_of(store) == ["a", "c-1"]
        await store.close()

    asyncio.run(check())


def test_deadlocks_are_resolved_inside():
    """Where another program's transaction and ours wait for each other, ours is made again."""
    url = postgres_url()

    async def check():
        store = await open_postgres(url)
        name = schema_of(url)
        await store.log.create_topics({"orders": 2, "bills": 2})
        base = re.sub(r"&schema=\w+", "", url)
        other = await psycopg.AsyncConnection.connect(base)
        lock = f"SELECT FROM {name}.partitions WHERE topic_id = (SELECT id FROM {name}.topics WHERE name = %s) FOR UPDATE"
        await other.execute(lock, ["orders" if await first_is(store, base, name, "bills") else "bills"])
        batch = [record(f"{topic}-{n}", f"k{n}") for topic in ("orders", "bills") for n in range(8)]
        batch = [type(r)(r.id, r.type, r.id.partition("-")[0], r.subject, 0, b"{}") for r in batch]
        append = asyncio.ensure_future(store.log.append(batch))
        await waits_for_a_lock(base)
        # Either of the two may be the one that has to give way: ours is made again.
        with suppress(psycopg.errors.DeadlockDetected):
            await other.execute(lock, ["bills" if await first_is(store, base, name, "bills") else "orders"])
        await other.rollback()
        assert await append == 16
        await other.close()
        await store.close()

    asyncio.run(check())


async def first_is(store, base, name, topic):
    rows = await asyncio.to_thread(ask, base, f"SELECT name FROM {name}.topics ORDER BY id")
    return rows[0][0] == topic


async def waits_for_a_lock(base):
    query = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(30):
        while not await asyncio.to_thread(ask, base, query):  # noqa: ASYNC110 (the server decides)
            await asyncio.sleep(0.02)


def test_a_neighbour_that_fails_harms_nobody():
    """Of calls that share a transaction, one that the server refuses leaves the others as they were."""
    url = postgres_url()

    async def check():
        store = await open_postgres(url)
        lease, _ = await store.state.acquire("c", "h", lease_seconds=60)
        ask(url, f"ALTER TABLE {schema_of(url)}.events ADD CONSTRAINT no_bad CHECK (subject <> 'bad')")
        outcomes = await asyncio.gather(
            store.log.append([record("a")]),
            store.log.append([record("b", "bad")]),
            store.state.commit(Commit(lease, Position(b"9"), [Write("n", "k", b"1")], [record("c", "bad")])),
            store.log.append([record("d")]),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [int, UnavailableError, UnavailableError, int]
        assert await ids_of(store) == ["a", "d"]
        assert await store.state.positions() == [("c", Position())]
        await store.close()

    asyncio.run(check())


def test_a_schema_that_vanished():
    """A store whose tables another program dropped says so."""
    url = postgres_url()

    async def check():
        store = await open_postgres(url)
        ask(url, f"DROP SCHEMA {schema_of(url)} CASCADE")
        with pytest.raises(CorruptError, match="Restore the database"):
            await store.log.append([record("a")])
        with pytest.raises(TropismError):
            await store.log.ends(["orders"])
        await store.close()

    asyncio.run(check())


def test_cancelled_reads_leave_their_connections_sound():
    """Reads cancelled at any moment harm no later one."""

    async def check():
        store = await open_postgres(postgres_url())
        await store.log.append([record(f"{n}", f"k{n}") for n in range(50)])
        ends = await store.log.ends(["orders"])
        for turn in range(40):
            task = asyncio.ensure_future(store.log.read(dict.fromkeys(ends, 0), count_max=50))
            await settle(turn)
            task.cancel()
            await asyncio.wait([task])
        assert len(await ids_of(store)) == 50
        await store.close()

    asyncio.run(check())


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("synchronous_commit=on", "is synced to the disk of the server.*survives kill -9.*power loss"),
        ("synchronous_commit=off", "may take the commits of the last moments"),
        ("synchronous_commit=local", "of no standby"),
    ],
)
def test_durability_is_said_as_the_server_is_set(setting, words):
    """What an acknowledgement is worth is read from the server that gives it."""

    async def check():
        store = await open_postgres(f"{postgres_url()}&options=-c%20{setting.replace('=', '%3D')}")
        told = store.log.capabilities.durability
        assert re.search(words, told)
        assert f"{setting} and fsync=on" in told
        assert told == store.queue.capabilities.durability
        await store.close()

    asyncio.run(check())
