"""What a database's URL may say beside its file."""

import asyncio

import pytest

from tropism.adapters.sqlite import open_sqlite
from tropism.adapters.sqlite.address import is_synced, path_of
from tropism.adapters.sqlite.schema import connect_writer
from tropism.core.errors import InvalidInputError, NotSupportedError


def test_a_database_is_synced_unless_its_url_says_no():
    assert is_synced("sqlite:///x.db")
    assert is_synced("sqlite:///x.db?synchronous=full")
    assert not is_synced("sqlite:///x.db?synchronous=normal")
    assert str(path_of("sqlite:///x.db?synchronous=normal")) == "x.db"


@pytest.mark.parametrize("options", ["foo=1", "synchronous=off", ""])
def test_any_other_option_is_refused_by_name(tmp_path, options):
    with pytest.raises(InvalidInputError, match="is no option of a database file"):
        asyncio.run(open_sqlite(f"sqlite:///{tmp_path}/x.db?{options}"))


def test_what_a_log_promises_is_said_in_words_and_its_url_opens_it_alike(tmp_path):
    async def told(url):
        store = await open_sqlite(url)
        try:
            return store.log.capabilities
        finally:
            await store.close()

    full = asyncio.run(told(f"sqlite:///{tmp_path}/x.db"))
    normal = asyncio.run(told(f"sqlite:///{tmp_path}/x.db?synchronous=normal"))
    assert "power loss" in full.durability
    assert "may take" in normal.durability
    assert full.commit_domain == normal.commit_domain
    assert [is_synced(each.url) for each in (full, normal)] == [True, False]


@pytest.mark.parametrize(("synced", "pragma"), [(True, 2), (False, 1)])
def test_the_writer_syncs_as_it_was_told(tmp_path, synced, pragma):
    connection = connect_writer(tmp_path / "x.db", synced=synced)
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == pragma
    connection.close()


def test_who_wants_its_commits_synced_does_not_write_through_who_does_not(tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"

    async def live():
        careless = await open_sqlite(f"{url}?synchronous=normal")
        try:
            with pytest.raises(NotSupportedError, match="would not sync"):
                await open_sqlite(url)
            await (await open_sqlite(f"{url}?synchronous=normal")).close()
        finally:
            await careless.close()
        careful = await open_sqlite(url)
        await (await open_sqlite(f"{url}?synchronous=normal")).close()
        await careful.close()

    asyncio.run(live())
