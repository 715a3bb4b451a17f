"""A process that runs the ledger on the stores of two URLs; what its handlers do is written in a folder."""

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

# Loaded before the first worker is made, so that a worker is there in no time.
import tropism.adapters.kafka
import tropism.adapters.nats
import tropism.adapters.postgres
import tropism.adapters.sqlite
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore
from tropism.core.time import seconds
from tropism.ports.platform import Platform
from tropism.runtime.patience import patiently
from tropism.runtime.retry import Retry
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.waiting import first_of
from tropism.testing.ledger import TYPES, ledger

OPENERS = {
    "kafka": tropism.adapters.kafka.open_kafka,
    "nats": tropism.adapters.nats.open_nats,
    "postgresql": tropism.adapters.postgres.open_postgres,
    "sqlite": tropism.adapters.sqlite.open_sqlite,
}
RETRY = Retry(attempts=5, first=seconds(0.02), longest=seconds(0.2))
LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Job:
    """What a worker is to do."""

    log: str
    state: str
    folder: str
    holder: str = "worker"
    lease_seconds: float = 1.0
    drain_seconds: float = 20.0
    timeout_seconds: float = 20.0
    chunk: int = 64
    in_flight_max: int = 4096
    share: tuple[int, int] = (0, 1)
    clock_ahead_seconds: float = 0.0
    file_bytes_max: int = 0
    slow_seconds: float = 0.0
    retry_seconds: float = 0.0

    @property
    def retry(self):
        if not self.retry_seconds:
            return RETRY
        return Retry(attempts=5, first=seconds(self.retry_seconds))


async def open_log_and_state(log_url, state_url):
    """Open both, one store where they are one; return log, state and what to close."""
    stores = {}
    for url in (log_url, state_url):
        if url not in stores:
            stores[url] = await OPENERS[url.partition(":")[0]](url)
    log, state = stores[log_url], stores[state_url]
    return getattr(log, "log", log), state.state, list(stores.values())


class Conduct:
    """What becomes of a call, as files in a folder say: ``hold-a`` holds the calls of account ``a``, and so on."""

    def __init__(self, folder, *, slow_seconds=0.0):
        self.folder = Path(folder)
        self.slow_seconds = slow_seconds

    def asks(self, kind, account):
        return (self.folder / f"{kind}-{account}").exists()

    async def meet(self, handler, id, account):
        if handler != "books.book":
            return
        self.note(f"{handler} {id}")
        if self.slow_seconds:
            await asyncio.sleep(self.slow_seconds)
        if self.asks("die", account):
            os._exit(7)
        if self.asks("block", account):
            while self.asks("block", account):
                time.sleep(LOOK_SECONDS)  # noqa: ASYNC251 (a handler that blocks is the point)
        while self.asks("hold", account):  # noqa: ASYNC110 (another process says when)
            await asyncio.sleep(LOOK_SECONDS)
        if self.asks("raise", account):
            raise RuntimeError("as it was told to")

    def meet_now(self, handler, events):
        for _, account in events:
            if self.asks("spoil", account):
                raise RuntimeError("as it was told to")

    def note(self, text):
        # One short write to a file that is only appended to: whole, whoever is killed.
        with (self.folder / "calls").open("a") as file:
            file.write(f"{text}\n")


class AheadClock(SystemClock):
    """The machine's clock, set wrong."""

    def __init__(self, seconds):
        self._seconds = seconds

    def now_us(self):
        return super().now_us() + round(self._seconds * 1e6)


def clock_of(job):
    return AheadClock(job.clock_ahead_seconds) if job.clock_ahead_seconds else SystemClock()


def runtime_of(job, log, state, clock):
    conduct = Conduct(job.folder, slow_seconds=job.slow_seconds)
    platform = Platform(log, state, MemoryBlobs(), MemoryCompute(), clock, MemoryStore().queue)
    options = RuntimeOptions(
        holder=job.holder,
        lease_seconds=job.lease_seconds,
        drain_seconds=job.drain_seconds,
        chunk=job.chunk,
        in_flight_max=job.in_flight_max,
        share=job.share,
    )
    services = ledger(conduct.meet, conduct.meet_now, retry=job.retry, timeout_seconds=job.timeout_seconds)
    return Runtime(services, platform, types=TYPES, options=options)


async def serve(job):
    """Work until told to stop, as ``tropism run`` does."""
    from tropism.cli.serving import Stop

    stop, clock = Stop(), clock_of(job)
    if job.file_bytes_max:
        limit(job.file_bytes_max)
    async with AsyncExitStack() as stack:
        log, state, stores = await patiently(clock, lambda: open_log_and_state(job.log, job.state))
        for store in stores:
            stack.push_async_callback(store.close)
        runtime = runtime_of(job, log, state, clock)
        await patiently(clock, runtime.start)
        try:
            await first_of(stop.asked.wait(), runtime.wait())
        finally:
            await runtime.stop()
    return stop.code


def limit(bytes_max):
    """Let no file grow beyond, as on a full disk, until ``room`` lies in the folder."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, hard))


def main(job):
    """Run a worker to its end."""
    import logging

    logging.getLogger("tropism").setLevel(logging.ERROR)
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    sys.exit(asyncio.run(serve(job)))
