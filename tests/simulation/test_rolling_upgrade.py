"""Old and new code of one service, side by side and one after the other, as it is rolled out and back."""

import asyncio
import itertools
import logging
import random
import runpy
from pathlib import Path

import msgspec
import pytest

from tropism import Event, Reader, Service, State, View, count, days, hours, last, session, tumbling, use
from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore, VirtualClock
from tropism.core.codec import record_of
from tropism.core.errors import InvalidInputError, NotSupportedError
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, Position
from tropism.runtime import declared
from tropism.runtime.dead import dead_letters
from tropism.runtime.declared import KEPT_MAX, declarations, declare
from tropism.runtime.dividing import divide
from tropism.runtime.leaving import LEFT_MAX
from tropism.runtime.runtime import Runtime, RuntimeOptions, codec_of

DAY_US = 86_400_000_000


class Added(Event, type="carts.added.v1", key="cart"):
    cart: str
    n: int


class AddedNow(Event, type="carts.added.v1", key="cart"):
    """The same type, as newer code knows it."""

    cart: str
    n: int
    price: float = 1.0


class Removed(Event, type="carts.removed.v1", key="cart"):
    """A type that only newer code knows."""

    cart: str
    n: int


class Noted(Event, type="notes.noted.v1", key="cart"):
    cart: str
    n: int
    count: int


def old():
    service = Service("carts")

    @service.on(Added)
    def note(added: Added, count: State[int] = use("count")) -> Noted:
        count.set((count.get() or 0) + 1)
        return Noted(cart=added.cart, n=added.n, count=count.get() or 0)

    return service


def new(*, handler="note", state="count"):
    """Return newer code: a type more, a field more, and what is asked for renamed."""
    service = Service("carts")

    def note(added: AddedNow, count: State[int] = use(state)) -> Noted:
        assert added.price == 1.0
        count.set((count.get() or 0) + 1)
        return Noted(cart=added.cart, n=added.n, count=count.get() or 0)

    note.__name__ = handler
    service.on(AddedNow)(note)

    @service.on(Removed)
    def remove(removed: Removed, count: State[int] = use(state)) -> Noted:
        count.set((count.get() or 0) + 1)
        return Noted(cart=removed.cart, n=removed.n, count=count.get() or 0)

    return service


class Deployment:
    """One store, and processes of any code on it."""

    def __init__(self, *, apart=False):
        self.clock = VirtualClock(DAY_US)
        self.store = MemoryStore(clock=self.clock, partitions_default=4, apart=apart)
        self.published = 0

    def platform(self):
        store = self.store
        return Platform(store.log, store.state, MemoryBlobs(), MemoryCompute(), self.clock, store.queue)

    async def start(self, service, *, holder, share=(0, 1), lease_seconds=1e6):
        options = RuntimeOptions(live=True, holder=holder, share=share, lease_seconds=lease_seconds)
        runtime = Runtime([service], self.platform(), options=options)
        await runtime.start()
        return runtime

    async def publish(self, *events):
        records = []
        for event in events:
            self.published += 1
            records.append(
                record_of(event, msgspec.json.encode(event), id=f"e{self.published}", time_us=self.published)
            )
        await self.store.log.append(records)
        await self.settle()

    async def settle(self):
        for _ in range(300):
            await asyncio.sleep(0)

    async def take_over(self, before, **more):
        """Stop one process as SIGTERM does, and let a standby come to its turn."""
        await before.stop(drain_seconds=0)
        self.clock.advance(1.0)
        await self.settle()

    def noted(self):
        """Return, per cart, the numbers and counts that were noted, in order; and check ids."""
        stored = [s for p in self.store.log._topics.get("notes", []) for s in p]
        assert len({s.record.id for s in stored}) == len(stored)
        found = {}
        for each in stored:
            event = msgspec.json.decode(each.record.data, type=Noted)
            found.setdefault(event.cart, []).append((event.n, event.count))
        return found

    async def letters(self):
        return await dead_letters(self.store.state)


def in_order(count, carts):
    """Return what all carts note, where every event of each comes once and in order."""
    return {f"c{c}": [(n, i) for i, n in enumerate(range(c, count, carts), 1)] for c in range(carts)}


def added(start, stop, carts):
    return [Added(cart=f"c{n % carts}", n=n) for n in range(start, stop)]


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("handler", ["note", "write"])
def test_one_after_the_other(handler, apart):
    """The new process waits for the old one to leave, and goes on: nothing lost, nothing twice, in order."""

    async def check():
        deployment = Deployment(apart=apart)
        first = await deployment.start(old(), holder="old")
        await deployment.publish(*added(0, 40, 4))
        second = await deployment.start(new(handler=handler), holder="new")
        await deployment.publish(*added(40, 60, 4))
        await deployment.take_over(first)
        await deployment.publish(*added(60, 80, 4))
        assert deployment.noted() == in_order(80, 4)
        third = await deployment.start(old(), holder="back")
        await deployment.take_over(second)
        await deployment.publish(*added(80, 90, 4))
        assert deployment.noted() == in_order(90, 4)
        await third.stop(drain_seconds=0)
        assert await deployment.letters() == []

    asyncio.run(check())


def test_a_killed_old_process_is_taken_over_by_the_new_one():
    """Its lease runs out; what it had in flight is handled by the new code, once."""

    async def check():
        deployment = Deployment()
        first = await deployment.start(old(), holder="old", lease_seconds=5)
        await deployment.publish(*added(0, 20, 4))
        await deployment.store.log.append(
            [record_of(e, msgspec.json.encode(e), id=f"k{e.n}", time_us=100 + e.n) for e in added(20, 40, 4)]
        )
        await asyncio.sleep(0)
        await first.abandon()
        second = await deployment.start(new(), holder="new", lease_seconds=5)
        for _ in range(8):
            deployment.clock.advance(1.0)
            await deployment.settle()
        assert deployment.noted() == in_order(40, 4)
        await second.stop(drain_seconds=0)

    asyncio.run(check())


def test_side_by_side_each_with_its_share():
    """Two workers share the keys, one of old code, one of new: then the old one is replaced as well."""

    async def check():
        deployment = Deployment()
        await deployment.store.log.create_topics({"carts": 4})
        await divide(deployment.platform(), old(), 2, holder="divide")
        first = await deployment.start(old(), holder="old", share=(0, 2))
        second = await deployment.start(new(), holder="new", share=(1, 2))
        await deployment.publish(*added(0, 60, 8))
        assert deployment.noted() == in_order(60, 8)
        removed = [Removed(cart=f"c{n % 8}", n=n) for n in range(60, 68)]
        await deployment.publish(*removed, *added(68, 84, 8))
        # What the old code leaves waits, with all behind it of its keys; the new code's share goes on.
        done = [cart for cart, found in deployment.noted().items() if found == in_order(84, 8)[cart]]
        assert 0 < len(done) < 8
        assert await deployment.letters() == []
        third = await deployment.start(new(), holder="newer", share=(0, 2))
        await deployment.take_over(first)
        assert deployment.noted() == in_order(84, 8)
        for runtime in (second, third):
            await runtime.stop(drain_seconds=0)
        assert await deployment.letters() == []

    asyncio.run(check())


def test_types_that_newer_code_knows_are_left_for_it(caplog):
    """Events of an unknown type, and those of their keys behind them, wait; all others go on."""

    async def check():
        deployment = Deployment()
        first = await deployment.start(old(), holder="old")
        second = await deployment.start(new(), holder="new")
        await deployment.publish(*added(0, 4, 4), Removed(cart="c1", n=5), *added(8, 16, 4))
        expected = {f"c{c}": [(c, 1), (8 + c, 2), (12 + c, 3)] for c in (0, 2, 3)} | {"c1": [(1, 1)]}
        assert deployment.noted() == expected
        await first.abandon()
        # Old code that is started again, even after a crash, leaves them still.
        again = await deployment.start(old(), holder="old")
        deployment.clock.advance(1.0)
        await deployment.publish(*added(16, 18, 4))
        assert deployment.noted()["c1"] == [(1, 1)]
        assert deployment.noted()["c0"][-1] == (16, 4)
        await deployment.take_over(again)
        assert deployment.noted()["c1"] == [(1, 1), (5, 2), (9, 3), (13, 4), (17, 5)]
        await second.stop(drain_seconds=0)
        assert await deployment.letters() == []

    with caplog.at_level(logging.WARNING, "tropism"):
        asyncio.run(check())
    assert "leaves events for newer code of it" in caplog.text


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_started_killed_and_stopped_meanwhile(seed):
    """Old and new code come and go, cleanly and not: at the end each event was handled once, in order of its key."""

    async def check():
        chance = random.Random(seed)
        deployment = Deployment(apart=seed % 2 == 1)
        # Newer code has been started at least once: it is being rolled out.
        running = [await deployment.start(new(), holder="first", lease_seconds=5)]
        published, names = [], itertools.count()
        for _ in range(25):
            doing = chance.random()
            if doing < 0.5 or not running:
                kinds = [chance.choice((Added, Added, Removed)) for _ in range(chance.randrange(1, 12))]
                events = [
                    kind(cart=f"c{chance.randrange(5)}", n=len(published) + at)
                    for at, kind in enumerate(kinds)
                ]
                published += events
                await deployment.publish(*events)
            if doing > 0.8 or not running:
                service = chance.choice((old, new))()
                running.append(
                    await deployment.start(service, holder=f"process {next(names)}", lease_seconds=5)
                )
            elif doing > 0.7:
                await running.pop(chance.randrange(len(running))).stop(drain_seconds=0)
            elif doing > 0.6:
                await running.pop(chance.randrange(len(running))).abandon()
            deployment.clock.advance(chance.choice((0.0, 1.0, 6.0)))
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
        for runtime in running:
            await runtime.stop(drain_seconds=0)
        last_one = await deployment.start(new(), holder="last", lease_seconds=5)
        for _ in range(10):
            deployment.clock.advance(1.0)
            await deployment.settle()
        expected = {}
        for event in published:
            found = expected.setdefault(event.cart, [])
            found.append((event.n, len(found) + 1))
        assert deployment.noted() == expected
        assert await deployment.letters() == []
        await last_one.stop(drain_seconds=0)

    asyncio.run(check())


def test_types_that_nobody_knows_become_dead_letters():
    """Without code that knows it, or with code that last started a day ago, an unknown type is poison."""

    async def check():
        deployment = Deployment()
        second = await deployment.start(new(), holder="new")
        await second.stop(drain_seconds=0)
        deployment.clock.advance(2 * 86_400.0)
        first = await deployment.start(old(), holder="old")
        await deployment.publish(Removed(cart="c1", n=5), *added(8, 16, 4))
        (letter,) = await deployment.letters()
        assert "type 'carts.removed.v1' is unknown here" in letter.cause
        assert deployment.noted()["c1"] == [(9, 1), (13, 2)]
        await first.stop(drain_seconds=0)

    asyncio.run(check())


def test_what_is_left_is_bounded():
    """Behind so many, unknown ones become dead letters, which can be redriven; the cursor does not grow."""

    async def check():
        deployment = Deployment()
        first = await deployment.start(old(), holder="old")
        second = await deployment.start(new(), holder="new")
        await deployment.publish(*(Removed(cart=f"x{n}", n=n) for n in range(LEFT_MAX + 5)))
        assert len(await deployment.letters()) == 5
        await deployment.take_over(first)
        await deployment.settle()
        assert len(deployment.noted()) == LEFT_MAX
        await second.stop(drain_seconds=0)

    asyncio.run(check())


def test_what_is_declared_is_bounded_and_written_once():
    """The newest declarations are kept; code that is known declares nothing again."""

    def naming(n):
        service = Service("carts")

        @service.on(Added)
        def note(added: Added, state: State[int] = use(f"state-{n}")) -> None:
            return

        return service

    async def check():
        deployment = Deployment()
        codec = codec_of([old()], ())
        for n in range(KEPT_MAX + 4):
            deployment.clock.advance(1.0)
            for _ in range(2):
                await declare(deployment.platform(), naming(n), codec, holder="x")
        lease, _ = await deployment.store.state.acquire("carts#code", "x", lease_seconds=1)
        assert lease.token == KEPT_MAX + 5
        kept = await declarations(deployment.store.state, "carts")
        assert {name for each in kept.values() for name in each.states} == {
            f"state-{n}" for n in range(4, KEPT_MAX + 4)
        }

    asyncio.run(check())


def test_a_state_of_another_type_is_refused_at_start():
    """Stored values that the new type cannot read end the start, with the remedy; another name is a new state."""

    async def check():
        deployment = Deployment()
        first = await deployment.start(old(), holder="old")
        await deployment.publish(*added(0, 4, 4))
        await first.stop(drain_seconds=0)
        before = deployment.noted()
        service = Service("carts")

        @service.on(Added)
        def note(added: Added, count: State[list[str]] = use("count")) -> None:
            raise AssertionError

        broken = await deployment.start(service, holder="new")
        with pytest.raises(
            InvalidInputError, match=r"its state 'count' is list\[str\] here, and a stored value"
        ):
            await broken.wait()
        assert deployment.noted() == before
        wider = Service("carts")

        @wider.on(Added)
        def count_again(added: Added, count: State[int | None] = use("count")) -> Noted:
            return Noted(cart=added.cart, n=added.n, count=count.get() or 0)

        second = await deployment.start(wider, holder="wider")
        await deployment.publish(Added(cart="c1", n=9))
        assert deployment.noted()["c1"][-1] == (9, 1)
        await second.stop(drain_seconds=0)

    asyncio.run(check())


def test_a_view_of_other_columns_is_refused_where_it_is_stored():
    """Rows of other columns would be misread: under another name the view is fed from the log."""

    def viewing(name, **columns):
        service = Service("carts")
        view = View(name, Added, by=lambda e: "all", window=hours(1), **columns)

        @service.on(Added)
        def note(added: Added, recent: Reader = use(view)) -> Noted:
            return Noted(cart=added.cart, n=added.n, count=recent("all")[0] or 0)

        return service

    async def check():
        deployment = Deployment()
        first = await deployment.start(viewing("recent", n=count()), holder="old")
        await deployment.publish(*added(0, 4, 4))
        await first.stop(drain_seconds=0)
        broken = await deployment.start(viewing("recent", most=last(lambda e: e.n), n=count()), holder="new")
        with pytest.raises(InvalidInputError, match="its view 'recent' is stored with other columns"):
            await broken.wait()
        await broken.stop(drain_seconds=0)
        second = await deployment.start(viewing("newest", most=last(lambda e: e.n), n=count()), holder="new")
        await deployment.publish(Added(cart="c9", n=9))
        assert deployment.noted()["c9"][0][0] == 9
        assert await deployment.letters() == []
        await second.stop(drain_seconds=0)

    asyncio.run(check())


LATE = {"window": tumbling(days(3)), "lateness": days(2)}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"window": days(2)}, {"window": days(2), "lateness": hours(1)}),
        ({"window": days(2)}, {"window": days(3)}),
        (LATE, {**LATE, "lateness": days(3)}),
        (LATE, {**LATE, "window": tumbling(days(4))}),
        (LATE, {**LATE, "window": tumbling(days(3), offset=hours(1))}),
        (LATE, {**LATE, "window": session(days(3))}),
        ({**LATE, "window": session(days(3))}, {**LATE, "window": session(days(4))}),
    ],
    ids=["lateness", "size", "later", "tumbling", "offset", "session", "gap"],
)
def test_a_view_of_other_windows_is_refused_where_it_is_stored(before, after):
    """What its windows then needed no more is forgotten: wider or other ones would be read with holes."""

    def viewing(**declared):
        service = Service("carts")
        view = View("recent", Added, by=lambda e: "all", n=count(), **declared)

        @service.on(Added)
        def note(added: Added, recent: Reader = use(view)) -> Noted:
            return Noted(cart=added.cart, n=added.n, count=recent("all")[0] or 0)

        return service

    async def check():
        deployment = Deployment()
        first = await deployment.start(viewing(**before), holder="old")
        await deployment.publish(*added(0, 4, 4))
        await first.stop(drain_seconds=0)
        broken = await deployment.start(viewing(**after), holder="new")
        with pytest.raises(InvalidInputError, match="its view 'recent' is stored with other"):
            await broken.wait()
        await broken.stop(drain_seconds=0)
        again = await deployment.start(viewing(**before), holder="same")
        await deployment.publish(Added(cart="c9", n=9))
        assert deployment.noted()["c9"][0][0] == 9
        await again.stop(drain_seconds=0)

    asyncio.run(check())


@pytest.mark.parametrize(("lateness", "is_taken"), [(hours(1), True), (None, False)])
def test_a_view_declared_before_windows_were_told_goes_on_unless_it_is_none_of_windows(
    lateness, is_taken, monkeypatch
):
    """Who stored it said less of it: entries are taken for its own, and running totals never for entries."""

    def viewing(lateness):
        service = Service("carts")
        view = View("recent", Added, by=lambda e: "all", window=days(2), lateness=lateness, n=count())

        @service.on(Added)
        def note(added: Added, recent: Reader = use(view)) -> Noted:
            return Noted(cart=added.cart, n=added.n, count=recent("all")[0] or 0)

        return service

    async def check():
        deployment = Deployment()
        with monkeypatch.context() as older:
            older.setattr(declared, "_kept", declared._kept_once)
            first = await deployment.start(viewing(lateness), holder="old")
            await deployment.publish(*added(0, 4, 4))
            await first.stop(drain_seconds=0)
        second = await deployment.start(viewing(hours(1)), holder="new")
        if is_taken:
            await deployment.publish(Added(cart="c9", n=9))
            assert deployment.noted()["c9"][0][0] == 9
        else:
            with pytest.raises(InvalidInputError, match="its view 'recent' is stored with other"):
                await second.wait()
        await second.stop(drain_seconds=0)

    asyncio.run(check())


def test_a_new_state_and_a_removed_handler():
    """A state of a new name begins empty; events that no handler wants any more are passed over."""

    async def check():
        deployment = Deployment()
        first = await deployment.start(new(), holder="old")
        await deployment.publish(*added(0, 8, 4), Removed(cart="c0", n=8))
        await first.stop(drain_seconds=0)
        service = Service("carts")

        @service.on(AddedNow)
        def note(added: AddedNow, count: State[int] = use("number")) -> Noted:
            count.set((count.get() or 0) + 1)
            return Noted(cart=added.cart, n=added.n, count=count.get() or 0)

        options = RuntimeOptions(live=True, holder="new")
        second = Runtime([service], deployment.platform(), types=[Removed], options=options)
        await second.start()
        await deployment.publish(Removed(cart="c0", n=9), Added(cart="c0", n=10))
        assert deployment.noted()["c0"] == [(0, 1), (4, 2), (8, 3), (10, 1)]
        assert await deployment.letters() == []
        await second.stop(drain_seconds=0)

    asyncio.run(check())


def test_a_cursor_of_a_newer_format_is_refused_and_an_older_one_is_read():
    """Code does not misread what newer code has stored; what said no format is read as the first."""

    async def check():
        deployment = Deployment()
        state = deployment.store.state
        await deployment.store.log.create_topics({"carts": 1})
        lease, _ = await state.acquire("carts", "x", lease_seconds=1)
        await state.commit(Commit(lease, Position(msgspec.msgpack.encode({"format": 2, "places": "?"}))))
        await state.release(lease)
        first = await deployment.start(old(), holder="old")
        with pytest.raises(NotSupportedError, match="its cursor has format 2, this Tropism knows 1"):
            await first.wait()
        await first.abandon()
        deployment.clock.advance(2e6)
        lease, _ = await state.acquire("carts", "x", lease_seconds=1)
        before = msgspec.msgpack.encode({"places": {"carts/0": [3, []]}})
        await state.commit(Commit(lease, Position(before)))
        await state.release(lease)
        second = await deployment.start(old(), holder="old")
        await deployment.publish(*added(0, 5, 1))
        assert deployment.noted() == {"c0": [(3, 1), (4, 2)]}
        await second.stop(drain_seconds=0)

    asyncio.run(check())


def test_the_example_runs(capsys):
    """The example ends with what the new code made of the cart."""
    runpy.run_path(str(Path(__file__).parents[2] / "examples" / "upgrade.py"), run_name="__main__")
    assert capsys.readouterr().out == "ada's cart holds 1 item\n"
