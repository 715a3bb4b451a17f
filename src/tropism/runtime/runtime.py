"""Services at work together."""

import asyncio
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from graphlib import CycleError, TopologicalSorter

from tropism.core.codec import Codec
from tropism.core.envelope import Envelope
from tropism.core.errors import ConflictError, InvalidInputError, NotSupportedError, UnavailableError
from tropism.core.event import Event
from tropism.ports.platform import Platform
from tropism.runtime.admission import source_topic
from tropism.runtime.archiving import LetterArchived
from tropism.runtime.attempts import GaveUp
from tropism.runtime.closed import Closed
from tropism.runtime.cycles import Guard, guards_of
from tropism.runtime.declared import declare
from tropism.runtime.dividing import divide
from tropism.runtime.emulations import site_of
from tropism.runtime.following import TOPIC, follow
from tropism.runtime.gates import Gates, check_providers
from tropism.runtime.handler import Expired, Handler, Shape, Tick
from tropism.runtime.inject import Output, close_all
from tropism.runtime.needs import check_needs, needs_of
from tropism.runtime.options import LETTERS_MAX, REMEMBER_SECONDS, WorkerOptions
from tropism.runtime.patience import PatientLog, patiently
from tropism.runtime.service import Service
from tropism.runtime.shares import Share, check_share_of, plan_of
from tropism.runtime.sources import kinds_aside, kinds_of, side_topics_of, topics_of
from tropism.runtime.upcasting import with_upcasts
from tropism.runtime.waiting import give_up
from tropism.runtime.watermarks import FOREVER_US, Kind, Watermarks
from tropism.runtime.worker import Worker

STANDBY_SECONDS = 1.0
"""How often a worker without a lease asks for it."""


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How services run.

    ``live`` reads views as of now and waits for nobody; otherwise time is that of the events, and
    whatever is not yet known holds up what needs it, so that every run decides alike. Event time begins
    at ``start_us``, and ticks with it; by default with the first fact. ``holder`` tells the processes
    that ask for leases apart. ``gave_up`` is told of every dead letter. ``share`` says which of how many
    workers of each service this is: the service must have been divided into so many. Where the log forgets
    ids, services know them again for ``remember_seconds``. ``hops_max`` is the app's (see ``App``).
    ``record_bytes`` is the largest event that the app says it publishes. Of dead letters, and in quarantine,
    a service keeps about ``letters_max`` each; the oldest go to the log.
    """

    live: bool = True
    partitions: int = 4
    chunk: int = 1024
    in_flight_max: int = 4096
    lease_seconds: float = 15.0
    drain_seconds: float = 30.0
    ignore_unknown: bool = False
    start_us: int | None = None
    holder: str | None = None
    gave_up: GaveUp | None = None
    share: tuple[int, int] = (0, 1)
    remember_seconds: float = REMEMBER_SECONDS
    hops_max: float | None = None
    record_bytes: int = 0
    letters_max: int = LETTERS_MAX


class Runtime:
    """Runs services on a platform, each with its own cursor, state and failures.

    ``producers`` names all services of the app where others run elsewhere. In event time these wait for
    each other through the log: the same is decided, however services are spread over processes.

    Raises: NotSupportedError for what the platform cannot keep, or what event time cannot order.
    """

    def __init__(
        self,
        services: Sequence[Service],
        platform: Platform,
        *,
        types: Iterable[type[Event]] = (),
        producers: Sequence[Service] | None = None,
        options: RuntimeOptions | None = None,
    ) -> None:
        self.options = options or RuntimeOptions()
        self.services = with_repartitions(services)
        everyone = self.services if producers is None else with_repartitions(producers)
        self.codec = codec_of(everyone, types)
        self.platform = with_upcasts(platform, self.codec)
        self.gates = Gates(platform.clock, self.options.share[1])
        self._alone = asyncio.Lock()
        self.watermarks = Watermarks(producers_of(everyone), live=self.options.live)
        self._everyone = everyone
        self._guards = guards_of(everyone, self.options.hops_max)
        here = {service.name for service in self.services}
        self._elsewhere = frozenset(s.name for s in everyone if s.name not in here and not self.options.live)
        self._holder = self.options.holder or f"{socket.gethostname()}/{os.getpid()}"
        self.workers: dict[str, Worker] = {}
        self._tasks: list[asyncio.Task[None]] = []
        for service in self.services:
            check(service)
        check_share(self.options)
        self._check_needs()
        check_letters_max(self.options.letters_max)
        check_providers([h.provider for s in everyone for h in s.handlers if h.provider is not None])
        if not self.options.live:
            check_cycles(everyone, self.watermarks)

    def _check_needs(self) -> None:
        options = self.options
        needs = needs_of(self.services, live=options.live, record_bytes=options.record_bytes)
        check_needs(needs, site_of(self.platform, options.remember_seconds))

    async def start(self) -> None:
        """Create topics, take leases, and begin."""
        await self.create_topics()
        start_us = None if self.options.live else await self._first_us()
        if start_us is not None:
            for service in self._everyone:
                self.watermarks.advance(service.name, start_us - 1)
        for service in self.services:
            self._tasks.append(asyncio.create_task(self._keep_running(service), name=service.name))
        if self._elsewhere:
            log = PatientLog(self.platform.log, self.platform.clock)
            self._tasks.append(asyncio.create_task(follow(log, self.watermarks, self._elsewhere)))

    async def create_topics(self) -> None:
        """Create the topics that services read or add to, where they do not exist yet."""
        kinds = producers_of(self.services)
        topics = {t for s in self.services for t in (*topics_of(s), *side_topics_of(s))} | {
            t for t, _ in kinds
        }
        existing = {topic for topic, _ in await self.platform.log.ends(topics)}
        missing = dict.fromkeys(sorted(topics - existing), self.options.partitions)
        if self._elsewhere:
            missing[TOPIC] = 1
        if missing:
            await self.platform.log.create_topics(missing)

    async def _worker_options(self, service: Service) -> WorkerOptions:
        options = self.options
        return WorkerOptions(
            holder=self._holder,
            lease_seconds=options.lease_seconds,
            chunk=options.chunk,
            in_flight_max=options.in_flight_max,
            start_us=0 if options.live else await self._start_us(),
            ticks_from_us=options.start_us,
            ignore_unknown=options.ignore_unknown,
            gave_up=options.gave_up,
            announces=self._is_awaited_elsewhere(service),
            remember_seconds=options.remember_seconds,
            guard=self._guards.get(service.name, Guard()),
            gates=self.gates,
            alone=self._alone,
            letters_max=options.letters_max,
        )

    def _is_awaited_elsewhere(self, service: Service) -> bool:
        """Say whether a service of another process waits for this one's events."""
        others = [other for other in self._everyone if other.name in self._elsewhere]
        wanted = {kind for other in others for kind in (*kinds_of(other), *kinds_aside(other))}
        return not wanted.isdisjoint(producers_of([service]))

    async def _start_us(self) -> int:
        """Return when event time begins: with the first fact; without any, where the sources stand."""
        while True:
            sources_us = self.watermarks.sources_us
            first_us = await self._first_us()
            if first_us is not None:
                return first_us
            if sources_us > -FOREVER_US:
                return sources_us
            await self.watermarks.change.wait()

    async def _first_us(self) -> int | None:
        if self.options.start_us is not None:
            return self.options.start_us
        ends = await self.platform.log.ends({topic for s in self._everyone for topic in topics_of(s)})
        firsts = await self.platform.log.read(dict.fromkeys(ends, 0), count_max=1)
        return min((records[0].known_us for records in firsts.values() if records), default=None)

    async def _keep_running(self, service: Service) -> None:
        """Run a service; wait for its lease where another has it, also after losing it."""
        options = await patiently(self.platform.clock, lambda: self._worker_options(service))
        if self.options.live:
            await patiently(self.platform.clock, lambda: self._declare(service))
        while True:
            with suppress(ConflictError, UnavailableError):
                share = await self._share_of(service)
                worker = Worker(
                    service, self.platform, self.codec, self.watermarks, replace(options, share=share)
                )
                self.workers[service.name] = worker
                await worker.start()
                try:
                    asked = partial(check_share_of, self.platform.state, service.name, share)
                    await patiently(self.platform.clock, asked)
                    await worker.run()
                finally:
                    await worker.abandon()
                    await close_all(worker.opened.values())
            await self.platform.clock.sleep(STANDBY_SECONDS)

    async def _declare(self, service: Service) -> None:
        """Say what this code of a service knows. Raises: InvalidInputError if it cannot read the state."""
        await declare(self.platform, service, self.codec, holder=f"{self._holder}/code")

    async def _share_of(self, service: Service) -> Share:
        """Return this worker's share. Raises: ConflictError while the service is divided otherwise."""
        index, count = self.options.share
        plan = await plan_of(self.platform.state, service.name)
        if plan.count != count and count == 1:
            plan = await divide(self.platform, service, 1, holder=self._holder)
        if plan.count != count:
            raise ConflictError(
                f"Cannot run worker {index} of {count} of service {service.name!r}: it is divided into "
                f"{plan.count}. Run 'tropism run --workers {count}', which divides it."
            )
        return plan.shares()[index]

    async def wait_until(self, time_us: int) -> None:
        """Return when every service has handled all that was known by a moment of event time.

        Raises: whatever stopped a service.
        """
        while not self.has_handled(time_us):
            changed = asyncio.ensure_future(self.watermarks.change.wait())
            try:
                await asyncio.wait((changed, *self._tasks), return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
            self.raise_if_stopped()

    def has_handled(self, time_us: int) -> bool:
        """Say whether every service has handled all that was known by a moment of event time."""
        return not self.behind(time_us)

    def behind(self, time_us: int = FOREVER_US) -> list[str]:
        """Return the services that have not handled all that was known by a moment."""
        reached = self.watermarks.services
        return [s.name for s in self.services if reached.get(s.name, -FOREVER_US) < time_us]

    def raise_if_stopped(self) -> None:
        """Raise what stopped a service, if anything did."""
        for task in self._tasks:
            if task.done():
                task.result()

    @property
    def is_idle(self) -> bool:
        """Whether every service is at work, and has nothing to do."""
        workers = [self.workers.get(service.name) for service in self.services]
        return all(worker is not None and worker.is_idle for worker in workers)

    @property
    def is_calling(self) -> bool:
        """Whether any handler is being called."""
        return any(worker.running for worker in self.workers.values())

    async def wait(self) -> None:
        """Return when a service stops by itself. Raises: what stopped it."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        self.raise_if_stopped()

    async def stop(self, *, drain_seconds: float | None = None) -> None:
        """Finish what is in flight within a bound, commit it, and give the leases back."""
        bound = self.options.drain_seconds if drain_seconds is None else drain_seconds
        alive = {task.get_name() for task in self._tasks if not task.done()}
        workers = [w for name, w in self.workers.items() if w.is_open and name in alive]
        if self.options.live:
            self.gates.close()
        await asyncio.gather(*(worker.drain(bound) for worker in workers))
        await asyncio.gather(*(worker.close() for worker in workers))
        await give_up(self._tasks)

    async def abandon(self) -> None:
        """Stop at once, as a process that dies does: nothing is finished, no lease is given back."""
        await give_up(self._tasks)
        await asyncio.gather(*(worker.abandon() for worker in self.workers.values()))


def codec_of(services: Iterable[Service], types: Iterable[type[Event]]) -> Codec:
    """Return a codec for all events that services take, give, or keep views of."""
    kinds: dict[type[Event], None] = dict.fromkeys((Tick, Expired, Closed, LetterArchived, *types))
    for service in services:
        kinds |= dict.fromkeys((*service.events, *service.emits))
        kinds |= dict.fromkeys(kind for view in service.views for kind in view.on)
    return Codec(kinds)


def producers_of(services: Iterable[Service]) -> dict[Kind, list[str]]:
    """Return which services may add events of a type to a topic."""
    found: dict[Kind, list[str]] = {}
    for service in services:
        for handler in service.handlers:
            for kind in handler.emits:
                names = found.setdefault((handler.topic or kind.event_topic, kind.event_type), [])
                if service.name not in names:
                    names.append(service.name)
    return found


def with_repartitions(services: Sequence[Service]) -> list[Service]:
    """Return services and, for every re-keyed handler, one that copies its events to a topic by that key."""
    found = list(services)
    for service in services:
        found.extend(_repartition(handler) for handler in service.handlers if handler.by is not None)
    return found


def _repartition(handler: Handler) -> Service:
    by, topic = handler.by, source_topic(handler, "")
    assert by is not None  # noqa: S101 (the caller chose handlers that have one)

    def copy(envelopes: list[Envelope[Event]]) -> list[Output]:
        return [Output(e.data, by=e, subject=str(by(e.data))) for e in envelopes]

    service = Service(topic)
    service.handlers.append(
        replace(
            handler,
            name=f"{topic}.copy",
            function=copy,
            shape=Shape.ENVELOPES,
            many=True,
            injections=(),
            outputs=handler.events,
            delays=False,
            by=None,
            topic=topic,
            provider=None,
        )
    )
    return service


def check_cycles(services: Sequence[Service], watermarks: Watermarks) -> None:
    """Refuse services that wait for each other's events of one moment, for none of them could begin.

    Raises: NotSupportedError.
    """
    waits = {
        s.name: sorted({p for kind in kinds_of(s) for p in watermarks.producers_of(kind)}) for s in services
    }
    sorter = TopologicalSorter(waits)
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " -> ".join(repr(name) for name in error.args[1])
        raise NotSupportedError(
            f"Cannot run in event time: services wait for each other's events, {circle}. "
            f"Move one of their handlers to a service of its own, or read what comes back through a View "
            f"with an allowance."
        ) from error


def check_share(options: RuntimeOptions) -> None:
    """Refuse shares where they cannot be kept. Raises: InvalidInputError, NotSupportedError."""
    index, count = options.share
    if not 0 <= index < count:
        raise InvalidInputError(
            f"Cannot run worker {index} of {count}: workers are counted from 0. Write 0 to {count - 1}."
        )
    if count > 1 and not options.live:
        raise NotSupportedError(
            f"Cannot run {count} workers of a service in event time: its outputs would not be in order of "
            f"time. Spread whole services over processes."
        )


def check_letters_max(count: int) -> None:
    """Refuse to keep no letters at all. Raises: InvalidInputError."""
    if count < 1:
        raise InvalidInputError(f"Cannot keep {count} dead letters of a service: keep at least 1.")


def check(service: Service) -> None:
    """Refuse, before anything runs, what cannot be kept.

    Raises: NotSupportedError.
    """
    for kind in service.events:
        words = {h.guarantee for h in service.handlers if kind in h.events}
        if "at_most_once" in words and len(words) > 1:
            raise NotSupportedError(
                f"Cannot handle {kind.__name__!r} in service {service.name!r} both at most once and more "
                f"surely: one cursor serves both. Move one of the handlers to a service of its own."
            )
