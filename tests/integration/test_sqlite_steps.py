"""Journaled steps survive kill -9 on a database file."""

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import pytest
from tests.integration.children import Child
from tests.integration.steps_child import COUNT, Paid

from tropism.adapters.sqlite import open_sqlite
from tropism.core.codec import Codec
from tropism.testing.log import read_all


@contextmanager
def worker(path):
    boot = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tests.integration.steps_child import main; main(sys.argv[2])"
    command = [sys.executable, "-c", boot, json.dumps(sys.path), str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Child(process)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


async def paid_in(path):
    store = await open_sqlite(f"sqlite:///{path}")
    pages = (await read_all(store.log, "payments")).values()
    left = await store.state.scan("shop/steps")
    await store.close()
    return [Codec([Paid]).decode(stored.record) for page in pages for stored in page], left


@pytest.mark.parametrize("seed", [7])
def test_what_a_handler_has_seen_is_never_called_again(tmp_path, seed):
    """Killed again and again, every order is answered once; no step is repeated once its result was seen."""
    chance, path, lines = random.Random(seed), tmp_path / "x.db", []
    for life in range(4):
        with worker(path) as process:
            wanted = 2 * COUNT if life == 3 else chance.randint(1, 90)
            while wanted:
                lines.append(process.line())
                if lines[-1].startswith("seen") and len({x for x in lines if x[0] == "s"}) == 2 * COUNT:
                    break
                wanted -= life < 3
            lines += process.kill()

    async def settle():
        # The last commits may have been cut off: one more life finishes them without a call.
        with worker(path) as process:
            while True:
                paid, left = await paid_in(path)
                if len(paid) == COUNT and not left:
                    return paid, process.kill()
                await asyncio.sleep(0.02)

    paid, more = asyncio.run(settle())
    assert not [line for line in more if line.startswith("called")]
    assert Counter(p.who for p in paid) == {f"{n:03}": 1 for n in range(COUNT)}
    assert all(p.receipts == [f"receipt-{p.who}/charge", f"receipt-{p.who}/post"] for p in paid)
    seen = set()
    keys = {}
    for line in lines:
        verb, what, *key = line.split()
        if verb == "seen":
            seen.add(what)
        else:
            assert what not in seen, f"{what} was called again"
            assert keys.setdefault(what, key) == key
    assert len(set(map(str, keys.values()))) == 2 * COUNT
