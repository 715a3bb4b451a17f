"""What a worker lets its resources use."""

from collections.abc import Callable

from tropism.ports.platform import Platform
from tropism.runtime.commit import resource_namespace
from tropism.runtime.gates import Gates
from tropism.runtime.inject import Opened, Site
from tropism.runtime.journal import Journal
from tropism.runtime.lanes import Lanes
from tropism.runtime.rests import Rest
from tropism.runtime.service import Service
from tropism.runtime.sources import resources_of
from tropism.runtime.tables import Tables


async def open_resources(
    service: Service,
    consumer: str,
    *,
    live: bool,
    platform: Platform,
    tables: Tables,
    journal: Journal,
    gates: Gates,
    lanes: Callable[[], Lanes],
) -> dict[str, Opened]:
    """Return what a worker's handlers are given, at work; its lanes are there only when they are called."""

    def excuse() -> None:
        lanes().excuse()

    def rest() -> Rest:
        return lanes().rests.begin()

    def site(namespace: str) -> Site:
        async def stored(key: str) -> bytes | None:
            return (await platform.state.get(namespace, [key]))[0]

        views = tables.reader, tables.readers
        return Site(service.name, live, platform, *views, stored, excuse, journal, gates, rest)

    resources = resources_of(service.handlers)
    return {r.name: await r.open(site(resource_namespace(consumer, r.name))) for r in resources}
