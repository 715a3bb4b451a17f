"""What Tropism costs an event in processor time, over the raw client of the same store."""

import asyncio
import sqlite3
import tempfile
import uuid
from pathlib import Path

import msgspec

from bench.facts import Order, Ordered, orders, records
from bench.figures import figures, in_turn, needs
from bench.platforms import fill, on_memory, on_sqlite
from bench.running import Tally, consume, spent
from tropism.core.envelope import Record
from tropism.runtime.service import Service

EVENTS = 40_000
ROUNDS = 3
COUNT = 500
STORES = ("memory", "sqlite", "kafka")


def method(size: int) -> str:
    return (
        f"Processor time of the process, all threads, for {size:,} events of 200 bytes, 5,000 Zipf keys, all "
        f"published before, from the first call of an async handler that counts to the last commit. Ours: at "
        f"least once, in order per key; cursors in memory, in the same file, and in SQLite beside Kafka. "
        f"Peer: read {COUNT} at a time, decoded by msgspec, the same handler: a list of bytes; SELECT and a "
        f"cursor updated in a durable commit; confluent consume and a commit of offsets (librdkafka's mock, "
        f"lz4). stores: microseconds an event, and ours less the peer's; ours, peer and ratio are those of "
        f"SQLite, overhead_us the largest. In turn, median of {ROUNDS}."
    )


def measure(size: int = EVENTS, stores: tuple[str, ...] = STORES) -> dict[str, object]:
    if "kafka" in stores:
        needs("overhead", "confluent_kafka")
    made = records(orders(size))
    with tempfile.TemporaryDirectory() as folder:
        measures = {"memory": _memory, "sqlite": _sqlite, "kafka": _kafka}
        found = {store: measures[store](made, folder) for store in stores}
    told = {store: {**each, "overhead_us": each["ours"] - each["peer"]} for store, each in found.items()}
    largest = max(each["overhead_us"] for each in told.values())
    return figures(
        found["sqlite"]["ours"],
        found["sqlite"]["peer"],
        "us/event",
        method(size),
        lower_is_better=True,
        overhead_us=largest,
        stores=told,
    )


def counting(tally: Tally) -> Service:
    service = Service(f"counting-{uuid.uuid4().hex[:8]}")

    @service.on(Ordered, guarantee="at_least_once")
    async def count(_: Ordered) -> None:
        tally.add()

    return service


async def _raw(pages, size: int) -> float:
    """Decode and handle pages of bytes, and return the microseconds an event took."""
    tally, decode = Tally(size), msgspec.json.Decoder(Order).decode

    async def handle(_: Order) -> None:
        tally.add()

    for page in pages:
        for data in page:
            await handle(decode(data))
    return spent(tally).cpu_us


def _memory(made: list[Record], _: str) -> dict[str, float]:
    async def ours(_: int) -> float:
        async with on_memory() as platform:
            await fill(platform.log, made)
            tally = Tally(len(made))
            return (await consume([counting(tally)], platform, tally)).cpu_us

    async def peer(_: int) -> float:
        return await _raw([[record.data for record in made]], len(made))

    return in_turn(ROUNDS, ours=lambda n: asyncio.run(ours(n)), peer=lambda n: asyncio.run(peer(n)))


def _sqlite(made: list[Record], folder: str) -> dict[str, float]:
    async def filled() -> None:
        async with on_sqlite(folder) as platform:
            await fill(platform.log, made)

    async def ours(_: int) -> float:
        async with on_sqlite(folder) as platform:
            tally = Tally(len(made))
            return (await consume([counting(tally)], platform, tally)).cpu_us

    async def peer(_: int) -> float:
        return await _raw(_rows(Path(folder) / "bench.db", Path(folder) / "raw.db"), len(made))

    asyncio.run(filled())
    return in_turn(ROUNDS, ours=lambda n: asyncio.run(ours(n)), peer=lambda n: asyncio.run(peer(n)))


def _rows(path: Path, own: Path):
    """Yield pages of payloads from our table, and commit a cursor after each to a file beside it."""
    log, sql = sqlite3.connect(path, isolation_level=None), sqlite3.connect(own, isolation_level=None)
    sql.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
        "CREATE TABLE IF NOT EXISTS cursors(name TEXT PRIMARY KEY, place INTEGER);"
    )
    place = -1
    query = "SELECT place, data FROM events WHERE place > ? AND type = ? ORDER BY place LIMIT ?"
    while rows := log.execute(query, (place, Ordered.event_type, COUNT)).fetchall():
        yield [data for _, data in rows]
        place = rows[-1][0]
        sql.execute("BEGIN IMMEDIATE")
        sql.execute("INSERT OR REPLACE INTO cursors VALUES ('raw', ?)", (place,))
        sql.execute("COMMIT")
    log.close()
    sql.close()


def _kafka(made: list[Record], folder: str) -> dict[str, float]:
    from bench.consume_kafka import filled, ours, raw

    servers, prefix = asyncio.run(filled(made))
    return in_turn(
        ROUNDS,
        ours=lambda n: asyncio.run(ours(servers, prefix, len(made), f"{folder}/kafka-{n}")).cpu_us,
        peer=lambda _: asyncio.run(raw(servers, prefix, len(made))).cpu_us,
    )
