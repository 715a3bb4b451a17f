"""A simulated system of several processes in the weather of one seed, from its first fault to its history."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from tropism.adapters.memory import MemoryStore, VirtualClock
from tropism.ports.log import Log
from tropism.ports.state import State
from tropism.runtime.dividing import divide
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.service import Service
from tropism.testing.history import History, Published, Violation, check, gather
from tropism.testing.ledger import TYPES, ledger
from tropism.testing.node import Node, Site
from tropism.testing.plan import Plan, plan_of
from tropism.testing.publisher import Publisher
from tropism.testing.simulation import quiet
from tropism.testing.weather import NodeClock, Weather

START_US = 1_700_000_000_000_000
CALM_SECONDS = 60.0
"""After the last fault, so long for what was still on its way."""

RECOVERY_SECONDS_MAX = 300.0
PATIENCE_SECONDS, STUCK_SECONDS = 86_400.0, 1800.0
"""How much virtual time everything may take while there are faults, and how much when there are none."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A fault: when in virtual time, whom it met at which call, and what the call was about."""

    seconds: float
    who: str
    call: str
    kind: str
    about: object


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one seed."""

    seed: int
    plan: Plan
    faults: dict[str, int]
    calls: int
    seconds: float
    violations: tuple[Violation, ...]
    history: History
    timeline: tuple[Happened, ...] = ()


@dataclass(frozen=True, slots=True)
class Stores:
    """What the processes share; ``wrap`` puts another log and state in their place, to see them found out."""

    wrap: Callable[[Log, State, Random], tuple[Log, State]] = field(
        default=lambda log, state, _: (log, state)
    )


class Stuck(Exception):  # noqa: N818 (it reads as what the system is)
    """Nothing more happens, though not everything is handled."""


def run_seed(seed: int, *, stores: Stores | None = None, records: bool = False) -> Result:
    """Run the system of a seed to its end, and check what it left behind. The same seed does the same."""
    return asyncio.run(_run(seed, stores or Stores(), records=records))


async def _run(seed: int, stores: Stores, *, records: bool) -> Result:
    cluster = Cluster(plan_of(seed), stores, records=records)
    violations: list[Violation] = []
    recovery_seconds = None
    try:
        recovery_seconds = await cluster.run()
    except Stuck as stuck:
        violations.append(Violation("recovery is bounded", str(stuck)))
    except Exception as error:  # noqa: BLE001 (whatever stops a service is a finding)
        violations.append(Violation("nothing stops a service", f"{type(error).__name__}: {error}"))
    await cluster.close()
    history = await gather(cluster.log, cluster.state, cluster.published(), recovery_seconds=recovery_seconds)
    if not violations:
        violations += check(history, recovery_seconds_max=RECOVERY_SECONDS_MAX)
    return Result(
        seed,
        cluster.plan,
        dict(cluster.weather.counts),
        cluster.calls,
        cluster.clock.monotonic(),
        tuple(violations),
        history,
        tuple(cluster.timeline),
    )


class Cluster:
    """The processes of a plan on one store: stepped from one sleeper to the next, whoever that is."""

    def __init__(self, plan: Plan, stores: Stores, *, records: bool) -> None:
        self.plan = plan
        self.clock = VirtualClock(START_US)
        self.timeline: list[Happened] = []
        self.weather = Weather(
            Random(plan.seed),  # noqa: S311 (chance that repeats is the point)
            self.clock,
            plan.odds,
            self._tell if records else _silent,
        )
        store = MemoryStore(
            clock=self.clock, partitions_default=plan.partitions, apart=plan.apart, dedup=plan.dedup
        )
        self._store = store
        self.log, self.state = stores.wrap(store.log, store.state, self.weather.random)
        self._site = Site(self.log, self.state, store.blobs, store.queue, self.clock, self.weather)
        self.nodes = self._nodes()
        self.publishers = [
            Publisher(
                f"publisher {n}",
                [f"p{n}-{k}" for k in range(plan.accounts)],
                plan.count,
                self.log,
                self.clock,
                self.weather,
            )
            for n in range(plan.publishers)
        ]
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.calls = 0

    def _tell(self, who: str, name: str, kind: str, about: object) -> None:
        self.timeline.append(Happened(self.clock.monotonic(), who, name, kind, about))

    def published(self) -> list[Published]:
        """Return what was published, in the order of each account."""
        return [each for publisher in self.publishers for each in publisher.published]

    # -- what there is ----------------------------------------------------------------------------

    def _nodes(self) -> list[Node]:
        plan = self.plan
        options = RuntimeOptions(
            live=plan.live,
            partitions=plan.partitions,
            chunk=plan.chunk,
            in_flight_max=plan.in_flight_max,
            lease_seconds=plan.lease_seconds,
            start_us=None if plan.live else START_US - 1,
        )
        made = []
        for number in range(plan.nodes):
            name = f"node {number}"
            share = (number, plan.nodes) if plan.mode == "shares" else (0, 1)
            made.append(
                Node(
                    name,
                    self._site,
                    self._services_of(number),
                    replace(options, share=share),
                    types=TYPES,
                    producers=None if plan.live else ledger(),
                    keeps_name=plan.keeps_names,
                )
            )
        return made

    def _services_of(self, number: int) -> Callable[[NodeClock], Sequence[Service]]:
        def make(clock: NodeClock) -> Sequence[Service]:
            mishaps = _Mishaps(self.weather, clock, self.plan.mishaps)
            all_of_them = ledger(mishaps.meet, mishaps.meet_now)
            if self.plan.mode != "spread":
                return all_of_them
            return all_of_them[number % len(all_of_them) :: self.plan.nodes]

        return make

    async def _divide(self) -> None:
        """Divide every service before it begins."""
        platform = self._site.platform(self.nodes[0].seat, self.nodes[0].clock)
        calm = replace(platform, log=self._store.log, state=self._store.state)
        runtime = Runtime(ledger(), calm, types=TYPES, options=self.nodes[0].options)
        await runtime.create_topics()
        if self.plan.mode == "shares":
            for service in runtime.services:
                await divide(calm, service, self.plan.nodes, holder="divider")

    # -- what happens -----------------------------------------------------------------------------

    async def run(self) -> float:
        """Run until everything is published and handled; return how long that took after the last fault.

        Raises: Stuck; what stopped a service.
        """
        await self._divide()
        for node in self.nodes:
            node.start()
        for publisher in self.publishers:
            publisher.start()
        operator = asyncio.ensure_future(self._operate()) if self.plan.restarts else None
        await self._until(lambda: all(publisher.is_done for publisher in self.publishers))
        # Some weather stays when everything is published, for what is still under way.
        await self._until_time(self.clock.monotonic() + self.weather.seconds(0, 60))
        if operator is not None:
            operator.cancel()
            await asyncio.wait([operator])
        return await self._recover()

    async def _recover(self) -> float:
        self.weather.end()
        ended = self.clock.monotonic()
        for node in self.nodes:
            # Those that an operator left stopped, and those that still lie dead.
            if node.is_dead or node.runtime is None:
                await node.clear()
                node.start()
        for node in self.nodes:
            node.advance_sources(self.clock.now_us())
        end_us = self.clock.now_us()
        await self._until(lambda: self._is_handled(end_us))
        recovered = self.clock.monotonic()
        await self._until_time(recovered + CALM_SECONDS)
        for node in self.nodes:
            node.advance_sources(self.clock.now_us())
        await self._until(lambda: self._is_handled(end_us))
        return recovered - ended

    def _is_handled(self, end_us: int) -> bool:
        done = [node.idle() if self.plan.live else node.has_handled(end_us) for node in self.nodes]
        wanted = {"books", "branches", "notices", "by-branches.total"}
        if self.plan.mode == "shares":
            return all(each >= wanted for each in done)
        return set().union(*done) >= wanted

    async def _operate(self) -> None:
        """Stop a process in order now and then, and start it again."""
        chance = self.weather.random
        while True:
            await self.clock.sleep(chance.uniform(1, 40))
            node = self.nodes[chance.randrange(len(self.nodes))]
            if node.is_dead or node.runtime is None:
                continue
            self.weather.note(node.name, "", "stopped", None)
            leaving = node.stop(chance.choice([0.0, 0.5, 30.0]))
            try:
                while not leaving.done() and not node.is_dead:
                    await self.clock.sleep(0.05)
            finally:
                leaving.cancel()
                await asyncio.wait([leaving])
                if not node.is_dead:
                    await node.clear()
            await self.clock.sleep(chance.choice([0.0, 2.0]))
            if node.seat.struck:
                # Unless whoever clears away the dead was faster.
                node.start()

    async def _until(self, done: Callable[[], bool]) -> None:
        bound = self.clock.monotonic() + (STUCK_SECONDS if self.weather.is_over else PATIENCE_SECONDS)
        while True:
            await self._settle()
            if done():
                return
            due_us = self.clock.next_wakeup_us()
            if due_us is None or self.clock.monotonic() > bound:
                break
            self.clock.advance_to_us(due_us)
        idle = {node.name: sorted(node.idle()) for node in self.nodes}
        raise Stuck(f"nothing more happens at {self.clock.monotonic():g} s; idle are {idle}")

    async def _until_time(self, seconds: float) -> None:
        instant_us = START_US + round(seconds * 1e6)
        await self._until(lambda: (self.clock.next_wakeup_us() or instant_us) >= instant_us)
        self.clock.advance_to_us(instant_us)
        await self._settle()

    async def _settle(self) -> None:
        """Return when every task waits; whoever crashed meanwhile is cleared away, to come back later."""
        await quiet(0.0)
        everyone: list[Node | Publisher] = [*self.nodes, *self.publishers]
        for each in everyone:
            if each.is_dead and (not isinstance(each, Node) or each.runtime is not None):
                await each.clear()
                self._later(each)
                # Who is to come back must have begun to wait, or nothing would seem to be due any more.
                await quiet(0.0)
        for node in self.nodes:
            node.raise_if_stopped()
        for publisher in self.publishers:
            publisher.raise_if_failed()

    def _later(self, dead: Node | Publisher) -> None:
        pause = 0.0 if self.weather.is_over else self.weather.random.choice([0.0, 1.0, 30.0])

        async def come_back() -> None:
            await self.clock.sleep(pause)
            if dead.is_dead:
                dead.start()

        task = asyncio.ensure_future(come_back())
        self._tasks[task] = None
        task.add_done_callback(self._tasks.pop)

    async def close(self) -> None:
        """End everything."""
        self.weather.end()
        self.calls = sum(node.seat.calls for node in self.nodes)
        everyone: list[Node | Publisher] = [*self.nodes, *self.publishers]
        for each in everyone:
            await each.clear()
        for task in (*self._tasks, *self.weather.echoes):
            task.cancel()
        await asyncio.gather(*self._tasks, *self.weather.echoes, return_exceptions=True)


class _Mishaps:
    """What goes wrong inside handlers: by chance, and for some events always."""

    def __init__(self, weather: Weather, clock: NodeClock, odds: float) -> None:
        self._weather = weather
        self._clock = clock
        self._odds = odds

    async def meet(self, handler: str, id: str, _account: str) -> None:
        """Go wrong, or take long, or end the process."""
        kind = self._draw(handler, id)
        if kind == "slow":
            await self._clock.sleep(self._weather.seconds(0.001, 15))
        elif kind == "hung":
            await self._clock.sleep(1e6)
        elif kind == "died":
            assert self._clock.seat is not None  # noqa: S101 (a node that runs has one)
            self._clock.seat.struck = True
            await asyncio.get_running_loop().create_future()
        elif kind:
            raise RuntimeError(kind)

    def meet_now(self, handler: str, events: Sequence[tuple[str, str]]) -> None:
        """Go wrong, without waiting."""
        for id, _ in events:
            kind = self._draw(handler, id)
            if kind in {"raised", "hung", "poison"}:
                raise RuntimeError(kind)

    def _draw(self, handler: str, id: str) -> str:
        if self._weather.is_over or not self._odds:
            return ""
        if hash_of(handler, id) % 29 == 0:
            kind = "poison"
        else:
            drawn = self._weather.random.random() / self._odds
            bounds = (("raised", 0.05), ("slow", 0.12), ("hung", 0.15), ("died", 0.16))
            kind = next((name for name, bound in bounds if drawn < bound), "")
        if kind:
            self._weather.note(handler, id, kind, None)
        return kind


def hash_of(*parts: str) -> int:
    """Return a number that depends on texts alone."""
    return Random("/".join(parts)).getrandbits(32)  # noqa: S311 (no secret)


def _silent(who: str, name: str, kind: str, about: object) -> None:
    """Tell nobody."""
