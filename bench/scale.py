"""Whether an event costs the same in a long log as in a short one, and among many services as alone."""

import asyncio
import statistics
import tempfile
import time
import types
from collections.abc import Iterator

import msgspec

from bench.facts import START_US, Ordered, customers, orders
from bench.figures import figures
from bench.platforms import fill, on_sqlite
from bench.running import Spent, Tally, consume
from tropism.core.codec import record_of
from tropism.core.envelope import Record, derived_id
from tropism.core.event import Event
from tropism.ports.log import Partition
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, Position
from tropism.runtime.cursor import Cursor, Place, name_of
from tropism.runtime.service import Service

LENGTH = 1_000_000
SHORTEST = 1_000
SAMPLE = 5_000
SERVICES = (1, 10, 50, 200)
ROUNDS = 5
STEPS_US = 1_000


def method(size: int) -> str:
    return (
        f"Processor time of the process, all threads, an event. length: in a log of {SHORTEST:,} to {size:,} "
        f"events of 200 bytes in one SQLite file (synchronous=FULL), {SAMPLE:,} more are appended, 100 at a "
        f"time ('append'), and consumed by a new service placed in front of them ('consume'). services: "
        f"{_shared(size):,} events, appended while {SERVICES[0]} to {SERVICES[-1]} idle services of one "
        f"process wait, each subscribed to a type in a topic of its own. ours is the cost at the largest, "
        f"peer at the smallest, of whichever grew most. Median of {ROUNDS}; 'seconds' are those on the clock."
    )


def measure(size: int = LENGTH) -> dict[str, object]:
    """``size`` is the length of the longest log; 10,000,000 takes some 5 GB and ten minutes."""
    by_length = asyncio.run(_by_length(size))
    by_services = {count: _many(count, _shared(size)) for count in SERVICES}
    pairs = [
        (by_length[max(by_length)][what], by_length[min(by_length)][what]) for what in ("append", "consume")
    ]
    pairs.append((by_services[SERVICES[-1]]["consume"], by_services[SERVICES[0]]["consume"]))
    ours, peer = max(pairs, key=lambda pair: pair[0] / pair[1])
    return figures(
        ours,
        peer,
        "us/event",
        method(size),
        lower_is_better=True,
        length=by_length,
        services=by_services,
        growth={"append": pairs[0], "consume": pairs[1], "services": pairs[2]},
    )


def _shared(size: int) -> int:
    return max(SERVICES[-1], min(20_000, size // 5))


def _lengths(size: int) -> list[int]:
    """Return 1,000 and each ten times more, up to the longest."""
    found = [SHORTEST]
    while found[-1] * 10 < size:
        found.append(found[-1] * 10)
    return [*found, size] if size > found[-1] else found


async def _by_length(size: int) -> dict[int, dict[str, float]]:
    """Return what appending and consuming cost at each length of one growing log."""
    template = [msgspec.json.encode(order) for order in orders(SAMPLE)]
    keys = customers(SAMPLE)
    made = (_record(number, keys[number % SAMPLE], template[number % SAMPLE]) for number in range(2**60))
    found: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        async with on_sqlite(folder) as platform:
            await platform.log.create_topics({Ordered.event_topic: 4})
            for length in _lengths(size):
                await _grow(platform, length, made)
                rounds = [await _sampled(platform, f"{length}-{n}", made) for n in range(ROUNDS)]
                found[length] = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    return found


def _record(number: int, key: str, data: bytes) -> Record:
    at_us = START_US + number * STEPS_US
    id = derived_id(str(number), "bench", 0, at_us)
    return Record(id, Ordered.event_type, Ordered.event_topic, key, at_us, data, "bench")


async def _ends(platform: Platform) -> dict[Partition, int]:
    return dict(await platform.log.ends([Ordered.event_topic]))


async def _grow(platform: Platform, length: int, made: Iterator[Record]) -> None:
    missing = length - sum((await _ends(platform)).values())
    while missing > 0:
        count = min(missing, 5_000)
        await platform.log.append([next(made) for _ in range(count)])
        missing -= count


async def _sampled(platform: Platform, name: str, made: Iterator[Record]) -> dict[str, float]:
    """Append a sample and consume it, by a service that begins where the sample does."""
    service, tally = Service(f"counting-{name}"), Tally(SAMPLE)

    @service.on(Ordered)
    async def count(_: Ordered) -> None:
        tally.add()

    await _place(platform, service.name)
    sample = [next(made) for _ in range(SAMPLE)]
    started, started_cpu = time.perf_counter(), time.process_time()
    await fill(platform.log, sample, count=100)
    append = Spent(SAMPLE, time.perf_counter() - started, time.process_time() - started_cpu)
    consumed = await consume([service], platform, tally)
    return {
        "append": append.cpu_us,
        "consume": consumed.cpu_us,
        "append_seconds": append.seconds,
        "consume_seconds": consumed.seconds,
    }


async def _place(platform: Platform, service: str) -> None:
    """Let a service begin at the end of the log, as one does that has handled all before."""
    places = {name_of(partition): Place(end) for partition, end in (await _ends(platform)).items()}
    cursor = msgspec.msgpack.encode(Cursor(places=places))
    lease, _ = await platform.state.acquire(service, "bench", lease_seconds=60)
    await platform.state.commit(Commit(lease, Position(cursor, START_US)))
    await platform.state.release(lease)


def _many(services: int, size: int) -> dict[str, float]:
    rounds = [asyncio.run(_among(services, size)) for _ in range(ROUNDS)]
    return {
        "consume": statistics.median(each.cpu_us for each in rounds),
        "seconds": statistics.median(each.seconds for each in rounds),
    }


async def _among(count: int, size: int) -> Spent:
    """Return what events cost that are spread over so many services, from their publishing on."""
    kinds = [_kind(number) for number in range(count)]
    tally = Tally(size)
    services = [_counting(number, kind, tally) for number, kind in enumerate(kinds)]
    keys = customers(size)
    made = [_event(kinds[number % count], number, keys[number]) for number in range(size)]
    with tempfile.TemporaryDirectory() as folder:
        async with on_sqlite(folder) as platform:

            async def publish() -> None:
                tally.begin()
                await fill(platform.log, made, count=len(made))

            return await consume(services, platform, tally, publish=publish)


def _kind(number: int) -> type[Event]:
    fields = {"__annotations__": dict.fromkeys(("customer", "note"), str), "__module__": __name__}
    options = {"type": f"bench{number}.happened.v1", "key": "customer"}
    return types.new_class(f"Happened{number}", (Event,), options, lambda body: body.update(fields))


def _counting(number: int, kind: type[Event], tally: Tally) -> Service:
    service = Service(f"counting-{number}")

    async def count(_: Event) -> None:
        tally.add()

    count.__annotations__["_"] = kind
    service.on(kind)(count)
    return service


def _event(kind: type[Event], number: int, key: str) -> Record:
    event = kind(customer=key, note="n" * 150)
    at_us = START_US + number * STEPS_US
    id = derived_id(str(number), "bench", 0, at_us)
    return record_of(event, msgspec.json.encode(event), id=id, time_us=at_us, source="bench")
