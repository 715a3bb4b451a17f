"""The registry of schemas in the log: one record a version, and no start with what old events do not fit."""

import asyncio
from typing import Any

import msgspec
import pytest

from tropism import App, Event, Service, testing
from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.app.schemas import register_schemas
from tropism.core.codec import Codec
from tropism.core.envelope import Record, Stored
from tropism.core.errors import ConflictError, InvalidInputError
from tropism.core.schema.canonical import schema_of
from tropism.ports.platform import Platform
from tropism.runtime.handler import Tick
from tropism.runtime.schemas import CONSUMER, SchemaRegistered, read_registry, registry_of


def kind(name: str, *fields: Any) -> Any:
    """Return an event class with fields: name, type, and maybe a default."""
    annotations = {field[0]: field[1] for field in fields}
    defaults = {field[0]: field[2] for field in fields if len(field) > 2}
    namespace = {"__annotations__": annotations, "__module__": __name__, **defaults}
    return type(Event)("Paid", (Event,), namespace, type=name)  # type: ignore[call-overload]


def platform(*, dedup: bool = True) -> Platform:
    clock = VirtualClock(0)
    store = MemoryStore(clock=clock, partitions_default=2, dedup=dedup)
    return Platform(store.log, store.state, store.blobs, MemoryCompute(), clock, store.queue)


def start(where: Platform, *kinds: Any, compatibility: Any = "backward") -> list[SchemaRegistered]:
    async def main() -> list[SchemaRegistered]:
        return await register_schemas(where, "shop", Codec([Tick, *kinds]), compatibility)

    return asyncio.run(main())


def versions(where: Platform) -> dict[str, list[int]]:
    found = asyncio.run(read_registry(where.log))
    return {name: [version.number for version in known] for name, known in found.items()}


ONE = kind("orders.paid.v1", ("a", int))
TWO = kind("orders.paid.v1", ("a", int), ("b", int, 0))
BROKEN = kind("orders.paid.v1", ("a", int), ("c", str))
OTHER = kind("orders.sent.v1", ("a", int))


@pytest.mark.parametrize("dedup", [True, False])
def test_each_version_is_registered_once_however_often_an_app_starts(dedup: bool) -> None:
    """New types and new schemas are added when an app starts, and nothing when it starts again."""
    where = platform(dedup=dedup)
    assert [(e.name, e.version, e.mode) for e in start(where, ONE, OTHER)] == [
        ("orders.paid.v1", 1, "backward"),
        ("orders.sent.v1", 1, "backward"),
    ]
    assert start(where, OTHER, ONE) == []
    (added,) = start(where, TWO, OTHER, compatibility={TWO: "full"})
    assert (added.version, added.mode, added.schema) == (2, "full", schema_of(TWO))
    assert start(where, ONE, OTHER) == []
    assert versions(where) == {"orders.paid.v1": [1, 2], "orders.sent.v1": [1]}
    assert len(stored(where)) == 3


def stored(where: Platform) -> list[Stored]:
    async def main() -> list[Stored]:
        ends = await where.log.ends(["schemas"])
        pages = await where.log.read(dict.fromkeys(ends, 0), count_max=100)
        return [each for page in pages.values() for each in page]

    return asyncio.run(main())


def test_a_change_that_old_events_do_not_fit_is_refused_and_adds_nothing() -> None:
    """The error names type, field and remedy; another type's new version is not added either."""
    where = platform()
    start(where, ONE)
    with pytest.raises(InvalidInputError, match=r"'orders.paid.v1' changed.*'\$\.c' is required.*default"):
        start(where, BROKEN, OTHER)
    assert versions(where) == {"orders.paid.v1": [1]}
    assert len(start(where, BROKEN, compatibility={"orders.paid.v1": "none"})) == 1


def test_a_mode_may_hold_for_all_types_or_for_one() -> None:
    """Forward compatible changes may be started with where a type says so."""
    where = platform()
    start(where, ONE, OTHER)
    assert [e.name for e in start(where, BROKEN, OTHER, compatibility="forward")] == ["orders.paid.v1"]
    less = kind("orders.sent.v1", ("b", int, 0))
    with pytest.raises(InvalidInputError, match="code of version 1 could not read new events"):
        start(where, BROKEN, less, compatibility={OTHER: "forward"})


def test_modes_and_names_that_do_not_exist_are_refused() -> None:
    """A slip is told when the app is composed or started, and not passed over."""
    with pytest.raises(InvalidInputError, match="no such mode"):
        App("shop", compatibility="sideways")
    with pytest.raises(InvalidInputError, match="no event type"):
        App("shop", compatibility={int: "full"})
    with pytest.raises(InvalidInputError, match="has no such event type"):
        start(platform(), ONE, compatibility={"orders.payed.v1": "full"})


def test_processes_that_start_at_once_add_each_version_once() -> None:
    """They take turns, also where the log knows no ids; and one that died holds up the others for a while."""

    async def main() -> None:
        where = platform(dedup=False)
        clock: Any = where.clock
        await where.state.acquire(CONSUMER, "died", lease_seconds=5)
        starts = [register_schemas(where, "shop", Codec([ONE, OTHER]), "backward") for _ in range(5)]
        tasks = [asyncio.ensure_future(each) for each in starts]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            due_us = clock.next_wakeup_us()
            if due_us is not None:
                clock.advance_to_us(due_us)
        assert sorted(len(task.result()) for task in tasks) == [0, 0, 0, 0, 2]
        assert clock.now_us() >= 5_000_000
        registry = await read_registry(where.log)
        assert [len(known) for known in registry.values()] == [1, 1]

    asyncio.run(main())


def test_of_two_records_of_one_number_the_first_counts() -> None:
    """Where a lease was lost in between, every reader still sees the same registry."""

    def told(version: int, digest: str) -> Stored:
        event = SchemaRegistered(name="a.b.v1", version=version, digest=digest, mode="full", schema={})
        data = msgspec.json.encode(event)
        return Stored(0, 0, 0, Record("i", SchemaRegistered.event_type, "schemas", "a.b.v1", 0, data))

    found = registry_of([told(1, "x"), told(1, "y"), told(2, "x"), told(2, "y"), told(4, "z")])
    assert [(each.number, each.digest) for each in found["a.b.v1"]] == [(1, "x"), (2, "y")]


def test_a_refused_start_leaves_no_lease_behind() -> None:
    """Whoever mends the class starts at once."""
    where = platform()
    start(where, ONE)
    with pytest.raises(InvalidInputError):
        start(where, BROKEN)

    async def main() -> None:
        try:
            await where.state.acquire(CONSUMER, "me", lease_seconds=1)
        except ConflictError:
            pytest.fail("the lease is held")

    asyncio.run(main())


def test_apps_under_test_leave_the_registry_alone() -> None:
    """A run in memory has no history to be compatible with."""

    async def main() -> None:
        async with testing.run(App("shop", services=[Service("idle")], events=[ONE])) as t:
            assert await read_registry(t.simulation.store.log) == {}

    asyncio.run(main())
