"""Replaying a service that decides: decisions are read from the log, and no model is asked."""

import asyncio

import pytest
from tests.unit.models import test_deciding as deciding
from tests.unit.models.test_deciding import CALLS, Rollout, Says, app_of, asks, promoted, put

from tropism import testing
from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.core.errors import NotSupportedError
from tropism.models.events import DecisionMade
from tropism.ports.platform import Platform
from tropism.runtime.inject import use
from tropism.runtime.replay.apart import apart
from tropism.runtime.replay.replaying import Request, replay
from tropism.runtime.service import Service


def replayed(many=False, count=30, *, service=None, lose=False):
    async def run():
        async with testing.run(app_of(many=many), allow_dead_letters=True) as t:
            served = await put(t, 1, Says(0.1))
            await t.publish(promoted(t, Rollout(champion=served)))
            await t.advance(hours=2)
            await t.publish(*asks(count))
            await t.advance(hours=2)
            t.simulation.store.blobs._blobs.clear()
            if lose:
                for partition in t.simulation.store.log._topics["decisions"]:
                    partition.clear()
            CALLS.clear()
            live = t.app.services[0]
            request = Request(service or app_of(many=many).services[0], live=live)
            return await replay(request, t.simulation.runtime.platform, MemoryStore())

    return asyncio.run(run())


@pytest.mark.parametrize("many", [False, True])
def test_decisions_are_those_of_the_log(many):
    """Without any version to load, the same is decided and told, and nothing is predicted."""
    report = replayed(many)
    total = report.difference.total
    assert report.difference.by_type["tells.told.v1"].same == 30
    assert report.difference.by_type["decisions.made.v1"].same == 30
    assert total.is_same, report.difference.examples
    assert CALLS == []


def test_where_no_decision_is_on_record_none_is_made_up():
    """The event fails, and says why."""
    report = replayed(count=3, lose=True)
    assert report.failed == 3
    assert "the log holds no decision on it" in report.failures[0].cause


def test_a_resource_that_cannot_tell_is_refused():
    """What would act outside, and has no form for replays, is an error before anything runs."""

    class Effect:
        name, views, emits = "effect", (), (DecisionMade,)

        async def open(self, site):
            raise AssertionError

    service = Service("teller")

    @service.on(deciding.Asked)
    def tell(asked: deciding.Asked, effect=use(Effect())) -> deciding.Told:
        raise AssertionError

    with pytest.raises(NotSupportedError, match="'effect' cannot tell what it did then"):
        replayed(service=service)


def test_a_resource_of_a_replay_cannot_change_what_is_live():
    """Blobs are read, and neither written nor deleted; queues and compute are not there."""

    async def check():
        live = MemoryStore()
        await live.blobs.put("a", b"1")
        platform = Platform(live.log, live.state, live.blobs, MemoryCompute(), VirtualClock(), live.queue)
        scratch = MemoryStore()
        site = apart(platform, scratch.log, scratch.state)
        assert await site.blobs.get("a") == b"1"
        assert await site.blobs.names() == ["a"]
        for change in (
            lambda: site.blobs.put("b", b"2"),
            lambda: site.blobs.delete(["a"]),
            lambda: site.queue.send("work", []),
            lambda: site.compute.run(None),
        ):
            with pytest.raises(NotSupportedError, match="this is a replay"):
                await change()
        assert await live.blobs.names() == ["a"]

    asyncio.run(check())
