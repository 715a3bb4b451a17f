"""A PostgreSQL server that hangs, and a network that hands over what it held back long ago."""

import asyncio

import pytest
from tests.faults.proxy import Proxy
from tests.faults.sites import postgres_through
from tests.integration.children import step_commit
from tests.servers import postgres_url

from tropism.adapters.postgres import open_postgres
from tropism.adapters.postgres.address import ANSWER_SECONDS_DEFAULT, address_of
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.testing.log import record


def test_a_commit_that_comes_late_changes_nothing():
    """What was asked again under its id, and then came once more behind later commits, is not applied again."""

    async def check():
        store = await open_postgres(postgres_url())
        asked, apply = [], store.state._apply

        async def noting(commit, id):
            asked.append((commit, id))
            await apply(commit, id)

        store.state._apply = noting
        lease, _ = await store.state.acquire("c", "h", lease_seconds=60)
        for step in (1, 2, 3):
            await store.state.commit(step_commit(lease, step))
        for commit, id in asked:
            await apply(commit, id)
        assert (await store.state.positions())[0][1].cursor == b"3"
        assert await store.state.get("c", ["count"]) == [b"3"]
        await store.close()

    asyncio.run(check())


def test_a_server_that_hangs_is_given_up_within_a_bound_and_asked_again():
    """Connections stay open and nothing is said: calls end with an error that says so, and the next ones work."""

    async def check():
        url = postgres_url()
        proxy = Proxy(postgres_through(url)[0])
        await proxy.open()
        try:
            await hang(proxy, postgres_through(url)[1](proxy.port, answer_seconds=1))
        finally:
            await proxy.close()

    async def hang(proxy, url):
        store = await open_postgres(url)
        lease, _ = await store.state.acquire("c", "h", lease_seconds=60)
        proxy.silence()
        for call in (
            lambda: store.log.append([record("a")]),
            lambda: store.state.get("c", ["count"]),
            lambda: store.state.commit(step_commit(lease, 1)),
        ):
            with pytest.raises(UnavailableError, match=r"^Cannot .* said nothing for 1 s\. See why it hangs"):
                await call()
        await proxy.renew()
        await store.state.commit(step_commit(lease, 1))
        await store.log.append([record("a")])
        assert await store.state.get("c", ["count"]) == [b"1"]
        await store.close()

    asyncio.run(check())


@pytest.mark.parametrize("text", ["soon", "0", "-1", "inf", "nan", ""])
def test_bounds_that_are_none_are_refused(text):
    """An answer is waited for so many seconds, more than none and fewer than for ever."""
    with pytest.raises(InvalidInputError, match="answer_seconds"):
        address_of(f"postgresql://ada@localhost/shop?answer_seconds={text}")


def test_the_bound_is_not_told_to_libpq():
    """It is ours, as the schema is."""
    address = address_of("postgresql://ada@localhost/shop?answer_seconds=2.5&sslmode=disable")
    assert address.answer_seconds == 2.5
    assert "answer" not in address.conninfo
    assert address_of("postgresql://ada@localhost/shop").answer_seconds == ANSWER_SECONDS_DEFAULT
