"""New code tried on old events: what would it have told? Run it: python examples/replay.py"""

import asyncio

from tropism import App, Event, Service, State, testing, use
from tropism.adapters.memory import MemoryStore
from tropism.runtime.replay.replaying import Request, replay


class Measured(Event, type="sensors.measured.v1", key="sensor"):
    sensor: str
    celsius: float


class Overheated(Event, type="alarms.overheated.v1", key="sensor"):
    sensor: str
    since: int


def watch(limit: float, patience: int) -> Service:
    service = Service("watch")

    @service.on(Measured)
    def look(measured: Measured, hot: State[int] = use("hot")) -> Overheated | None:
        hot.set((hot.get() or 0) + 1 if measured.celsius > limit else 0)
        return Overheated(sensor=measured.sensor, since=hot.get() or 0) if hot.get() == patience else None

    return service


async def main() -> None:
    live = watch(limit=80, patience=1)
    async with testing.run(App("plant", services=[live])) as t:
        for minute in range(120):
            await t.publish(Measured(sensor=f"s{minute % 3}", celsius=60 + 30 * t.random.random()))
            await t.advance(minutes=1)
        calmer = Request(watch(limit=80, patience=3), live=live)
        report = await replay(calmer, t.simulation.runtime.platform, MemoryStore())
    total = report.difference.total
    print(f"{report.events} measurements: {total.missing} alarms fewer, {total.new} others")  # noqa: T201 (what it is run for)


if __name__ == "__main__":
    asyncio.run(main())
