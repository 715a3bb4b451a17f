"""Running the year: facts into the log, the system on top, to the end of event time."""

import asyncio
import os
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tropism.app.app import App
from tropism.app.platform import Settings, open_platform
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError
from tropism.core.time import MICROSECONDS, hours, iso, to_us
from tropism.demo.flights.app import POLICY, flights_app
from tropism.demo.flights.beside import CHUNK, Beside, System, beside, loop_of
from tropism.demo.flights.folder import BLOBS, STORE, Manifest, held
from tropism.demo.flights.source import FIRST_US, data_folder, fact_days
from tropism.models.policy import Policy
from tropism.models.progress import Progress, Say, tell
from tropism.ports.platform import Platform
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.waiting import all_of, first_of
from tropism.runtime.watermarks import FOREVER_US

TOPICS = {"flights": 4, "weather": 4}
LOAD_COUNT = 10_000
AFTER = hours(36)
"""How long the clock runs past the last fact: every decision then has an outcome or has expired."""


@dataclass(frozen=True, slots=True)
class FlightsOptions:
    """What to run: facts known before ``until_us``, and how fast at most (event seconds a second).

    In two ``processes``, one decides and the other one runs the loop; in one, all of it.
    """

    folder: Path
    until_us: int = FOREVER_US
    seed: int = 0
    speed: float | None = None
    policy: Policy | None = None
    processes: int = 2


@dataclass
class Stages:
    """Where the wall time went, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @asynccontextmanager
    async def time(self, platform: Platform, name: str) -> AsyncIterator[None]:
        """Count what happens inside."""
        started = platform.clock.monotonic()
        try:
            yield
        finally:
            spent = platform.clock.monotonic() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + spent


def settings_of(folder: Path) -> Settings:
    """Return where a run keeps its log, state and artifacts."""
    # A replay can be done again: what a power loss takes is computed anew, so no commit waits for the disk.
    store = f"sqlite:///{folder.resolve()}/{STORE}?synchronous=normal"
    preload = "tropism.models.training,tropism.demo.flights.app,sklearn.ensemble"
    return Settings(
        log=store,
        state=store,
        blobs=f"file:{folder.resolve()}/{BLOBS}",
        compute=f"process:?preload={preload}",
    )


@dataclass(frozen=True, slots=True)
class Opened:
    """A run's platform, the process that runs the loop on it, if another one does, and whether it goes on."""

    platform: Platform
    beside: Beside | None
    resumed: bool = False


@asynccontextmanager
async def opened(options: FlightsOptions) -> AsyncIterator[Opened]:
    """Open the folder's platform: as it was left if that run was the same and unfinished, else empty.

    Raises: InvalidInputError if no fact is to be run; NotSupportedError where the data are not installed;
    what `held` raises.
    """
    # A run that cannot be must not cost the one before: it is refused while the folder is as it was.
    data_folder()
    if options.until_us <= FIRST_US:
        raise InvalidInputError(
            f"Cannot run until {iso(options.until_us)}: nothing is known before. Choose a day of 2013."
        )
    manifest = Manifest(options.until_us, options.seed, repr(options.policy))
    settings = settings_of(options.folder)
    async with AsyncExitStack() as stack:
        resumed = stack.enter_context(held(options.folder, manifest))
        other: Beside | None = None
        if options.processes > 1:
            # Who opens the database first writes it for all: let that be the one with less to do.
            system = System(settings, options.policy or POLICY, options.seed)
            other = await stack.enter_async_context(beside(system))
        yield Opened(await stack.enter_async_context(open_platform(settings)), other, resumed)


async def load(platform: Platform, options: FlightsOptions, say: Say) -> int:
    """Put the facts into the log, going on where an interrupted load stopped; return when event time ends.

    That is so long after the last fact that no outcome is awaited any more.
    Raises: NotSupportedError where the data are not installed.
    """
    await platform.log.create_topics(TOPICS)
    there = sum((await platform.log.ends(TOPICS)).values())
    days, seen, last_us = fact_days(data_folder(), options.until_us), 0, 0
    records = await asyncio.to_thread(_next_of, days)
    while records:
        # Loaded in one fixed order, so many at a time, all or none of them: what is there is the beginning.
        missing = records[max(0, there - seen) :]
        seen, last_us = seen + len(records), records[-1].time_us
        # The next ones are read while these are written: in two processes, that takes two cores.
        _, records = await asyncio.gather(platform.log.append(missing), asyncio.to_thread(_next_of, days))
        say(Progress("load", seen, time_us=last_us))
    return last_us + to_us(AFTER)


def _next_of(days: Iterator[list[Record]]) -> list[Record]:
    """Return the facts of the next days, some thousands; none behind the last one."""
    found: list[Record] = []
    for records in days:
        found.extend(records)
        if len(found) >= LOAD_COUNT:
            break
    return found


async def run(opened: Opened, app: App, end_us: int, options: FlightsOptions, say: Say) -> None:
    """Let the system live through the facts, up to the end of event time.

    Raises: UnavailableError if the process beside this one fails.
    """
    services, platform, other = list(app.services), opened.platform, opened.beside
    ends: list[Coroutine[Any, Any, None]] = []
    if other is not None:
        services = [service for service in services if service not in loop_of(app)]
        ends.append(other.run(end_us))
    runtime = Runtime(
        services,
        platform,
        types=app.events,
        producers=app.services,
        options=RuntimeOptions(live=False, chunk=CHUNK),
    )
    await runtime.start()
    total = sum((await platform.log.ends(TOPICS)).values())
    telling = tell(runtime, "operations", "late-arrival", "run", total, say)
    pacing = _pace(runtime, platform, end_us, options.speed)
    await first_of(telling, all_of(pacing, runtime.wait_until(end_us), *ends))
    await runtime.stop()


async def _pace(runtime: Runtime, platform: Platform, end_us: int, speed: float | None) -> None:
    """Let event time pass: at once, or so many of its seconds a second."""
    if speed is None:
        runtime.watermarks.advance_sources(end_us)
        return
    begun_us, started = min(runtime.watermarks.services.values()), platform.clock.monotonic()
    now_us = begun_us
    while now_us < end_us:
        passed = (platform.clock.monotonic() - started) * speed
        now_us = min(end_us, begun_us + int(passed * MICROSECONDS))
        runtime.watermarks.advance_sources(now_us)
        await platform.clock.sleep(0.05)


def system(options: FlightsOptions) -> App:
    """Return the airline's system with the policy and seed of a run."""
    if options.policy is None:
        return flights_app(seed=options.seed)
    return flights_app(options.policy, seed=options.seed)


def tune_process() -> None:
    """Set this process up for millions of short-lived values, and for native threads that yield."""
    import gc  # noqa: PLC0415 (wanted only by this program)

    gc.set_threshold(100_000, 50, 100)
    # Read when scikit-learn is first imported, here and in processes started from here: threads that wait
    # for each other by spinning take the cores from those who have work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
