"""A replay from its beginning to its report: the one place where its parts come together."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.core.time import iso
from tropism.ports.platform import Platform
from tropism.ports.state import State
from tropism.runtime.cursor import name_of
from tropism.runtime.dead import NAMESPACE as DEAD
from tropism.runtime.dead import DeadLetter, redrive_topic
from tropism.runtime.lag import lag_of
from tropism.runtime.options import WorkerOptions
from tropism.runtime.replay.apart import apart
from tropism.runtime.replay.compare import SCRATCH, compare
from tropism.runtime.replay.guard import Effects
from tropism.runtime.replay.log import ReplayLog
from tropism.runtime.replay.manifest import (
    CONSUMER,
    Asked,
    Manifest,
    check_same,
    read_manifest,
)
from tropism.runtime.replay.pages import HOLDER, LEASE_SECONDS, entries_in, keeping
from tropism.runtime.replay.prepared import prepared
from tropism.runtime.replay.report import EXAMPLES_MAX, Difference, Failure, Report
from tropism.runtime.replay.scratch import Scratch
from tropism.runtime.replay.setup import make_ready
from tropism.runtime.replay.span import Place, Span, span_of
from tropism.runtime.replay.told import INPUTS, ORIGINAL, REPLAYED, keep_inputs, keep_told
from tropism.runtime.replay.working import Workers
from tropism.runtime.runtime import check, codec_of, with_repartitions
from tropism.runtime.service import Service
from tropism.runtime.sources import side_topics_of, topics_of

STATES = ("empty", "rebuilt", "live")


@dataclass(frozen=True, slots=True)
class Request:
    """What to replay.

    ``service`` is the code to run, and ``types`` are those of events in its topics that it does not handle;
    ``live`` is the code of the service at work, where that is another. ``state``
    is what handlers find at the beginning: nothing, what the range before gives (``rebuilt``), or a copy of
    what the live service has now (``live``). ``code`` tells the code from any other. Fields named in
    ``ignore`` may differ.
    """

    service: Service
    live: Service | None = None
    types: Sequence[type[Event]] = ()
    start: Place = None
    until: Place = None
    state: str = "empty"
    app: str = ""
    code: str = ""
    ignore: frozenset[str] = frozenset()
    ignore_unknown: bool = False
    chunk: int = 1024
    effects: Effects = field(default_factory=Effects)


Say = Callable[[str, int, int], None]
"""Told the stage, and how much of how much of it is done."""


async def replay(
    request: Request,
    platform: Platform,
    scratch: Scratch,
    *,
    name: str = "replay",
    say: Say = lambda *_: None,
) -> Report:
    """Replay a range of a platform's log into a store of its own, and compare what came of it.

    Nothing is written to the platform. Called again with the same request it goes on where it was
    interrupted; the range stays what it was.

    Raises: InvalidInputError and NotFoundError for a range that is not there; NotSupportedError for a
    service that cannot be replayed; ConflictError where the store holds another replay, or another process
    is at this one.
    """
    _check(request)
    services = with_repartitions([prepared(request.service, request.effects)])
    check(services[0])
    manifest, resumed = await _manifest(request, services, platform, scratch, name)
    if not manifest.ready:
        say("preparing", 0, 0)
        await make_ready(manifest, services, platform, scratch)
    await _work(request, manifest, services, platform, scratch, say)
    say("comparing", 0, 0)
    difference = await _compared(request, services, manifest.span, platform, scratch)
    return await _report(request, manifest, difference, platform, scratch, resumed=resumed)


def _check(request: Request) -> None:
    if request.state not in STATES:
        raise InvalidInputError(
            f"Cannot replay service {request.service.name!r}: {request.state!r} is no state to begin with. "
            f"Choose one of {list(STATES)}."
        )


async def _manifest(
    request: Request, services: Sequence[Service], platform: Platform, scratch: Scratch, name: str
) -> tuple[Manifest, bool]:
    """Return what this replay is, and whether it was begun before."""
    asked = asked_of(request)
    known = await read_manifest(scratch.state)
    if known is not None:
        check_same(known.asked, asked, name)
        return known, known.ready
    service, own = services[0], own_topics(services)
    handled = {t for s in services for t in topics_of(s)} - own
    fed = {t for s in services for t in side_topics_of(s)} - handled
    what = f"service {service.name!r}"
    until = request.until
    if isinstance(until, int):
        # Nothing is known of what is to come; periodic handlers must not live through it.
        until = min(until, platform.clock.now_us())
    span = await span_of(platform.log, sorted(handled), sorted(fed), request.start, until, what=what)
    return Manifest(asked, span), False


def asked_of(request: Request) -> Asked:
    """Return a request in words that can be kept and compared."""
    start, until = (_words(place) for place in (request.start, request.until))
    return Asked(request.service.name, start, until, request.state, request.app, request.code)


def _words(place: Place) -> str:
    if place is None:
        return ""
    if isinstance(place, int):
        return iso(place)
    return ",".join(f"{where}:{offset}" for where, offset in sorted(place.items()))


def own_topics(services: Iterable[Service]) -> frozenset[str]:
    """Return the topics that a replay makes anew, and those of which it takes nothing: what was redriven."""
    return frozenset(copies_of(services) | {redrive_topic(service.name) for service in services})


def copies_of(services: Iterable[Service]) -> set[str]:
    """Return the topics of events under other keys."""
    return {handler.topic for s in services for handler in s.handlers if handler.topic is not None}


async def _work(
    request: Request,
    manifest: Manifest,
    services: Sequence[Service],
    platform: Platform,
    scratch: Scratch,
    say: Say,
) -> None:
    span = manifest.span
    log = ReplayLog(platform.log, scratch.log, span.ends, own_topics(services))
    await scratch.log.create_topics(dict.fromkeys(sorted(copies_of(services)), 1))
    rebuilt = manifest.asked.state == "rebuilt"
    options = WorkerOptions(
        holder=HOLDER,
        lease_seconds=LEASE_SECONDS,
        start_us=span.begin_us,
        ticks_from_us=None if rebuilt else span.from_us,
        ignore_unknown=request.ignore_unknown,
        chunk=request.chunk,
        in_flight_max=4 * request.chunk,
    )
    codec = codec_of(services, request.types)
    workers = Workers(services, apart(platform, log, scratch.state), codec, span, options)
    begin = 0 if rebuilt else sum(span.starts.values())
    size = sum(span.ends.values()) - begin
    await workers.run(lambda taken: say("replaying", max(0, min(taken - begin, size)), size))


def _live(request: Request) -> list[Service]:
    return [] if request.live is None else [request.live]


async def _compared(
    request: Request,
    services: Sequence[Service],
    span: Span,
    platform: Platform,
    scratch: Scratch,
) -> Difference:
    service, state = services[0], scratch.state
    kinds = {kind for each in (request.service, *_live(request)) for kind in each.emits}
    topics = sorted({kind.event_topic for kind in kinds})
    async with keeping(state, CONSUMER) as keeper:
        for namespace in (INPUTS, *SCRATCH):
            await keeper.clear(namespace)
        await keep_inputs(service.name, platform.log, span, keeper)
        await keeper.flush()
        for log, namespace in ((platform.log, ORIGINAL), (scratch.log, REPLAYED)):
            await keep_told(service.name, log, topics, span, namespace, state, keeper)
            await keeper.flush()
        return await compare(state, keeper, request.ignore)


async def _report(
    request: Request,
    manifest: Manifest,
    difference: Difference,
    platform: Platform,
    scratch: Scratch,
    *,
    resumed: bool,
) -> Report:
    span, name = manifest.span, request.service.name
    failed, failures = await _failures(scratch.state)
    return Report(
        service=name,
        start=iso(span.from_us),
        until=iso(span.until_us),
        partitions={name_of(w): (s, span.ends[w]) for w, s in span.starts.items() if s < span.ends[w]},
        events=span.size,
        difference=difference,
        failed=failed,
        failures=failures,
        refused=dict(request.effects.counts),
        notes=await _notes(request, platform),
        resumed=resumed,
    )


async def _failures(state: State) -> tuple[int, list[Failure]]:
    """Return how many events were given up, and some of them."""
    count, shown = 0, list[Failure]()
    async for entry in entries_in(state, DEAD):
        count += 1
        if count <= EXAMPLES_MAX:
            letter = msgspec.msgpack.decode(entry.value, type=DeadLetter)
            shown.append(Failure(letter.handler, letter.record.id, letter.record.type, letter.cause))
    return count, shown


async def _notes(request: Request, platform: Platform) -> list[str]:
    """Return what makes a comparison mean less than it seems."""
    notes: list[str] = []
    behind = (await lag_of(platform, request.live or request.service)).events
    if behind:
        notes.append(f"The live service has {behind} events yet to handle: what it will tell counts as new.")
    if request.state == "live":
        notes.append("Handlers began with the state that the live service had when the replay began.")
    if not platform.log.capabilities.event_time:
        notes.append("This log keeps no exact order of time between partitions: it may differ between runs.")
    return notes
