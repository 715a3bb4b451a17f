"""What a process reads of a database file that it owns, and of one that another owns."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tropism.adapters.sqlite import open_sqlite
from tropism.adapters.sqlite.store import SqliteStore
from tropism.core.envelope import Record
from tropism.core.errors import UnavailableError

TOPIC = "orders"


def record(number: int) -> Record:
    return Record(f"{number:04}", "orders.placed.v1", TOPIC, f"k{number}", number, b"{}")


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[SqliteStore, SqliteStore]]:
    """Open a file twice: the first owns it, the second writes through it."""
    url = f"sqlite:///{path}/x.db?synchronous=normal"
    owner = await open_sqlite(url)
    other = await open_sqlite(url)
    try:
        assert (owner.owns, other.owns) == (True, False)
        yield owner, other
    finally:
        await other.close()
        await owner.close()


def test_what_was_acknowledged_is_read_at_once_whoever_appended_it(tmp_path: Path) -> None:
    """The owner reads only partitions that grew: it knows of growth before anybody is told that it is done."""

    async def main() -> None:
        async with opened(tmp_path) as stores:
            places = {(TOPIC, number): 0 for number in range(4)}
            for number in range(60):
                await stores[number % 2].log.append([record(number)])
                for store in stores:
                    pages = await store.log.read(places, count_max=99)
                    assert sum(map(len, pages.values())) == number + 1

    asyncio.run(main())


def test_what_one_reader_saw_of_a_commit_no_other_misses(tmp_path: Path) -> None:
    """Between a commit and the noting of it, whoever reads asks the file: a watermark may be seen already."""

    class Slow(dict):  # type: ignore[type-arg]
        def update(self, *given: object) -> None:
            committed.set()
            noting.wait(10)
            super().update(*given)

    committed, noting = threading.Event(), threading.Event()

    async def main() -> None:
        async with opened(tmp_path) as (owner, _):
            await owner.log.create_topics({TOPIC: 1})
            writer = owner._route._way._writer  # type: ignore[union-attr]
            writer.ends = Slow(writer.ends)
            done = asyncio.ensure_future(owner.log.append([record(1)]))
            await asyncio.to_thread(committed.wait, 10)
            assert len((await owner.log.read({(TOPIC, 0): 0}, count_max=9))[TOPIC, 0]) == 1
            noting.set()
            assert await done == 1

    asyncio.run(main())


def test_only_partitions_with_something_new_are_asked_for(tmp_path: Path) -> None:
    """Where nothing grew, a read costs no statement; topics that do not exist have nothing new."""

    async def main() -> None:
        async with opened(tmp_path) as (owner, _):
            await owner.log.append([record(number) for number in range(9)])
            ends = await owner.log.ends([TOPIC])
            # Whatever is asked of the file itself would fail now.
            owner.log._topics = None  # type: ignore[assignment]
            assert await owner.log.read(ends, count_max=9) == {}
            assert await owner.log.read({("missing", 0): 0, (TOPIC, 99): 0}, count_max=9) == {}
            grown = next(partition for partition, end in ends.items() if end)
            with pytest.raises(AttributeError):
                await owner.log.read({**ends, grown: 0}, count_max=9)

    asyncio.run(main())


def test_who_joins_later_is_told_how_far_partitions_reach(tmp_path: Path) -> None:
    """Growth is sent to those who are there; who comes then learns of all that was before."""

    async def main() -> None:
        async with opened(tmp_path) as (owner, other):
            await owner.log.append([record(number) for number in range(9)])
            url = f"sqlite:///{tmp_path}/x.db?synchronous=normal"
            third = await open_sqlite(url)
            ends = await owner.log.ends([TOPIC])
            partition, end = max(ends.items(), key=lambda entry: entry[1])
            async with asyncio.timeout(20):
                for store in (other, third):
                    await store.log.wait_beyond({partition: end - 1})
                waiting = [asyncio.ensure_future(s.log.wait_beyond(ends)) for s in (owner, other, third)]
                await asyncio.sleep(0)
                await third.log.append([record(99)])
                await asyncio.gather(*waiting)
            await third.close()

    asyncio.run(main())


def test_a_closed_file_is_not_read(tmp_path: Path) -> None:
    """Also where there would be nothing to read."""

    async def main() -> None:
        store = await open_sqlite(f"sqlite:///{tmp_path}/x.db")
        await store.close()
        for places in ({(TOPIC, 0): 0}, {}):
            with pytest.raises(UnavailableError, match="it was closed"):
                await store.log.read(places, count_max=1)

    asyncio.run(main())
