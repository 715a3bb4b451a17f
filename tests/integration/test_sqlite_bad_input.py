"""What is wrong with a database, its place or its disk is said clearly, and costs nothing else."""

import asyncio
import os
import shutil
import sqlite3
import threading

import pytest
from tests.integration.children import child, database, record, step_commit

from tropism.adapters.sqlite import open_sqlite, problems_of
from tropism.core.errors import (
    CorruptError,
    FencedError,
    InvalidInputError,
    NotSupportedError,
    TropismError,
    UnavailableError,
)
from tropism.ports.state import Commit, Position, Write
from tropism.testing.checks import settle
from tropism.testing.log import read_all


async def ids_of(store):
    pages = (await read_all(store.log)).values()
    return sorted(stored.record.id for page in pages for stored in page)


def fails(url, kind, words):
    with pytest.raises(kind, match=words) as caught:
        asyncio.run(open_sqlite(url))
    assert str(caught.value).startswith("Cannot open ")
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:",
        "sqlite:///",
        "sqlite:x.db",
        "sqlite:///x/",
        "sqlite:///:memory:",
        "memory:",
    ],
)
def test_wrong_urls(url):
    """A URL that names no file is refused, with one that does."""
    fails(url, InvalidInputError, "Write 'sqlite:///./.tropism/tropism.db'")


def test_relative_urls(tmp_path, monkeypatch):
    """``sqlite:///./folder/file.db`` is below the working directory; the last folder is made."""
    monkeypatch.chdir(tmp_path)

    async def opened():
        store = await open_sqlite("sqlite:///./.tropism/tropism.db")
        await store.close()
        return store.log.capabilities.url

    assert asyncio.run(opened()) == f"sqlite:///{tmp_path}/.tropism/tropism.db"
    assert (tmp_path / ".tropism" / "tropism.db").exists()


def test_folders_that_cannot_be(tmp_path):
    """A folder that does not exist, is a file, or may not be written to is named, with the remedy."""
    (tmp_path / "file").write_text("")
    fails(f"sqlite:///{tmp_path}/no/such/x.db", InvalidInputError, "No such file or directory.*Create ")
    fails(f"sqlite:///{tmp_path}/file/x.db", InvalidInputError, "cannot be made")
    (tmp_path / "folder.db").mkdir()
    fails(f"sqlite:///{tmp_path}/folder.db", InvalidInputError, "it is a folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folders_not_writable(tmp_path):
    """A folder that this user may not write to is named."""
    tmp_path.chmod(0o500)
    fails(database(tmp_path), InvalidInputError, "not writable")


def test_long_paths(tmp_path):
    """A folder whose path is longer than a socket's may be does no harm."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()

    async def use():
        stores = [await open_sqlite(database(folder)) for _ in range(2)]
        await stores[1].log.append([record("a")])
        assert await ids_of(stores[0]) == ["a"]
        for store in stores:
            await store.close()

    asyncio.run(use())


def test_only_this_user_may_write_through_the_owner(tmp_path):
    """The socket and the lock are closed to others."""

    async def modes():
        store = await open_sqlite(database(tmp_path))
        found = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        await store.close()
        return found

    found = asyncio.run(modes())
    assert (found["x.db.sock"], found["x.db.lock"]) == (0o600, 0o600)


def test_newer_and_foreign_files(tmp_path):
    """A file of a newer Tropism or of another program is left alone."""
    for name, statement in (("newer.db", "PRAGMA user_version = 999"), ("foreign.db", "CREATE TABLE a(b)")):
        connection = sqlite3.connect(tmp_path / name)
        connection.execute(statement)
        connection.close()
    fails(f"sqlite:///{tmp_path}/newer.db", NotSupportedError, "schema version is 999.*Upgrade Tropism")
    fails(f"sqlite:///{tmp_path}/foreign.db", NotSupportedError, "another program's tables")
    assert not list(tmp_path.glob("*-wal"))


async def fill(store, count):
    for n in range(0, count, 10):
        await store.log.append([record(f"{n + m:05}", data=bytes(1000)) for m in range(10)])


def test_corrupt_files(tmp_path):
    """A damaged file is called so, when it is opened or when the damage is met, and doctor sees it."""

    async def make():
        store = await open_sqlite(database(tmp_path))
        await fill(store, 500)
        await store.close()

    async def meet():
        store = await open_sqlite(database(tmp_path))
        try:
            with pytest.raises(CorruptError, match="Restore the file from a backup"):
                await ids_of(store)
            assert await store.problems()
        finally:
            await store.close()

    asyncio.run(make())
    path = tmp_path / "x.db"
    assert problems_of(path) == []
    content = path.read_bytes()
    # Pages in the middle hold events; the tables' own descriptions stand in the first.
    path.write_bytes(content[:250_000] + os.urandom(150_000) + content[400_000:])
    asyncio.run(meet())
    # Nearer to the front it meets the roots of tables, and is seen when the file is opened.
    path.write_bytes(content[:8192] + os.urandom(300_000) + content[308_192:])
    fails(database(tmp_path), CorruptError, "Restore the file from a backup")
    path.write_bytes(os.urandom(100) + content[100:])
    fails(database(tmp_path), CorruptError, "Restore the file from a backup")
    assert problems_of(path)


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "extended"])
def test_a_torn_tail_is_cut(tmp_path, damage):
    """Where the newest file's end is torn, all before is there, and the database goes on."""
    (tmp_path / "copy").mkdir()

    async def tear():
        store = await open_sqlite(database(tmp_path))
        await fill(store, 100)
        # A copy of the files as a crash would leave them: with a log that was never folded in.
        for name in ("x.db", "x.db-wal"):
            shutil.copy(tmp_path / name, tmp_path / "copy" / name)
        await store.close()

    async def recover():
        store = await open_sqlite(database(tmp_path / "copy"))
        ids = await ids_of(store)
        assert ids == [f"{n:05}" for n in range(len(ids))]
        assert len(ids) == (100 if damage == "extended" else 90)
        await store.log.append([record("new")])
        assert len(await ids_of(store)) == len(ids) + 1
        assert await store.problems() == []
        await store.close()

    asyncio.run(tear())
    wal = tmp_path / "copy" / "x.db-wal"
    content = wal.read_bytes()
    changed = {
        "truncated": content[:-3000],
        "overwritten": content[:-3000] + bytes(3000),
        "extended": content + os.urandom(20_000),
    }
    wal.write_bytes(changed[damage])
    asyncio.run(recover())


def limit_pages(store, count):
    # The writer's connection is idle between groups: nobody else uses it now.
    store._route._way._writer._sql.execute(f"PRAGMA max_page_count = {count}")


def test_a_full_disk(tmp_path):
    """What does not fit raises UnavailableError, stores nothing of it, harms no neighbour, and passes later."""

    async def overfill():
        store = await open_sqlite(database(tmp_path))
        lease, _ = await store.state.acquire("c", "h", lease_seconds=60)
        await store.log.append([record("a")])
        limit_pages(store, 30)
        large = [record(f"large-{n}", data=bytes(8000)) for n in range(50)]
        big_commit = Commit(lease, Position(b"9"), [Write("n", "k", b"1")], large)
        outcomes = await asyncio.gather(
            store.log.append([record("b")]),
            store.log.append(large),
            store.state.commit(big_commit),
            store.log.append([record("c")]),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [int, UnavailableError, UnavailableError, int]
        assert "full" in str(outcomes[1])
        assert outcomes[1].retryable
        assert await ids_of(store) == ["a", "b", "c"]
        assert await store.state.get("n", ["k"]) == [None]
        assert await store.state.positions() == [("c", Position())]
        limit_pages(store, 1_000_000)
        assert await store.log.append(large) == 50
        await store.state.commit(big_commit)
        assert await store.state.positions() == [("c", Position(b"9"))]
        places = [stored.offset for page in (await read_all(store.log)).values() for stored in page]
        assert places == list(range(53))
        await store.close()

    asyncio.run(overfill())


def test_a_file_that_may_not_grow(tmp_path):
    """Where the system refuses to let the files grow, the same holds, and all acknowledged is there."""
    with child("fill", tmp_path / "x.db", 3_000_000) as filler:
        said = filler.line()
        assert said.startswith("UnavailableError: Cannot write to ")
        stored = int(filler.line())
        filler.process.wait()

    async def inspect():
        store = await open_sqlite(database(tmp_path))
        assert len(await ids_of(store)) == stored > 50
        assert await store.problems() == []
        await store.close()

    asyncio.run(inspect())


def test_values_that_no_column_takes(tmp_path):
    """Texts that are no Unicode and integers beyond 64 bits are refused, and harm no neighbour."""

    async def refuse():
        store = await open_sqlite(database(tmp_path))
        lease, _ = await store.state.acquire("c", "h", lease_seconds=60)
        bad = [
            store.log.append([record("a", "\ud800")]),
            store.log.append([record("\ud800", "k")]),
            store.state.commit(Commit(lease, Position(b"1", 2**70))),
            store.state.get("\ud800", ["a"]),
        ]
        outcomes = await asyncio.gather(store.log.append([record("good")]), *bad, return_exceptions=True)
        assert outcomes[0] == 1
        assert {type(outcome) for outcome in outcomes[1:]} == {InvalidInputError}
        assert await ids_of(store) == ["good"]
        await store.close()

    asyncio.run(refuse())


def test_a_closed_database(tmp_path):
    """Using what was closed says so, at once."""

    async def use():
        store = await open_sqlite(database(tmp_path))
        await store.close()
        for call in (store.log.append([record("a")]), store.log.ends(["a"]), store.state.positions()):
            with pytest.raises(UnavailableError, match=r"closed\. Open it again\."):
                await call

    asyncio.run(use())


def test_many_operations_share_one_sync(tmp_path):
    """What waits together is written together, each with its own outcome, in the order it came."""

    async def share():
        store = await open_sqlite(database(tmp_path))
        old, _ = await store.state.acquire("c", "h", lease_seconds=60)
        lease, _ = await store.state.acquire("c", "h", lease_seconds=60)
        statements = []
        everybody_asked = threading.Event()

        def trace(statement):
            statements.append(statement)
            everybody_asked.wait()

        sql = store._route._way._writer._sql
        sql.set_trace_callback(trace)
        asking = asyncio.gather(
            *(store.log.append([record(f"{n:03}")]) for n in range(100)),
            store.state.commit(step_commit(old, 1)),
            store.state.commit(step_commit(lease, 1)),
            return_exceptions=True,
        )
        await settle()
        everybody_asked.set()
        outcomes = await asking
        sql.set_trace_callback(None)
        assert outcomes[:100] == [1] * 100
        assert isinstance(outcomes[100], FencedError)
        assert outcomes[101] is None
        # The first that came, all who came meanwhile, and where it waited for the first commit of its consumer,
        # the second one.
        assert statements.count("COMMIT") in {2, 3}
        ids = [stored.record.id for page in (await read_all(store.log)).values() for stored in page]
        assert ids[:100] == [f"{n:03}" for n in range(100)]
        await store.close()

    asyncio.run(share())


def test_a_commit_asked_twice_is_applied_once(tmp_path):
    """The same commit under the same id, asked again after its reply was lost, succeeds and changes nothing."""
    from tropism.adapters.sqlite.wire import Apply

    async def ask_twice():
        store = await open_sqlite(database(tmp_path))
        lease, _ = await store.state.acquire("c", "h", lease_seconds=60)
        for _ in range(2):
            await store._route.submit(Apply(step_commit(lease, 1), b"the same"))
        with pytest.raises(TropismError):
            await store._route.submit(Apply(step_commit(type(lease)("c", 99), 2), b"another"))
        assert await store.state.positions() == [("c", Position(b"1", 1))]
        await store.close()

    asyncio.run(ask_twice())
