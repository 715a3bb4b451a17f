"""Services at work together."""

import asyncio
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from tropism.core.codec import Codec
from tropism.core.envelope import Envelope
from tropism.core.errors import ConflictError, FencedError, NotSupportedError
from tropism.core.event import Event
from tropism.ports.platform import Platform
from tropism.runtime.admission import source_topic
from tropism.runtime.handler import Expired, Handler, Shape, Tick
from tropism.runtime.inject import Output
from tropism.runtime.service import Service
from tropism.runtime.watermarks import FOREVER_US, Watermarks
from tropism.runtime.worker import Worker, WorkerOptions, side_topics_of, topics_of

STANDBY_SECONDS = 1.0
"""How often a worker without a lease asks for it."""


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How services run.

    ``live`` reads views as of now and waits for nobody; otherwise time is that of the events, and
    whatever is not yet known holds up what needs it, so that every run decides alike.
    """

    live: bool = True
    partitions: int = 4
    chunk: int = 1024
    in_flight_max: int = 4096
    lease_seconds: float = 15.0
    drain_seconds: float = 30.0
    ignore_unknown: bool = False


class Runtime:
    """Runs services on a platform, each with its own cursor, state and failures."""

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
        self.platform = platform
        made: dict[str, list[str]] = {}
        for service in everyone:
            for topic in produced_topics(service):
                made.setdefault(topic, []).append(service.name)
        self.watermarks = Watermarks(made, live=self.options.live)
        self.workers: dict[str, Worker] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._external = sorted({t for s in self.services for t in topics_of(s)} - set(made))
        for service in self.services:
            check(service, platform)

    async def start(self) -> None:
        """Create topics, take leases, and begin."""
        await self._create_topics()
        start_us = 0 if self.options.live else await self._first_us()
        options = WorkerOptions(
            holder=f"{socket.gethostname()}/{os.getpid()}",
            lease_seconds=self.options.lease_seconds,
            chunk=self.options.chunk,
            in_flight_max=self.options.in_flight_max,
            start_us=start_us,
            ignore_unknown=self.options.ignore_unknown,
        )
        for service in self.services:
            worker = Worker(service, self.platform, self.codec, self.watermarks, options)
            self.workers[service.name] = worker
            self._tasks.append(asyncio.create_task(self._keep_running(worker), name=service.name))

    async def _create_topics(self) -> None:
        topics = {t for s in self.services for t in (*topics_of(s), *side_topics_of(s), *produced_topics(s))}
        existing = {topic for topic, _ in await self.platform.log.ends(topics)}
        missing = dict.fromkeys(sorted(topics - existing), self.options.partitions)
        if missing:
            await self.platform.log.create_topics(missing)

    async def _first_us(self) -> int:
        """Return when the first fact from outside became known: nothing can have been produced before."""
        ends = await self.platform.log.ends(self._external)
        firsts = await self.platform.log.read(dict.fromkeys(ends, 0), count_max=1)
        return min((records[0].known_us for records in firsts.values() if records), default=0)

    async def _keep_running(self, worker: Worker) -> None:
        """Run a worker; wait for its lease where another has it, also after losing it."""
        while True:
            try:
                await worker.start()
                await worker.run()
            except FencedError:
                await worker.close()
            except ConflictError:
                pass
            await self.platform.clock.sleep(STANDBY_SECONDS)

    async def wait_until(self, time_us: int) -> None:
        """Return when every service has handled all that was known by a moment of event time.

        Raises: whatever stopped a service.
        """
        while True:
            changed = self.watermarks.change
            behind = [s.name for s in self.services if self._behind(s.name, time_us)]
            if not behind:
                return
            waits = [asyncio.ensure_future(changed.wait()), *self._tasks]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            waits[0].cancel()
            for task in self._tasks:
                if task.done():
                    task.result()

    def _behind(self, service: str, time_us: int) -> bool:
        return self.watermarks.services.get(service, -FOREVER_US) < time_us

    async def wait(self) -> None:
        """Return when a service stops by itself. Raises: what stopped it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def stop(self, *, drain_seconds: float | None = None) -> None:
        """Finish what is in flight within a bound, commit it, and give the leases back."""
        bound = self.options.drain_seconds if drain_seconds is None else drain_seconds
        workers = [w for w in self.workers.values() if w.is_open]
        await asyncio.gather(*(worker.drain(bound) for worker in workers))
        for task in self._tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks, return_exceptions=True)
        for worker in workers:
            await worker.close()


def codec_of(services: Iterable[Service], types: Iterable[type[Event]]) -> Codec:
    """Return a codec for all events that services take, give, or keep views of."""
    kinds: dict[type[Event], None] = dict.fromkeys((Tick, Expired, *types))
    for service in services:
        kinds |= dict.fromkeys((*service.events, *service.emits))
        kinds |= dict.fromkeys(kind for view in service.views for kind in view.on)
    return Codec(kinds)


def produced_topics(service: Service) -> list[str]:
    """Return the topics that a service may add events to."""
    return sorted(
        {handler.topic or kind.event_topic for handler in service.handlers for kind in handler.emits}
    )


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
            by=None,
            topic=topic,
        )
    )
    return service


def check(service: Service, platform: Platform) -> None:
    """Refuse, before anything runs, what the platform cannot keep.

    Raises: NotSupportedError.
    """
    together = platform.log.capabilities.commit_domain == platform.state.commit_domain
    for handler in service.handlers:
        if handler.guarantee == "effectively_once" and not together:
            raise NotSupportedError(
                f"Cannot run handler {handler.name!r} effectively once: log "
                f"{platform.log.capabilities.commit_domain!r} and state {platform.state.commit_domain!r} "
                f"do not commit together. Put both on one store, or declare at_least_once."
            )
    for kind in service.events:
        words = {h.guarantee for h in service.handlers if kind in h.events}
        if "at_most_once" in words and len(words) > 1:
            raise NotSupportedError(
                f"Cannot handle {kind.__name__!r} in service {service.name!r} both at most once and more "
                f"surely: one cursor serves both. Move one of the handlers to a service of its own."
            )
