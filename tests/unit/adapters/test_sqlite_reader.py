"""The thread that reads a database file."""

import asyncio
import threading
from pathlib import Path

import pytest

from tropism.adapters.sqlite.reader import Reader
from tropism.adapters.sqlite.schema import connect_writer
from tropism.core.errors import CorruptError, InvalidInputError, UnavailableError


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    connect_writer(tmp_path / "x.db").close()
    return Reader(tmp_path / "x.db", "x.db")


def test_an_error_reaches_its_caller_and_the_next_query_runs(reader: Reader) -> None:
    """Errors of SQLite are translated, others are raised as they are, and neither ends the thread."""

    async def main() -> None:
        with pytest.raises(UnavailableError, match="^Cannot read 'x.db': no such table"):
            await reader.run(lambda sql: sql.execute("SELECT * FROM missing"))
        with pytest.raises(InvalidInputError, match="surrogates not allowed"):
            await reader.run(lambda sql: sql.execute("SELECT ?", ("\ud800",)))
        with pytest.raises(ZeroDivisionError):
            await reader.run(lambda _: 1 // 0)
        assert await reader.run(lambda sql: sql.execute("SELECT 1").fetchone()) == (1,)
        await reader.close()

    asyncio.run(main())


def test_a_query_cancelled_while_it_waits_is_not_run(reader: Reader) -> None:
    """Nobody would take its result; those before and behind it are run."""
    begun, goes_on = threading.Event(), threading.Event()
    ran: list[str] = []

    def first(_: object) -> None:
        begun.set()
        goes_on.wait()

    async def main() -> None:
        busy = asyncio.ensure_future(reader.run(first))
        await asyncio.to_thread(begun.wait)
        cancelled = asyncio.ensure_future(reader.run(lambda _: ran.append("cancelled")))
        last = asyncio.ensure_future(reader.run(lambda _: ran.append("last")))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait([cancelled])
        goes_on.set()
        await asyncio.gather(busy, last)
        await reader.close()

    asyncio.run(main())
    assert ran == ["last"]


def test_closing_finishes_what_was_asked(reader: Reader) -> None:
    """What was asked before is answered; what is asked after is refused; closing twice is no error."""

    async def main() -> None:
        asked = [asyncio.ensure_future(reader.run(lambda _, n=n: n)) for n in range(5)]
        await asyncio.sleep(0)
        await reader.close()
        assert await asyncio.gather(*asked) == list(range(5))
        with pytest.raises(UnavailableError, match="it was closed"):
            await reader.run(lambda _: 0)
        await reader.close()

    asyncio.run(main())


def test_a_damaged_file_is_an_error_of_the_query(tmp_path: Path) -> None:
    """It is opened by the first query, which is told what is wrong with it."""
    (tmp_path / "x.db").write_bytes(b"no database" * 1000)

    async def main() -> None:
        reader = Reader(tmp_path / "x.db", "x.db")
        with pytest.raises(CorruptError):
            await reader.run(lambda sql: sql.execute("SELECT * FROM events").fetchall())
        await reader.close()

    asyncio.run(main())
