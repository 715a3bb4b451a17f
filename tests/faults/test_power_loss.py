"""What is left of a database file when the power goes: what was acknowledged, and nothing half."""

import asyncio
import random
import shutil

import pytest
from tests.integration.children import TOPIC, database, record, step_commit

from tropism.adapters.sqlite import open_sqlite
from tropism.testing.log import read_all

STEPS = 24


async def written(folder):
    """Append and commit by turns; return how long the write-ahead log was when each step was acknowledged."""
    store = await open_sqlite(database(folder))
    lease, _ = await store.state.acquire("c", "h", lease_seconds=3600)
    sizes = [(folder / "x.db-wal").stat().st_size]
    for step in range(1, STEPS + 1):
        await store.log.append([record(f"a-{step}-{n}", data=bytes(300 * n)) for n in range(1 + step % 7)])
        await store.state.commit(step_commit(lease, step))
        sizes.append((folder / "x.db-wal").stat().st_size)
    (folder / "torn").mkdir()
    for name in ("x.db", "x.db-wal"):
        shutil.copyfile(folder / name, folder / "torn" / name)
    await store.close()
    return sizes


async def found(folder):
    """Return how many steps, and how many of each batch, a torn file still holds."""
    store = await open_sqlite(database(folder))
    try:
        assert await store.problems() == []
        _, position = await store.state.acquire("c", "h", lease_seconds=9)
        ids = [s.record.id for page in (await read_all(store.log, TOPIC)).values() for s in page]
        count = (await store.state.get("c", ["count"]))[0]
        batches = {}
        for id in ids:
            if id.startswith("a-"):
                batches[int(id.split("-")[1])] = batches.get(int(id.split("-")[1]), 0) + 1
        steps = int(position.cursor or b"0")
        assert int(count or b"0") == steps
        assert sorted(int(id[2:]) for id in ids if id.startswith("c-")) == list(range(1, steps + 1))
        return steps, batches
    finally:
        await store.close()


@pytest.mark.parametrize("ending", ["cut off", "rubbish", "zeros"])
def test_a_torn_tail_takes_nothing_that_was_acknowledged(tmp_path, ending):
    """Wherever the log's last write was torn, every step before it is whole, and nothing of it is there."""
    chance = random.Random(ending)
    sizes = asyncio.run(written(tmp_path))
    # A log that was begun anew from its start would say nothing here.
    assert sizes == sorted(sizes)
    whole = (tmp_path / "torn" / "x.db-wal").read_bytes()
    for case in range(20):
        acknowledged = chance.randrange(1, STEPS)
        cut = chance.randrange(sizes[acknowledged], sizes[acknowledged + 1])
        lost = len(whole) - cut
        tail = {"cut off": b"", "rubbish": chance.randbytes(lost), "zeros": bytes(lost)}[ending]
        folder = tmp_path / str(case)
        folder.mkdir()
        shutil.copyfile(tmp_path / "torn" / "x.db", folder / "x.db")
        (folder / "x.db-wal").write_bytes(whole[:cut] + tail)
        steps, batches = asyncio.run(found(folder))
        assert steps == acknowledged
        # The batch of the step that was torn may be whole, for it was a commit of its own.
        assert set(range(1, acknowledged + 1)) <= set(batches) <= set(range(1, acknowledged + 2))
        assert all(count == 1 + batch % 7 for batch, count in batches.items())
