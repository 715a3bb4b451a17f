"""Replays: what they give, and what they leave alone."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from tests.simulation.replay_system import Paid, Thanked, again, dump, lived, run, scratch, shop

from tropism import Event, Service, State, use
from tropism.core.errors import ConflictError, InvalidInputError, NotFoundError
from tropism.runtime.replay.replaying import Request, replay

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_same_code_tells_the_same_and_leaves_the_live_store_as_it_is():
    """A replay of the whole range by the code that lived it differs in nothing and writes nothing there."""

    async def check():
        async with lived() as t:
            before = dump(t.simulation.store)
            report = await again(t)
            assert dump(t.simulation.store) == before
            assert report.difference.total.same == 40
            assert report.difference.total.is_same
            assert report.failed == 0

    run(check())


def test_new_code_is_told_by_what_it_does_otherwise():
    """Changed content is shown by field; an output of another type is new, and the one it replaces missing."""

    async def check():
        async with lived() as t:
            report = await again(t, shop(extra=1))
            assert report.difference.total.changed == 40
            assert report.difference.examples[0].fields == {"times": (1, 2)}
            report = await again(t, shop(alarm_above=29))
            assert report.difference.by_type["mail.alarmed.v1"].changed == 10

    run(check())


def test_a_renamed_handler_tells_the_same_under_other_ids():
    """Ids derive from the handler's name: the same content of the same cause counts as moved."""

    async def check():
        async with lived() as t:
            report = await again(t, shop(thanks="salute"))
            assert report.difference.total.moved == 40
            assert report.difference.total.is_same

    run(check())


def test_a_part_of_the_range_finds_views_as_they_were():
    """Handlers are called from the beginning of the range on; views know all that was before it."""

    async def check():
        async with lived() as t:
            first, last = (t.all(Paid)[n].envelope.time_us for n in (20, 29))
            report = await again(t, start=first, until=last + 1, state="rebuilt")
            assert report.difference.total.same == 10
            assert report.difference.total.is_same
            report = await again(t, start=first, until=last + 1)
            # State begins empty: its count differs, and nothing else does.
            assert report.events == 10
            assert report.difference.total.changed == 10
            assert {name for e in report.difference.examples for name in e.fields} == {"times"}

    run(check())


def test_offsets_bound_a_range_too():
    """Offsets name a range of the partitions they name, and of no other."""

    async def check():
        async with lived(partitions=1) as t:
            report = await again(t, start={"orders/0": 5}, until={"orders/0": 8}, state="rebuilt")
            assert (report.events, report.difference.total.same) == (3, 3)
            assert report.partitions == {"orders/0": (5, 8)}

    run(check())


def test_a_copy_of_the_live_state_is_where_it_begins():
    """With the state of now, what handlers count goes on from there."""

    async def check():
        async with lived() as t:
            report = await again(t, state="live")
            assert {e.fields["times"] for e in report.difference.examples} >= {(1, 9)}
            assert "the state that the live service had" in report.notes[0]

    run(check())


@pytest.mark.parametrize(
    ("asked", "told", "kind"),
    [
        ({"start": 2, "until": 1}, "ends at", InvalidInputError),
        ({"start": {"orders/0": 9_999}}, "offset 9999 is not in", InvalidInputError),
        ({"start": {"orders/77": 1}}, "no partition 'orders/77'", InvalidInputError),
        ({"start": {"orders/0": 3}, "until": {"orders/0": 2}}, "begins at offset 3", InvalidInputError),
        ({"start": 2**60}, "no event of ['orders'] lies in this range", InvalidInputError),
        ({"state": "best"}, "'best' is no state", InvalidInputError),
    ],
)
def test_ranges_that_are_none_are_refused(asked, told, kind):
    """What is empty, reversed or not there is an error that says so, and nothing is begun."""

    async def check():
        async with lived(partitions=1) as t:
            store = scratch()
            with pytest.raises(kind) as raised:
                await again(t, store=store, **asked)
            assert told in str(raised.value)
            assert dump(store) == dump(scratch())

    run(check())


def test_without_its_topics_there_is_nothing_to_replay():
    """A service that reads what nobody published is told where to look."""

    async def check():
        async with lived() as t:
            t.simulation.store.log._topics.clear()
            with pytest.raises(NotFoundError, match=r"none of its topics \['orders'\] exists"):
                await again(t)

    run(check())


def test_a_store_of_another_replay_is_left_alone():
    """The same name goes on with the same replay; another range, state or code is refused."""

    async def check():
        async with lived() as t:
            store = scratch()
            first = await again(t, store=store, code="a")
            before = dump(store)
            for other in ({"code": "b"}, {"code": "a", "state": "rebuilt"}, {"code": "a", "until": 10**15}):
                with pytest.raises(ConflictError, match="tropism replay discard"):
                    await again(t, store=store, **other)
            assert dump(store) == before
            twice = await again(t, store=store, code="a")
            assert twice.resumed
            assert twice.difference == first.difference

    run(check())


class Shortened:
    """A log whose retention has taken the first records of each partition."""

    def __init__(self, log, count):
        self._log, self._count = log, count

    def __getattr__(self, name):
        return getattr(self._log, name)

    async def read(self, cursors, *, count_max, without=()):
        later = {where: max(at, self._count) for where, at in cursors.items()}
        return await self._log.read(later, count_max=count_max, without=without)


def test_what_retention_took_is_not_replayed_in_silence():
    """A begin that is no longer there is an error that says where the log begins now; start is what there is."""

    async def check():
        async with lived(partitions=1) as t:
            platform = t.simulation.runtime.platform
            platform = replace(platform, log=Shortened(platform.log, 10))
            tenth = t.all(Paid)[10].envelope.time_us
            for start in (tenth - 1, {"orders/0": 9}):
                with pytest.raises(NotFoundError, match="begins at offset 10"):
                    await replay(Request(shop(), start=start), platform, scratch())
            for start in (tenth, {"orders/0": 10}, None):
                report = await replay(Request(shop(), start=start), platform, scratch())
                assert report.partitions == {"orders/0": (10, 40)}

    run(check())


class PaidNow(Event, type="orders.paid.v1", key="order"):
    """The same type, as another module declares it."""

    order: str
    cents: int
    currency: str = "EUR"


def test_other_code_may_declare_the_same_types_itself():
    """Old and new classes of one type stand side by side: events are read as the replayed code declares them."""
    service = Service("shop")

    @service.on(PaidNow)
    def thank(paid: PaidNow, times: State[int] = use("times")) -> Thanked:
        times.set((times.get() or 0) + 1)
        return Thanked(order=f"{paid.order}", times=times.get() or 0)

    async def check():
        async with lived() as t:
            report = await again(t, service, ignore=frozenset({"recent"}))
            assert report.difference.total.same == 40

    run(check())


def test_the_example_runs(capsys):
    """The example shows fewer alarms of a calmer rule."""
    runpy.run_path(str(EXAMPLES / "replay.py"), run_name="__main__")
    assert capsys.readouterr().out == "120 measurements: 27 alarms fewer, 3 others\n"
