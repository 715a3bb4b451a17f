"""Journaled steps on SQLite, 64 handlers at once, against DBOS on the same disk and raw grouped commits."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.figures import PeerMissingError, figures, in_turn, needs
from bench.running import Tally, consume
from tropism import Event, Service, Steps
from tropism.app.platform import Settings, open_platform
from tropism.core.codec import Codec, record_of

AT_ONCE, STEPS, ROUNDS = 64, 10, 3
SIZE = 6_400
"""How many steps ours runs; the peer, which is slower, runs a tenth."""

METHOD = (
    f"handlers of {AT_ONCE} keys at once, {STEPS} journaled steps each, one after the other, whose calls "
    "return at once; durable (WAL, synchronous=FULL). Peer: DBOS on SQLite, as many workflows of as many "
    "steps at once, a tenth of them in all, in a process of its own, timed without its start. raw_ratio: "
    f"ours to raw commits of {AT_ONCE} such rows each. In turn, median of {ROUNDS}."
)

PEER = """
import asyncio, json, sys, time
from dbos import DBOS
url = f"sqlite:///{sys.argv[1]}/dbos.sqlite"
DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})
flows, at_once, steps = map(int, sys.argv[2:])
@DBOS.step()
async def call(n: int) -> int:
    return n
@DBOS.workflow()
async def flow(n: int) -> None:
    for number in range(steps):
        await call(number)
async def main():
    DBOS.launch()
    left = asyncio.Semaphore(at_once)
    async def one(n):
        async with left:
            await flow(n)
    await flow(-1)
    started = time.perf_counter()
    await asyncio.gather(*(one(n) for n in range(flows)))
    print(json.dumps(flows * steps / (time.perf_counter() - started)), flush=True)
    DBOS.destroy()
asyncio.run(main())
"""


class Ordered(Event, type="bench-steps.ordered.v1", key="id"):
    id: str


def measure(size: int = SIZE) -> dict[str, object]:
    needs("steps", "dbos")
    flows = max(1, size // STEPS)
    found = in_turn(
        ROUNDS,
        ours=lambda _: asyncio.run(ours(flows)),
        peer=lambda _: peer(max(1, flows // 10)),
        raw=lambda _: raw(flows * STEPS),
    )
    return figures(
        found["ours"],
        found["peer"],
        "steps/s",
        METHOD,
        raw=found["raw"],
        raw_ratio=found["ours"] / found["raw"],
    )


async def ours(flows: int) -> float:
    service, tally = Service("bench"), Tally(flows)

    async def call(id: str, number: int) -> str:
        return f"{id}/{number}"

    @service.on(Ordered)
    async def handle(event: Ordered, steps: Steps) -> None:
        tally.begin()
        for number in range(STEPS):
            await steps.run("call", call, event.id, number)
        tally.add()

    codec = Codec([Ordered])
    events = [Ordered(id=f"{n:06}") for n in range(flows)]
    records = [record_of(e, codec.encode(e), id=e.id, time_us=n) for n, e in enumerate(events)]
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bench.db"
        async with open_platform(
            Settings(log=url, queue=url, state=url, blobs=f"file:{folder}/blobs")
        ) as platform:
            for start in range(0, flows, AT_ONCE):
                await platform.log.append(records[start : start + AT_ONCE])
            found = await consume([service], platform, tally)
            return found.count * STEPS / found.seconds


def peer(flows: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", PEER, folder, str(flows), str(AT_ONCE), str(STEPS)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            raise PeerMissingError(f"Cannot measure 'steps': DBOS failed: {done.stderr[-500:]}")
        return float(json.loads(done.stdout.splitlines()[-1]))


def raw(steps: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        sql = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None)
        sql.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
            "CREATE TABLE steps(namespace TEXT, key TEXT, value BLOB, PRIMARY KEY(namespace, key))"
            " WITHOUT ROWID;"
        )
        started = time.perf_counter()
        for start in range(0, steps, AT_ONCE):
            sql.execute("BEGIN IMMEDIATE")
            rows = [("bench/steps", f"{n:012}", b"x" * 16) for n in range(start, start + AT_ONCE)]
            sql.executemany("INSERT INTO steps VALUES (?,?,?)", rows)
            sql.execute("COMMIT")
        spent = time.perf_counter() - started
        sql.close()
        return steps / spent
