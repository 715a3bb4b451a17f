"""What is shown of a log is what is asked for: the last events, and those of topics that begin later."""

import asyncio

from tropism.adapters.memory import MemoryStore
from tropism.cli import tail
from tropism.core.envelope import Record


def record(id, type, key, time_us):
    return Record(id, type, type.partition(".")[0], key, time_us, b"{}")


def keys_apart(log_of):
    """Return two keys that lie in different partitions."""

    async def placed(key):
        log = log_of()
        await log.append([record("x", "orders.paid.v1", key, 1)])
        return next(place for place, end in (await log.ends(["orders"])).items() if end)

    found = {}
    for number in range(50):
        found.setdefault(asyncio.run(placed(f"k{number}")), f"k{number}")
    return list(found.values())[:2]


def test_the_last_events_of_a_type_are_the_last_also_where_others_lie_behind_them(monkeypatch):
    monkeypatch.setattr(tail, "_CHUNK", 4)
    one, other = keys_apart(lambda: MemoryStore().log)
    # In one partition both of the type are old; in the other the newest lies behind more than is read at first.
    records = [record(f"old-{n}", "orders.paid.v1", one, n) for n in (1, 2)]
    records += [record(f"new-{n}", "orders.paid.v1", other, 100 + n) for n in (1, 2)]
    records += [record(f"else-{n}", "orders.sent.v1", other, 200 + n) for n in range(6)]

    async def last():
        log = MemoryStore().log
        await log.append(records)
        found = await tail._last(
            log, await log.ends(["orders"]), 2, lambda stored: stored.record.type == "orders.paid.v1"
        )
        return [stored.record.id for stored in found]

    assert asyncio.run(last()) == ["new-1", "new-2"]


def test_who_follows_sees_topics_that_begin_later_and_makes_none(monkeypatch):
    monkeypatch.setattr(tail, "_BEGINNING_SECONDS", 0.01)

    async def followed():
        log = MemoryStore().log
        await log.append([record("a", "orders.paid.v1", "k", 1)])
        events = tail._from(log, dict(await log.ends(["orders"])), follow=["orders", "notes", "nothing"])
        coming = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.03)
        assert {topic for topic, _ in await log.ends(["orders", "notes", "nothing"])} == {"orders"}
        await log.append([record("b", "notes.made.v1", "k", 2)])
        seen = [(await coming).record.id]
        await log.append([record("c", "orders.paid.v1", "k", 3)])
        seen.append((await anext(events)).record.id)
        return seen

    async def bounded():
        async with asyncio.timeout(20):
            return await followed()

    assert asyncio.run(bounded()) == ["b", "c"]
