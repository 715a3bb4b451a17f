"""What is kept for later: the right ones in memory, each published once, whatever overlaps with reading."""

import asyncio
import random
from datetime import UTC, datetime

import pytest

from tropism import Cancel, Event, Later, Service, minutes, testing
from tropism.adapters.memory import MemoryStore
from tropism.app.app import App
from tropism.core.envelope import Envelope, Record
from tropism.core.errors import InvalidInputError
from tropism.core.time import days
from tropism.ports.state import Commit, Position, State, Write
from tropism.runtime import delays as delays_module
from tropism.runtime.delays import Delays
from tropism.runtime.later import Canceled, Delayed, canceled


class Asked(Event, type="visits.asked.v1", key="who"):
    who: str


class Reminded(Event, type="reminders.reminded.v1", key="who"):
    who: str


def delayed(n: int, due_us: int, when_us: int, *, name: str = "", who: str = "a") -> Delayed:
    return Delayed(
        f"id{n}", "t.t.v1", "t", who, when_us, b"%d" % n, due_us=due_us, when_us=when_us, lane=who, slot=name
    )


def dropped(name: str, when_us: int) -> Canceled:
    return Canceled("", "", "", "", when_us, b"", when_us=when_us, slot=name)


class Gated:
    """A state whose scans tell what was there when they began, and return when they are let."""

    def __init__(self, inner: State) -> None:
        self._inner = inner
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self, namespace, keys):
        return await self._inner.get(namespace, keys)

    async def scan(self, namespace, **how):
        found = await self._inner.scan(namespace, **how)
        await self.gate.wait()
        return found


class Kept:
    """Delays on a state, with a commit for each step, and a model of what should be published."""

    def __init__(self, state: State, lease, *, live: bool) -> None:
        self.state, self.lease, self.live = state, lease, live
        self.gated = Gated(state)
        self.now_us = 0
        self.published: list[Record] = []
        self.waiting: dict[str, Delayed] = {}
        self.wanted: list[bytes] = []
        self.restart()

    def restart(self) -> None:
        now = (lambda: self.now_us) if self.live else None
        self.delays = Delays("s", self.gated, now_us=now, held_max=5)

    def expect(self, ops: list[Record]) -> None:
        """Do in the model what a step does."""
        for n, op in enumerate(ops):
            self._expect_due(op.when_us)
            name = op.slot or f"unnamed {self.now_us} {n} {op.id}"
            if isinstance(op, Canceled) or op.slot:
                self.waiting.pop(name, None)
            if isinstance(op, Delayed) and op.due_us <= op.when_us:
                self.wanted.append(op.data)
            elif isinstance(op, Delayed):
                self.waiting[name] = op
        self._expect_due(self.now_us)

    def _expect_due(self, until_us: int) -> None:
        due = [
            (each.due_us, each.when_us, key) for key, each in self.waiting.items() if each.due_us <= until_us
        ]
        for _, _, key in sorted(due):
            self.wanted.append(self.waiting.pop(key).data)

    async def step(self, ops: list[Record], between=None) -> None:
        """Make a step and commit it; ``between`` happens after it was decided and before it is stored."""
        outputs, writes = list(ops), []
        self.delays.step(outputs, writes, self.now_us)
        self.expect(ops)
        self.published += outputs
        if between is not None:
            await between()
        await self.state.commit(Commit(self.lease, Position(), writes))


@pytest.mark.parametrize("live", [True, False], ids=["live", "event time"])
@pytest.mark.parametrize("seed", range(25))
def test_whatever_overlaps_each_is_published_once_and_in_order(
    live: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps, cancels, restarts and reads in any overlap publish what a plain table of what waits would."""
    monkeypatch.setattr(delays_module, "PAGE", 3)
    chance = random.Random(seed)

    async def main() -> None:
        store = MemoryStore()
        lease, _ = await store.state.acquire("s", "test", lease_seconds=1e9)
        kept = Kept(store.state, lease, live=live)
        numbers = iter(range(10_000))

        def ops() -> list[Record]:
            found: list[Record] = []
            for _ in range(chance.randrange(6)):
                name = chance.choice(["", "", "x", "y", "z"])
                due_us = kept.now_us + chance.randrange(-2, 40)
                if name and chance.random() < 0.3:
                    found.append(dropped(name, kept.now_us))
                else:
                    found.append(delayed(next(numbers), due_us, kept.now_us, name=name))
            return found

        for _ in range(120):
            if chance.random() < 0.15:
                kept.restart()
            kept.gated.gate.clear()
            reading = asyncio.create_task(kept.delays.refill())
            await asyncio.sleep(0)
            for _ in range(chance.randrange(3)):
                # Before the next ones are in memory, time does not pass what is: as a worker has it.
                await kept.step(
                    ops() if kept.delays.horizon_us >= kept.now_us else [], lambda: asyncio.sleep(0)
                )
            kept.gated.gate.set()
            await reading
            until_us = kept.now_us + chance.randrange(8)
            kept.now_us = min(until_us, kept.delays.horizon_us)
            kept.delays.admit(kept.now_us)
            await kept.step(ops())
        kept.now_us += 1000
        for _ in range(500):
            await kept.delays.refill()
            await kept.step([])
        assert sorted(r.data for r in kept.published) == sorted(kept.wanted)
        if not live:
            assert [r.time_us for r in kept.published] == sorted(r.time_us for r in kept.published)
        assert await store.state.scan("s/later") == []
        assert await store.state.scan("s/later-slots") == []

    asyncio.run(main())


def test_memory_holds_the_next_ones_only() -> None:
    """However many are kept, a bounded number is in memory, and reading asks for a page at a time."""

    async def main() -> None:
        store = MemoryStore()
        lease, _ = await store.state.acquire("s", "test", lease_seconds=1e9)
        writes: list[Write] = []
        before = Delays("s", store.state, now_us=lambda: 0, held_max=100)
        await before.refill()
        before.step([delayed(n, n + 1, 0) for n in range(5000)], writes, 0)
        assert len(before._held) <= 101
        await store.state.commit(Commit(lease, Position(), writes))
        after = Delays("s", store.state, now_us=lambda: 0, held_max=100)
        await after.refill()
        assert len(after._held) == delays_module.PAGE
        assert after.next_us == 1

    asyncio.run(main())


def test_memory_is_bounded_also_for_what_comes_sooner_than_all_before() -> None:
    """What is due later goes back to the store when enough is due sooner, and comes in its turn."""

    async def main() -> None:
        store = MemoryStore()
        lease, _ = await store.state.acquire("s", "test", lease_seconds=1e9)
        now = [0]
        delays = Delays("s", store.state, now_us=lambda: now[0], held_max=100)
        await delays.refill()
        largest = 0
        for start in range(5000, 0, -50):
            writes: list[Write] = []
            delays.step([delayed(n, n, 0) for n in range(start - 49, start + 1)], writes, 0)
            await store.state.commit(Commit(lease, Position(), writes))
            largest = max(largest, len(delays._held), len(delays._next))
        assert largest <= 250
        found: list[Record] = []
        for now[0] in range(0, 6000, 400):
            while (next_us := delays.next_us) is None or next_us <= now[0]:
                writes, outputs = [], []
                delays.step(outputs, writes, 0)
                await store.state.commit(Commit(lease, Position(), writes))
                found += outputs
                await delays.refill()
                if delays.next_us is None:
                    break
        assert [record.data for record in found] == [b"%d" % n for n in range(1, 5001)]

    asyncio.run(main())


def test_what_a_step_may_come_up_to_stays_in_memory() -> None:
    """In event time a step that is being prepared publishes all that is due by its end."""

    async def main() -> None:
        store = MemoryStore()
        delays = Delays("s", store.state, now_us=None, held_max=10)
        await delays.refill()
        delays.promise(30)
        delays.step([delayed(n, n, 0) for n in range(1, 51)], [], 0)
        assert delays.horizon_us >= 30
        assert len(delays._held) < 50
        outputs: list[Record] = []
        delays.admit(30)
        delays.step(outputs, [], 30)
        assert [record.data for record in outputs] == [b"%d" % n for n in range(1, 31)]

    asyncio.run(main())


def test_a_clock_that_jumps_publishes_nothing_early_by_its_own_time_and_nothing_twice() -> None:
    """Set back, what is due waits until the clock says so again; set forward, it is published at once."""

    async def main() -> None:
        store, now = MemoryStore(), [100]
        delays = Delays("s", store.state, now_us=lambda: now[0])
        await delays.refill()
        outputs: list[Record] = [delayed(1, 150, 100), delayed(2, 300, 100)]
        delays.step(outputs, [], 0)
        now[0] = 50
        delays.step(outputs, [], 0)
        assert outputs == []
        assert not delays.admit(50)
        now[0] = 1000
        assert delays.admit(1000)
        delays.step(outputs, [], 0)
        assert [(r.id, r.time_us) for r in outputs] == [("id1", 1000), ("id2", 1000)]
        now[0] = 120
        outputs = []
        delays.step(outputs, [], 0)
        assert outputs == []

    asyncio.run(main())


@pytest.mark.parametrize(
    ("make", "fact"),
    [
        (lambda: Later(Reminded(who="a")), "either a delay or a moment"),
        (lambda: Later(Reminded(who="a"), minutes(1), at=datetime.now(UTC)), "either a delay or a moment"),
        (lambda: Later(Reminded(who="a"), at=datetime(2026, 1, 1)), "names no time zone"),  # noqa: DTZ001
        (lambda: Later(Reminded(who="a"), 5), "5 is no duration or moment"),
        (lambda: Later(Reminded(who="a"), at="2026-01-01"), "'2026-01-01' is no duration or moment"),
        (lambda: Later(Reminded(who="a"), minutes(1), name=""), "is no text of some length"),
        (lambda: Cancel(Reminded, ""), "is no text of some length"),
        (lambda: Cancel(Reminded, None), "is no text of some length"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_is_written(make, fact: str) -> None:
    """A time without a zone, both or neither of delay and moment, and empty names are errors."""
    with pytest.raises(InvalidInputError, match=fact):
        make()


def test_handlers_stay_plain_functions() -> None:
    """What is for later compares and prints by value, so that a handler is tested by calling it."""
    one = Later(Reminded(who="a"), minutes(1), name="x")
    assert (
        one
        == Later(Reminded(who="a"), minutes(1), name="x")
        != Later(Reminded(who="a"), minutes(2), name="x")
    )
    assert {Cancel(Reminded, "x"), Cancel(Reminded, "x")} == {Cancel(Reminded, "x")}
    assert len({one, Later(Reminded(who="a"), minutes(1), name="x")}) == 1
    assert repr(one) == "Later(Reminded, 0:01:00)"


def buried(handler, events=(Asked(who="a"),)) -> str:
    """Return why the dead letter of a handler that takes Asked was given up."""
    service = Service("desk")
    service.on(Asked)(handler)

    async def main() -> str:
        async with testing.run(App("desk", services=[service], events=[Reminded])) as t:
            await t.publish(*events)
            await t.advance(hours=1)
            (letter,) = t.dead_letters()
            return letter.cause

    return asyncio.run(main())


def test_what_was_not_announced_or_no_calendar_tells_becomes_a_dead_letter() -> None:
    """Later in a handler that announces only the event itself, and the year 12000, are refused in words."""

    def unannounced(event: Asked) -> Reminded:
        return Later(Reminded(who=event.who), minutes(1))

    def far(event: Asked) -> Later[Reminded]:
        return Later(Reminded(who=event.who), days(365 * 7500))

    def other(event: Asked) -> Later[Reminded]:
        return Later(event, minutes(1))

    assert "its return type names nothing for later. Write Later[...]" in buried(unannounced)
    assert "lies outside of the years 1000 to 8999. Choose a nearer moment" in buried(far)
    assert "its return type names ['Reminded']" in buried(other)


def test_a_name_needs_a_key_to_stand_under() -> None:
    """Without a key at hand, something for later may have no name; without a name, it comes all the same."""
    cause = Envelope("1", "", "t.t.v1", "", 0, None)
    with pytest.raises(InvalidInputError, match="has no key to keep the name under"):
        canceled(Cancel(Reminded, "x"), cause, 0, logged=True)
    canceled(Cancel(Reminded, "x"), cause, 0, logged=False)
