"""What an app needs of its log: found in its services, and met, emulated by name, or refused at start."""

from dataclasses import replace
from math import inf

import pytest

from tropism import App, Event, Service
from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.core.errors import NotSupportedError
from tropism.ports.capabilities import Capabilities
from tropism.ports.platform import Platform
from tropism.runtime.needs import Need, Site, check_needs, findings, needs_of
from tropism.runtime.runtime import Runtime, RuntimeOptions


class Paid(Event, type="orders.paid.v1", key="order"):
    order: str


class Seen(Event, type="orders.seen.v1"):
    page: str


def service(kind: type[Event] = Paid, **options) -> Service:
    found = Service("shop")

    @found.on(kind, **options)
    def handle(event: kind) -> None: ...

    return found


def names(needs) -> set[str]:
    return {need.name for need in needs}


STRONG = Site(Capabilities(durability="", commit_domain="one", url="x:"), "one")
WEAK = Site(
    Capabilities(
        durability="",
        commit_domain="weak",
        ordering="none",
        event_time=False,
        dedup_seconds=0.0,
        replay=False,
        transactions=False,
        lag=False,
        record_bytes_max=1000,
    ),
    "state",
    60.0,
)


def test_needs_follow_from_what_the_services_say() -> None:
    """Keys want order, effectively once wants ids, event time is asked for; nothing else is needed."""
    assert names(needs_of([])) == {"one commit"}
    assert names(needs_of([service()])) == {"one commit", "replay", "effectively once", "order by key"}
    plain = service(Seen, guarantee="at_least_once")
    assert names(needs_of([plain])) == {"one commit", "replay"}
    more = needs_of([plain], live=False, processes=2, autoscaled=True, record_bytes=5)
    assert names(more) >= {"event time", "several processes", "lag", "record size"}
    assert next(n for n in needs_of([service()]) if n.name == "order by key").by == "handler 'shop.handle'"


def test_each_need_is_met_by_a_log_that_can_do_it_all() -> None:
    """Nothing is emulated where the store does it by itself."""
    needs = needs_of([service()], live=False, processes=3, autoscaled=True, record_bytes=10)
    assert {each.how for each in check_needs(needs, STRONG)} == {"native"}


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("replay", "lacking", "forgets what was read"),
        ("event time", "lacking", "Run live, or choose a log that does"),
        ("order by key", "lacking", "keeps no order"),
        ("lag", "lacking", "Name a number of workers"),
        ("several processes", "lacking", "in the memory of one process"),
        ("record size", "lacking", "it has 2000 bytes, and the log takes 1000. Put the payload into Blobs"),
        ("one commit", "emulated", "outbox and relay: "),
        ("effectively once", "emulated", "remembered ids: the log knows ids for 0 seconds, services for 60"),
        ("delay", "emulated", "delayed events: "),
    ],
)
def test_what_a_log_lacks_is_named(name: str, how: str, words: str) -> None:
    """Each need that a log lacks is an emulation with a name, or an error that says what to do."""
    need = Need(name, "somebody", 2000)
    (found,) = findings([need], WEAK)
    assert found.how == how
    assert words in found.words
    if how == "lacking":
        with pytest.raises(NotSupportedError, match=f"Cannot give somebody '{name}': "):
            check_needs([need], WEAK)


class Limited:
    """A log that can do less than the one it stands before."""

    def __init__(self, log, **less) -> None:
        self._log = log
        self.capabilities = replace(log.capabilities, **less)

    def __getattr__(self, name: str):
        return getattr(self._log, name)


def platform(**less) -> Platform:
    clock = VirtualClock()
    store = MemoryStore(clock=clock)
    return Platform(Limited(store.log, **less), store.state, store.blobs, MemoryCompute(), clock, store.queue)


def test_a_runtime_refuses_at_start_what_its_log_cannot_do() -> None:
    """Event time on a log that keeps none, and events larger than it takes, end before anything runs."""
    with pytest.raises(NotSupportedError, match="'event time'"):
        Runtime([service()], platform(event_time=False), options=RuntimeOptions(live=False))
    Runtime([service()], platform(event_time=False), options=RuntimeOptions(live=True))
    with pytest.raises(NotSupportedError, match="'order by key'"):
        Runtime([service()], platform(ordering="none"))
    app = App("shop", services=[service()], record_bytes_max=2000)
    options = RuntimeOptions(record_bytes=app.record_bytes_max or 0)
    with pytest.raises(NotSupportedError, match="the log takes 1000"):
        Runtime(app.services, platform(record_bytes_max=1000), options=options)
    Runtime(app.services, platform(dedup_seconds=inf), options=options)
