"""What services need of the log they run on, and how each of that is met there."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from tropism.core.errors import NotSupportedError
from tropism.ports.capabilities import Capabilities
from tropism.runtime.handler import Handler
from tropism.runtime.service import Service

How = Literal["native", "emulated", "lacking"]


@dataclass(frozen=True, slots=True)
class Need:
    """Something that is asked of a log, and by whom; ``amount`` where it is a matter of how much."""

    name: str
    by: str
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """What is there: what the log can do, where the state commits, and for how long services know ids."""

    log: Capabilities
    state_domain: str
    remember_seconds: float = 0.0

    @property
    def together(self) -> bool:
        """Whether one transaction takes state and outputs."""
        return self.log.commit_domain == self.state_domain


@dataclass(frozen=True, slots=True)
class Finding:
    """How a need is met: by the store itself, by something named that Tropism does instead, or not at all."""

    need: Need
    how: How
    words: str


def needs_of(
    services: Iterable[Service],
    *,
    live: bool = True,
    processes: int = 1,
    autoscaled: bool = False,
    record_bytes: int = 0,
) -> tuple[Need, ...]:
    """Return what services need, each need once with the first who has it, in one order."""
    services = list(services)
    found = [Need("one commit", "outputs and state")]
    if services:
        found.append(Need("replay", f"service {services[0].name!r}"))
    for service in services:
        for handler in service.handlers:
            found.extend(Need(name, f"handler {handler.name!r}") for name in _of(handler))
    if not live:
        found.append(Need("event time", "running in event time"))
    if processes > 1:
        found.append(Need("several processes", f"running {processes} workers", processes))
    if autoscaled:
        found.append(Need("lag", "scaling by itself"))
    if record_bytes:
        found.append(Need("record size", "the app's largest event", record_bytes))
    return tuple({need.name: need for need in reversed(found)}.values())[::-1]


def _of(handler: Handler) -> Iterable[str]:
    if handler.guarantee == "effectively_once":
        yield "effectively once"
    if handler.by is not None or any(kind.event_key is not None for kind in handler.events):
        yield "order by key"
    if handler.delays:
        yield "delay"


def findings(needs: Sequence[Need], site: Site) -> list[Finding]:
    """Return how each need is met."""
    return [_RULES[need.name](need, site) for need in needs]


def check_needs(needs: Sequence[Need], site: Site) -> list[Finding]:
    """Return how each need is met. Raises: NotSupportedError for the first that is not met at all."""
    found = findings(needs, site)
    for each in found:
        if each.how == "lacking":
            raise NotSupportedError(each.words)
    return found


def _native(need: Need, words: str = "by the log itself") -> Finding:
    return Finding(need, "native", words)


def _lacking(need: Need, fact: str, remedy: str) -> Finding:
    return Finding(need, "lacking", f"Cannot give {need.by} {need.name!r}: {fact}. {remedy}")


def _replay(need: Need, site: Site) -> Finding:
    if site.log.replay:
        return _native(need)
    fact = f"the log at {site.log.commit_domain!r} forgets what was read"
    return _lacking(
        need, fact, "Choose a log that can be read again, such as sqlite, postgresql, nats or kafka."
    )


def _event_time(need: Need, site: Site) -> Finding:
    if site.log.event_time:
        return _native(need)
    fact = f"the log at {site.log.commit_domain!r} does not keep exactly when it learned of an event"
    return _lacking(need, fact, "Run live, or choose a log that does, such as sqlite, postgresql or nats.")


def _order(need: Need, site: Site) -> Finding:
    if site.log.ordering != "none":
        return _native(need)
    fact = f"the log at {site.log.commit_domain!r} keeps no order"
    return _lacking(need, fact, "Choose a log that orders by key or partition.")


def _commit(need: Need, site: Site) -> Finding:
    if site.together:
        return _native(need, "one transaction of log and state")
    told = (
        f"outbox and relay: log {site.log.commit_domain!r} and state {site.state_domain!r} do not commit "
        f"together, so outputs are committed with the state, published from there in order, and published "
        f"first by whoever takes over."
    )
    if not site.log.transactions:
        told += " What a failed append left out is appended again under the same ids."
    return Finding(need, "emulated", told)


def _once(need: Need, site: Site) -> Finding:
    known_seconds = site.log.dedup_seconds
    if known_seconds == inf:
        return _native(need, "the log knows ids for ever")
    window = max(site.remember_seconds, known_seconds)
    return Finding(
        need,
        "emulated",
        f"remembered ids: the log knows ids for {known_seconds:g} seconds, services for {window:g}; an event "
        f"that is published again later than that is handled again.",
    )


def _delay(need: Need, _: Site) -> Finding:
    return Finding(
        need,
        "emulated",
        "delayed events: no log keeps events back, so they are kept in the state by the time they are due, "
        "and published in that order; after an outage, all that are overdue at once.",
    )


def _lag(need: Need, site: Site) -> Finding:
    if site.log.lag:
        return _native(need)
    fact = f"the log at {site.log.commit_domain!r} does not tell how many events wait"
    return _lacking(need, fact, "Name a number of workers instead of --autoscale.")


def _processes(need: Need, site: Site) -> Finding:
    if site.log.url is not None:
        return _native(need)
    fact = f"the log at {site.log.commit_domain!r} is in the memory of one process"
    return _lacking(
        need, fact, "Choose a log that processes share, such as sqlite or postgresql, or run one."
    )


def _size(need: Need, site: Site) -> Finding:
    if need.amount <= site.log.record_bytes_max:
        return _native(need)
    fact = f"it has {need.amount} bytes, and the log takes {site.log.record_bytes_max}"
    return _lacking(
        need, fact, "Put the payload into Blobs and its name into the event, or raise the log's bound."
    )


_RULES: Mapping[str, Callable[[Need, Site], Finding]] = {
    "replay": _replay,
    "event time": _event_time,
    "order by key": _order,
    "one commit": _commit,
    "effectively once": _once,
    "delay": _delay,
    "lag": _lag,
    "several processes": _processes,
    "record size": _size,
}
