"""Services spread over several runtimes, as over processes, decide what they decide together."""

import asyncio
import random
from dataclasses import dataclass, field

import msgspec
import pytest
from tests.simulation.loop_system import AFTER, BEFORE, DAY, TOPICS, System, loop_app, ran, stream

from tropism.adapters.memory import MemoryCompute
from tropism.ports.platform import Platform
from tropism.runtime.following import TOPIC
from tropism.runtime.runtime import Runtime, RuntimeOptions

DAYS = 4
EVENTS = stream(DAYS, lambda day: BEFORE if day < 2 else AFTER)
END = EVENTS[-1][0] + DAY


@dataclass
class Apart(System):
    """The system with its services in several runtimes on one store, each started and crashed by itself."""

    groups: tuple[tuple[int, ...], ...] = ((0, 2), (1, 3))
    runtimes: list[Runtime] = field(default_factory=list)

    def runtime_of(self, group: int) -> Runtime:
        """Return a new runtime of the services of a group."""
        platform = Platform(
            self.store.log, self.store.state, self.store.blobs, MemoryCompute(), self.clock, self.store.queue
        )
        return Runtime(
            [self.app.services[place] for place in self.groups[group]],
            platform,
            types=self.app.events,
            producers=self.app.services,
            options=RuntimeOptions(live=False, chunk=self.chunk, lease_seconds=1e9, holder=f"{group}"),
        )

    async def start(self) -> "Apart":
        """Begin all of them."""
        self.runtimes = [self.runtime_of(group) for group in range(len(self.groups))]
        for runtime in self.runtimes:
            await runtime.start()
            runtime.watermarks.advance_sources(END)
        return self

    async def crash_one(self, group: int) -> None:
        """Abandon one where it stands, and start it again."""
        await self.runtimes[group].abandon()
        self.runtimes[group] = self.runtime_of(group)
        await self.runtimes[group].start()
        self.runtimes[group].watermarks.advance_sources(END)

    async def finish(self) -> "Apart":
        """Live to the end."""
        await asyncio.wait_for(asyncio.gather(*(r.wait_until(END) for r in self.runtimes)), 60)
        for runtime in self.runtimes:
            await runtime.stop(drain_seconds=0)
        return self


async def told(system: System) -> list[tuple[str, str, int, bytes]]:
    """Return what every topic holds, but for how far services said that they were, and how long it took."""
    found = []
    for stored in await system.records(*(topic for topic in TOPICS if topic != TOPIC)):
        record = stored.record
        body = msgspec.json.decode(record.data)
        for name in ("latency_us", "seconds", "latency"):
            body.pop(name, None)
        found.append((record.topic, record.id, record.time_us, msgspec.json.encode(body, order="sorted")))
    return sorted(found)


@pytest.fixture(scope="module")
def together():
    return asyncio.run(_together())


async def _together():
    return await told(await ran(EVENTS, loop_app(), until_us=END))


@pytest.mark.parametrize("groups", [((0, 2), (1, 3)), ((0,), (1,), (2,), (3,))])
def test_apart_they_decide_the_same(together, groups):
    async def live():
        system = Apart(loop_app(), groups=groups)
        await system.publish(EVENTS)
        return await told(await (await system.start()).finish())

    assert asyncio.run(live()) == together


@pytest.mark.parametrize("seed", [1, 2])
def test_each_may_crash_by_itself(together, seed):
    async def live():
        chance = random.Random(seed)
        system = Apart(loop_app())
        await system.publish(EVENTS)
        await system.start()
        for _ in range(6):
            for _ in range(chance.randrange(5, 200)):
                await asyncio.sleep(0)
            await system.crash_one(chance.randrange(2))
        return await told(await system.finish())

    assert asyncio.run(live()) == together


def test_only_those_who_are_awaited_elsewhere_say_how_far_they_are():
    async def live():
        system = Apart(loop_app(), groups=((0,), (1, 2, 3)))
        await system.publish(EVENTS)
        await (await system.start()).finish()
        return {stored.record.source for stored in await system.records(TOPIC)}

    # The outcomes wait for the court's decisions, and the court for the loop's transitions; the others are one.
    assert asyncio.run(live()) == {"court", "verdict.loop"}
