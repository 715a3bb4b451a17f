"""Several workers of the same services, each in a process of its own, as many as there is work for."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tropism.app.app import App
from tropism.app.platform import open_platform, read_settings
from tropism.cli.console import say
from tropism.cli.discovery import types_of
from tropism.cli.serving import Beside, Stop
from tropism.cli.supervisor import Options, Supervisor
from tropism.core.errors import ConflictError
from tropism.ports.platform import Platform
from tropism.runtime.dividing import divide
from tropism.runtime.emulations import site_of
from tropism.runtime.lag import lag_of
from tropism.runtime.needs import check_needs, needs_of
from tropism.runtime.options import REMEMBER_SECONDS
from tropism.runtime.patience import patiently
from tropism.runtime.runtime import Runtime
from tropism.runtime.scaling import Learned, Load, Scaling, drain_seconds, learn, wanted
from tropism.runtime.service import Service
from tropism.runtime.sources import topics_of
from tropism.runtime.waiting import first_of

LOOK_SECONDS = 2.0
HANG_SECONDS, BACKOFF_SECONDS_MAX = 60.0, 30.0
HOLDER = "tropism run --workers"


async def run_workers(
    app: App,
    services: Sequence[Service],
    count: int,
    scaling: Scaling | None,
    *,
    path: str | None,
    drain_seconds: float,
    beside: Beside | None = None,
) -> int:
    """Keep so many workers of services at work until a signal, and what runs beside; return the exit code.

    Raises: InvalidInputError for more workers than partitions.
    """
    stop = Stop()
    options = Options(path, drain_seconds, HANG_SECONDS, None, BACKOFF_SECONDS_MAX, reload=False)
    async with open_platform(read_settings()) as platform:
        runtime = Runtime(services, platform, types=types_of(app).types.values(), producers=app.services)
        needs = needs_of(runtime.services, processes=count, autoscaled=scaling is not None)
        check_needs(needs, site_of(platform, REMEMBER_SECONDS))
        await runtime.create_topics()
        pool = _Pool(platform, runtime.services, Supervisor(options, partial(_arguments, services, options)))
        try:
            more = [] if beside is None else [beside(platform)]
            await first_of(stop.asked.wait(), pool.run(count, scaling), *more)
        finally:
            await pool.supervisor.close()
    return stop.code


def _arguments(services: Sequence[Service], options: Options, name: str) -> list[str]:
    arguments = ["run", "--share", name, "--drain-seconds", str(options.drain_seconds)]
    for service in services:
        arguments += ["--service", service.name]
    return arguments if options.app is None else [*arguments, "--app", options.app]


class _Pool:
    """The workers, and what is known of their work."""

    def __init__(self, platform: Platform, services: Sequence[Service], supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self._platform = platform
        self._services = services

    async def run(self, count: int, scaling: Scaling | None) -> None:
        await self._change(count)
        if scaling is None:
            await asyncio.Event().wait()
            return
        clock, known = self._platform.clock, Learned()
        seen_at, (lag, end) = clock.monotonic(), await self._look()
        while True:
            await clock.sleep(LOOK_SECONDS)
            now, before, started = clock.monotonic(), (lag, end), seen_at
            seen_at, (lag, end) = now, await self._look()
            arrived = end - before[1]
            load = Load(now - started, arrived, max(0, before[0] + arrived - lag), lag)
            known = learn(known, load, count)
            better = wanted(scaling, known, lag, count, now=now)
            if better != count:
                say(_why(known, lag, count, better))
                await self._change(better)
                count, known = better, replace(known, changed_at=clock.monotonic())
                seen_at, (lag, end) = clock.monotonic(), await self._look()

    async def _look(self) -> tuple[int, int]:
        """Return how many events wait for the services, and how many there ever were for them.

        While the store does not answer, the workers wait, and so does who counts them.
        """
        return await patiently(self._platform.clock, self._look_once)

    async def _look_once(self) -> tuple[int, int]:
        waiting = total = 0
        for service in self._services:
            waiting += (await lag_of(self._platform, service)).events
            total += sum((await self._platform.log.ends(topics_of(service))).values())
        return waiting, total

    async def _change(self, count: int) -> None:
        """Let the workers finish and leave, divide the services anew, and start others."""
        await self.supervisor.keep([])
        for service in self._services:
            while True:
                try:
                    divided = partial(divide, self._platform, service, count, holder=HOLDER)
                    await patiently(self._platform.clock, divided)
                    break
                except ConflictError as error:
                    # Who died without giving its lease back holds it until it runs out.
                    say(f"{error} Trying again.")
                    await self._platform.clock.sleep(1.0)
        await self.supervisor.keep([f"{number}/{count}" for number in range(count)])
        say(f"At work: {count} workers.")


def _why(known: Learned, lag: int, count: int, better: int) -> str:
    drain = drain_seconds(known, lag, count)
    fact = "more comes than they do" if drain == float("inf") else f"{drain or 0:.0f} s to catch up"
    return f"From {count} to {better} workers: {lag} events wait, {fact} with {count}."
