"""Events that two workers handle a second, against one: on PostgreSQL and on Kafka, no effect doubled."""

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec
from tests.kafka_servers import Noida
from tests.servers import postgres_url, stop_servers

from tropism.app.platform import Settings, open_platform
from tropism.core.envelope import Record
from tropism.ports.platform import Platform

EVENTS, KEYS, ROUNDS = 8_000, 997, 3
PATIENCE_SECONDS = 240.0
METHOD = (
    f"'tropism run --workers N' on {EVENTS:,} events of {KEYS} keys that lie in the log; a handler that "
    "computes for half a millisecond, counts in the state of its key and gives back an event, effectively "
    f"once; measured between the first tenth and the last twentieth; in turn, median of {ROUNDS}. ours is "
    "two workers, peer is one; 'kafka' is the same with log and state on Kafka, in its transactions "
    "(noida). Two cores that server and workers share: what the server takes, the second worker cannot have."
)

SHOP = """
from hashlib import blake2b
from tropism import App, Event, Service, State, use
class Paid(Event, type="orders.paid.v1", key="who"):
    who: str
    order: int
class Noted(Event, type="notes.noted.v1", key="who"):
    who: str
    order: int
    count: int
s = Service("counting")
@s.on(Paid)
async def note(paid: Paid, seen: State[int] = use("seen")) -> Noted:
    data = b"x" * 512
    for _ in range(400):
        data = blake2b(data).digest()
    count = (seen.get() or 0) + 1
    seen.set(count)
    return Noted(who=paid.who, order=paid.order, count=count)
app = App("shop", services=[s])
"""


def measure(events: int = EVENTS, rounds: int = ROUNDS) -> dict[str, object]:
    try:
        found = _compare(lambda _: (postgres_url(),) * 2, events, rounds)
    finally:
        stop_servers()
    with tempfile.TemporaryDirectory() as folder:
        broker = Noida(Path(folder))
        try:
            kafka = _compare(lambda _: (broker.url(transactions="true"),) * 2, events, rounds)
        finally:
            broker.stop(signal.SIGKILL)
    return {**found, "unit": "events/s", "method": METHOD, "kafka": kafka}


def _compare(urls, events: int, rounds: int) -> dict[str, float]:
    one, two = [], []
    for number in range(rounds):
        one.append(_rate(*urls(number), 1, events))
        two.append(_rate(*urls(number), 2, events))
    peer, ours = statistics.median(one), statistics.median(two)
    return {"ours": ours, "peer": peer, "ratio": ours / peer}


def _rate(log: str, state: str, workers: int, events: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "shop.py").write_text(SHOP, "utf-8")
        return asyncio.run(_drained(folder, Settings(log=log, queue="memory:", state=state), workers, events))


async def _drained(folder: str, settings: Settings, workers: int, events: int) -> float:
    async with open_platform(settings) as platform:
        await platform.log.create_topics({"orders": 4, "notes": 4})
        await platform.log.append(
            [
                Record(
                    f"o{n}",
                    "orders.paid.v1",
                    "orders",
                    f"k{n % KEYS}",
                    n,
                    b'{"who":"k%d","order":%d}' % (n % KEYS, n),
                )
                for n in range(events)
            ]
        )
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([folder, *sys.path]),
            "TROPISM_APP": "shop:app",
            "TROPISM_LOG": settings.log,
            "TROPISM_STATE": settings.state,
            "TROPISM_QUEUE": "memory:",
        }
        command = [sys.executable, "-m", "tropism.cli.main", "run", "--workers", str(workers)]
        running = subprocess.Popen(  # noqa: ASYNC220 (nothing else runs here)
            command, cwd=folder, env=environment, stderr=subprocess.DEVNULL
        )
        try:
            begun, first = await _reached(platform, events // 10, running)
            ended, last = await _reached(platform, events * 19 // 20, running)
            await _reached(platform, events, running)
            await _check_once(platform, events)
        finally:
            running.terminate()
            running.wait(60)
        return (last - first) / (ended - begun)


async def _reached(platform: Platform, count: int, running: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Return when at least so many notes lay in the log, and how many there were."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        seen = await _count(platform)
        if seen >= count:
            return time.monotonic(), seen
        assert running.poll() is None, "the workers ended"
        assert time.monotonic() < deadline, f"{seen} of {count} after {PATIENCE_SECONDS:g} s"
        await asyncio.sleep(0.02 if platform.log.capabilities.event_time else 0.25)


async def _count(platform: Platform) -> int:
    """Return how many notes there are: offsets of Kafka have gaps, so notes are counted there."""
    ends = await platform.log.ends(["notes"])
    if platform.log.capabilities.event_time:
        return sum(ends.values())
    return len(await _notes(platform))


async def _notes(platform: Platform) -> list[dict[str, object]]:
    ends = await platform.log.ends(["notes"])
    pages = await platform.log.read(dict.fromkeys(ends, 0), count_max=2**30)
    return [msgspec.json.decode(stored.record.data) for page in pages.values() for stored in page]


async def _check_once(platform: Platform, events: int) -> None:
    notes = await _notes(platform)
    assert max(Counter(note["order"] for note in notes).values()) == 1, "an event was handled twice"
    assert max(Counter((note["who"], note["count"]) for note in notes).values()) == 1, "an effect was doubled"
    assert len(notes) == events, f"{len(notes)} of {events}"
