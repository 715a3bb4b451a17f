"""Keeping one process per service at work, on a store that this process owns."""

import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tropism.app.platform import open_platform, read_settings
from tropism.cli.child import Child
from tropism.cli.console import say
from tropism.cli.reload import Build, Sources, probe
from tropism.cli.serving import Stop
from tropism.core.errors import InvalidInputError
from tropism.runtime.waiting import first_of

CHECK_SECONDS = 0.25
STEADY_SECONDS = 10.0
"""After so long at work, an earlier failure is forgiven."""

START_SECONDS_MAX = 120.0
"""How long an app may take to be imported before its process counts as hung."""

GRACE_SECONDS = 5.0
_PAUSE_FIRST = 0.2
_COLOURS = (36, 33, 35, 32, 34, 31)


@dataclass(frozen=True, slots=True)
class Options:
    """What ``tropism dev`` was asked for."""

    app: str | None
    drain_seconds: float
    hang_seconds: float
    memory_bytes_max: int | None
    backoff_seconds_max: float
    reload: bool


async def supervise(options: Options) -> int:
    """Run all services of the app until a signal; return the exit code.

    Raises: InvalidInputError if the app cannot be loaded at the start.
    """
    if options.memory_bytes_max is not None and not os.path.exists("/proc/self/statm"):  # noqa: ASYNC240, PTH110 (no disk)
        raise InvalidInputError(
            "Cannot bound memory here: this system does not tell how much a process holds. "
            "Leave --memory-max away."
        )
    stop = Stop()
    async with open_platform(read_settings()):
        build = await probe(options.app)
        if isinstance(build, str):
            raise InvalidInputError(build)
        supervisor = Supervisor(options)
        try:
            await supervisor.run(build, stop)
        finally:
            await supervisor.close()
    return stop.code


class Supervisor:
    """Processes by name, each kept by a task of its own: by default, one of a service of that name.

    ``arguments`` says how the process of a name is started.
    """

    def __init__(self, options: Options, arguments: Callable[[str], list[str]] | None = None) -> None:
        self._options = options
        self._arguments = arguments or self._service
        self._lifeline, self._held = os.pipe()
        self._children: dict[str, Child] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._retired: set[asyncio.Task[None]] = set()
        self._wakes: dict[str, asyncio.Event] = {}
        self._stopping = False
        self._build: Build | None = None

    async def run(self, build: Build, stop: Stop) -> None:
        """Keep services at work until asked to stop."""
        self._build = build
        say(f"Starting {build.app}: {', '.join(build.digests)}.")
        self._change(set(build.digests), set())
        reloading = [self._reload_for_ever()] if self._options.reload else []
        await first_of(stop.asked.wait(), *reloading)

    async def close(self) -> None:
        """Have every process finish and leave, within the bound, and end those that do not."""
        self._stopping = True
        say(f"Stopping: finishing what is in flight, for at most {self._options.drain_seconds:g} s.")
        for name in self._keepers:
            self._ask_to_leave(name)
        tasks = {*self._keepers.values(), *self._retired}
        if tasks:
            await asyncio.wait(tasks)
        for end in (self._held, self._lifeline):
            os.close(end)

    # -- one service ------------------------------------------------------------------------------

    async def _keep(self, name: str) -> None:
        """Start a service's process, again and again, until it is no longer wanted."""
        failures = 0
        wake = self._wakes[name]
        tell = self._teller(name)
        while not self._stopping and self._keepers.get(name) is asyncio.current_task():
            wake.clear()
            age = 0.0
            try:
                child = await Child.start(self._arguments(name), self._lifeline, tell)
            except OSError as error:  # such as too many processes or files
                why = f"it cannot be started ({error.strerror or error})"
            else:
                why = await self._look_after(name, child)
                age = child.age
                if child.is_leaving or self._stopping:
                    continue
            failures = 1 if age > STEADY_SECONDS else failures + 1
            pause = min(self._options.backoff_seconds_max, _PAUSE_FIRST * 2 ** min(failures - 1, 16))
            tell(f"Starting again in {pause:g} s: {why}.")
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await wake.wait()

    async def _look_after(self, name: str, child: Child) -> str:
        """Watch a process to its end, and return why it ended."""
        self._children[name] = child
        try:
            return await self._watch(child)
        finally:
            if self._children.get(name) is child:
                del self._children[name]
            await child.kill()
            await child.close()

    def _service(self, name: str) -> list[str]:
        arguments = ["run", "--service", name, "--drain-seconds", str(self._options.drain_seconds)]
        return arguments if self._options.app is None else [*arguments, "--app", self._options.app]

    async def _watch(self, child: Child) -> str:
        """Return why a process ended, ended by this watch where it must be."""
        loop = asyncio.get_running_loop()
        leave_by: float | None = None
        while True:
            before = loop.time()
            ended = await child.wait(CHECK_SECONDS)
            if ended is not None:
                return ended
            if loop.time() - before > CHECK_SECONDS * 4:
                # This process stood still itself: nobody's silence meanwhile says anything.
                child.last_beat = loop.time()
            if child.is_leaving and leave_by is None:
                leave_by = loop.time() + self._options.drain_seconds + GRACE_SECONDS
            why = self._fault(child, leave_by)
            if why is not None:
                await child.kill()
                return why

    def _fault(self, child: Child, leave_by: float | None) -> str | None:
        now = asyncio.get_running_loop().time()
        silent = now - child.last_beat
        if leave_by is not None and now > leave_by:
            return "it did not leave in time"
        if silent > (self._options.hang_seconds if child.has_beaten else START_SECONDS_MAX):
            return f"its event loop stood still for {silent:.1f} s"
        bound = self._options.memory_bytes_max
        if bound is not None and child.resident_bytes > bound:
            return f"it held {child.resident_bytes >> 20} MiB, more than {bound >> 20}"
        return None

    def _ask_to_leave(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None:
            child.terminate()
        self._wakes[name].set()

    # -- all services -----------------------------------------------------------------------------

    async def keep(self, names: Sequence[str]) -> None:
        """Keep these at work and no others; return when those that are not wanted any more have left."""
        self._change(set(names), set())
        if self._retired:
            await asyncio.wait(self._retired)
            self._retired.clear()

    def _change(self, wanted: set[str], changed: set[str]) -> None:
        """Start what is new, restart what changed, and stop what is gone."""
        for name in sorted(set(self._keepers) - wanted):
            self._ask_to_leave(name)
            self._retired.add(self._keepers.pop(name))
        for name in sorted(wanted - set(self._keepers)):
            self._wakes[name] = asyncio.Event()
            self._keepers[name] = asyncio.create_task(self._keep(name), name=name)
        for name in sorted(changed):
            self._ask_to_leave(name)

    async def _reload_for_ever(self) -> None:
        sources = Sources()
        last = ""
        while True:
            try:
                await self._reload(sources)
            except Exception as error:  # noqa: BLE001 (whatever it is, the services are at work)
                told = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
                if told != last:
                    say(f"Cannot reload: {told}. The services go on as they were; save a file to try again.")
                last = told

    async def _reload(self, sources: Sources) -> None:
        """Wait for a change, and do what it means for the services."""
        changed = await sources.wait_changed()
        say(f"Changed: {', '.join(changed)}.")
        build = await probe(self._options.app)
        if isinstance(build, str):
            say(f"{build} The services go on as they were.")
            return
        known = {} if self._build is None else self._build.digests
        differing = {n for n, digest in build.digests.items() if n in known and known[n] != digest}
        self._build = build
        news = sorted(differing | (set(build.digests) ^ set(known)))
        say(f"Reloading {', '.join(news)}." if news else "No service is made of that.")
        self._change(set(build.digests), differing)

    def _teller(self, name: str) -> Callable[[str], None]:
        names = sorted(self._keepers)
        prefix = f"{name:<{max(map(len, names), default=0)}} | "
        if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
            colour = _COLOURS[names.index(name) % len(_COLOURS)] if name in names else 0
            prefix = f"\x1b[{colour}m{prefix}\x1b[0m"
        return lambda line: say(f"{prefix}{line}")
