"""Faults by chance at every call of log and state, the same by the same seed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Protocol, TypeVar

from tropism.core.errors import UnavailableError
from tropism.core.time import MICROSECONDS
from tropism.ports.clock import Clock

T = TypeVar("T")

CHANGES = frozenset({"append", "commit", "acquire", "renew", "release", "create_topics"})
"""Calls that change something: their answers may be lost though they had their effect."""

STORES = frozenset({"append", "commit", "create_topics"})
"""Calls that a full disk refuses."""

REPEATED = frozenset({"append", "renew"})
"""Calls that may reach the other side twice, as where whoever made them got no answer and asked again."""

KINDS = {
    "refused": 0.06,
    "unanswered": 0.05,
    "late": 0.06,
    "answered late": 0.04,
    "repeated": 0.04,
    "crashed before": 0.006,
    "crashed behind": 0.006,
    "paused": 0.006,
    "cut off": 0.006,
    "full": 0.004,
    "again later": 0.02,
    "clock set": 0.01,
    "pages shuffled": 0.05,
    "turns lost": 0.05,
}
"""What can go wrong at a call, and how likely it is where a seed lets it happen at all."""

HARMLESS = frozenset({"pages shuffled", "turns lost", "slow", "stopped"})
"""What disturbs and is no fault: it is drawn and told like the others, and not counted among them."""

Tell = Callable[[str, str, str, object], None]
"""Told of every fault: whom it met, at which call, what it was, and what the call was about."""


class Jumping(Protocol):
    """A clock whose wall time can be set."""

    def jump(self, seconds: float) -> None:
        """Set it forward, or back."""
        ...


class Weather:
    """What goes wrong, everywhere: drawn from one stream of chance, and counted."""

    def __init__(self, random: Random, clock: Clock, odds: Mapping[str, float], tell: Tell) -> None:
        self.random = random
        self.counts: Counter[str] = Counter()
        self._odds = dict(odds)
        self._clock = clock
        self._tell = tell
        self._full_until = float("-inf")
        self.echoes: dict[asyncio.Future[Any], None] = {}
        self.is_over = False

    def end(self) -> None:
        """Let nothing go wrong any more."""
        self.is_over = True
        self._full_until = float("-inf")

    def strike(self, name: str) -> str:
        """Draw what goes wrong at a call, "" where nothing does."""
        if self.is_over:
            return ""
        drawn = self.random.random()
        for kind, odds in self._odds.items():
            drawn -= odds
            if drawn < 0:
                return kind if _can(kind, name) else ""
        return "full" if name in STORES and self._clock.monotonic() < self._full_until else ""

    def note(self, who: str, name: str, kind: str, about: object) -> None:
        """Count a fault that happens."""
        self.counts[kind] += 1
        self._tell(who, name, kind, about)

    def fill(self) -> None:
        """Let the disk be full for a while."""
        self._full_until = self._clock.monotonic() + self.seconds(1, 20)

    def echo(self, make: Callable[[], Awaitable[Any]]) -> None:
        """Let a call that had its effect come again later, from somewhere on the way."""

        async def come() -> None:
            await self._clock.sleep(self.seconds(0.001, 60))
            await make()

        task = asyncio.ensure_future(come())
        self.echoes[task] = None
        task.add_done_callback(self.echoes.pop)

    def seconds(self, least: float, most: float) -> float:
        """Draw a duration."""
        return least + (most - least) * self.random.random() ** 2


def _can(kind: str, name: str) -> bool:
    if kind == "unanswered":
        return name in CHANGES
    if kind == "repeated":
        return name in REPEATED
    if kind == "full":
        return name in STORES
    if kind == "again later":
        return name == "append"
    return kind != "pages shuffled" or name == "read"


class Seat:
    """One process's place in the weather: it makes the calls of that process's log and state.

    A process that ``struck`` is dead: none of its calls ends any more. One that is paused goes on later,
    and knows nothing of it.
    """

    def __init__(self, who: str, weather: Weather, clock: Jumping) -> None:
        self.who = who
        self.struck = False
        self.calls = 0
        self._weather = weather
        self._wall = clock
        self._paused_until = float("-inf")
        self._cut_until = float("-inf")

    async def call(
        self, name: str, clock: Clock, make: Callable[[], Awaitable[T]], about: object = None
    ) -> T:
        """Make a call, with whatever goes wrong."""
        self.calls += 1
        await self.go_on(clock)
        if clock.monotonic() < self._cut_until and not self._weather.is_over:
            self._weather.note(self.who, name, "cut off", about)
            raise await self._refusal(name, clock)
        kind = self._weather.strike(name)
        if not kind:
            result = await make()
        else:
            result = await self._disturbed(kind, name, clock, make, about)
        await self.go_on(clock)
        return result

    async def go_on(self, clock: Clock) -> None:
        """Return when this process runs: at once, later, or never."""
        while not self.struck and clock.monotonic() < self._paused_until:
            await clock.sleep(self._paused_until - clock.monotonic())
        if self.struck:
            await asyncio.get_running_loop().create_future()

    async def _disturbed(
        self, kind: str, name: str, clock: Clock, make: Callable[[], Awaitable[T]], about: object
    ) -> T:
        self._weather.note(self.who, name, kind, about)
        await self._before(kind, name, clock)
        await self.go_on(clock)
        result = await make()
        if kind == "repeated":
            result = await make()
        elif kind == "again later":
            self._weather.echo(make)
        elif kind == "pages shuffled":
            result = self._shuffled(result)
        await self._behind(kind, name, clock)
        return result

    async def _before(self, kind: str, name: str, clock: Clock) -> None:
        """Let happen what comes before a call has its effect, and may keep it from having one."""
        chance = self._weather
        if kind == "late":
            await clock.sleep(chance.seconds(0.001, 25))
        elif kind == "paused":
            self._paused_until = clock.monotonic() + chance.seconds(1, 60)
        elif kind == "clock set":
            self._wall.jump(chance.random.uniform(-300, 300))
        elif kind == "turns lost":
            for _ in range(chance.random.randrange(1, 8)):
                await asyncio.sleep(0)
        elif kind == "crashed before":
            await self._die()
        elif kind in {"refused", "full", "cut off"}:
            if kind == "full":
                chance.fill()
            elif kind == "cut off":
                self._cut_until = clock.monotonic() + chance.seconds(1, 30)
            raise await self._refusal(name, clock)

    async def _behind(self, kind: str, name: str, clock: Clock) -> None:
        """Let happen what comes when a call has had its effect."""
        if kind == "crashed behind":
            await self._die()
        elif kind == "unanswered":
            raise await self._refusal(name, clock)
        elif kind == "answered late":
            await clock.sleep(self._weather.seconds(0.001, 25))

    async def _die(self) -> None:
        self.struck = True
        await asyncio.get_running_loop().create_future()

    async def _refusal(self, name: str, clock: Clock) -> UnavailableError:
        """Return what a refused call raises: at once, or when patience ends."""
        if self._weather.random.random() < 0.5:
            await clock.sleep(self._weather.seconds(0.001, 10))
            await self.go_on(clock)
        return UnavailableError(f"Cannot {name}: a fault was planted here. Try again.")

    def _shuffled(self, result: Any) -> Any:
        """Return what was read with its partitions in another order: nobody promised one."""
        pages = list(result.items())
        self._weather.random.shuffle(pages)
        return dict(pages)


class NodeClock:
    """The clock of one process: its wall time jumps, and it stands still while the process is paused."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_us = 0
        self.seat: Seat | None = None

    def now_us(self) -> int:
        """Return what this process takes for the time."""
        return self._clock.now_us() + self._ahead_us

    def monotonic(self) -> float:
        """Return seconds since some moment."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait so long, and until the process goes on."""
        await self._clock.sleep(seconds)
        if self.seat is not None:
            await self.seat.go_on(self._clock)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward, or back, for good or until it is set right."""
        self._ahead_us = 0 if self._ahead_us else round(seconds * MICROSECONDS)
