"""Two services whose log is on NATS and state on SQLite, or both on Kafka: a program that tests start and kill."""

import asyncio
import sys

from tropism import Event, Service, State, use
from tropism.adapters.kafka import open_kafka
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore
from tropism.adapters.nats import open_nats
from tropism.adapters.sqlite import open_sqlite
from tropism.core.codec import Codec, record_of
from tropism.ports.platform import Platform
from tropism.runtime.patience import patiently
from tropism.runtime.runtime import Runtime, RuntimeOptions


class Ordered(Event, type="orders.ordered.v1", key="who"):
    who: str


class Numbered(Event, type="numbers.numbered.v1", key="who"):
    who: str
    n: int


class Answered(Event, type="answers.answered.v1", key="who"):
    who: str
    n: int


def ordered(number, who):
    event = Ordered(who=who)
    return record_of(event, Codec([Ordered]).encode(event), id=f"o{number}", time_us=number)


def services():
    first, second = Service("first"), Service("second")

    @first.on(Ordered)
    def number(event: Ordered, n: State[int] = use("n")) -> Numbered:
        count = (n.get() or 0) + 1
        n.set(count)
        return Numbered(who=event.who, n=count)

    @second.on(Numbered)
    async def answer(event: Numbered, n: State[int] = use("n")) -> Answered:
        n.set((n.get() or 0) + 1)
        return Answered(who=event.who, n=event.n)

    return [first, second]


async def work(url, path):
    clock = SystemClock()
    if url.startswith("kafka"):
        log = await open_kafka(url)
        state = log.state
    else:
        log = await patiently(clock, lambda: open_nats(url))
        state = (await open_sqlite(f"sqlite:///{path}")).state
    platform = Platform(log, state, MemoryBlobs(), MemoryCompute(), clock, MemoryStore().queue)
    # After a crash, a chunk is taken one by one: a small one, so that the test is not about that.
    runtime = Runtime(services(), platform, options=RuntimeOptions(holder="worker", chunk=16))
    await patiently(clock, runtime.start)
    await runtime.wait()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
