"""A small system whose model has something to learn: questions of a few kinds, answered some time later."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.app.app import App
from tropism.core.codec import record_of
from tropism.core.envelope import Record, Stored
from tropism.core.event import Event
from tropism.core.time import days, hours, to_us
from tropism.models.model import Model, Outcome
from tropism.models.policy import Degradation, Drift, Gate, Policy, RolloutPlan
from tropism.models.rows import Predictor, Rows, TrainingRows
from tropism.models.serving import Decider
from tropism.ports.compute import Compute
from tropism.ports.platform import Platform
from tropism.runtime.inject import use
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.runtime.service import Service
from tropism.runtime.view import Reader, View, mean

HOUR = to_us(hours(1))
DAY = to_us(days(1))
START = 15_700 * DAY
TOPICS = ("questions", "answers", "verdicts", "decisions", "outcomes", "models", "training", "observations")


class Asked(Event, type="questions.asked.v1", key="id"):
    """Something to decide on."""

    id: str
    kind: str
    size: float


class Answered(Event, type="answers.answered.v1", key="id"):
    """What came of it."""

    id: str
    kind: str
    yes: bool


class Ruled(Event, type="verdicts.ruled.v1", key="id"):
    """What the system did."""

    id: str
    probability: float


recent = View("answers-by-kind", Answered, by=lambda e: e.kind, window=hours(6), yes=mean(lambda e: e.yes))


class Row(NamedTuple):
    """What the model sees."""

    kind: str
    size: float
    recent: float | None


def features(asked: Asked, answers: Reader = use(recent)) -> Row:
    """Return what is known of a question."""
    return Row(asked.kind, asked.size, answers(asked.kind).yes)


@dataclass(frozen=True)
class Rates:
    """The share of yes per kind, as a predictor."""

    rates: dict[str, float]

    def predict(self, rows: Rows) -> Sequence[float]:
        """Return an output a row."""
        kinds = rows.columns[rows.names.index("kind")]
        return [self.rates.get(kind, 0.5) for kind in kinds]


def train_rates(rows: TrainingRows, seed: int) -> Predictor:
    """Count what was yes among the newest rows."""
    del seed
    newest = rows.part(max(0, len(rows) - 800), len(rows))
    kinds = newest.columns[newest.names.index("kind")]
    yes: dict[str, list[float]] = {}
    for kind, outcome in zip(kinds, newest.outcomes.tolist(), strict=True):
        yes.setdefault(kind, []).append(outcome)
    return Rates({kind: (sum(seen) + 1) / (len(seen) + 2) for kind, seen in sorted(yes.items())})


POLICY = Policy(
    first_after=300,
    max_age=None,
    drift=Drift(rows_min=50),
    degradation=Degradation(tolerance=0.02, run_length=5000),
    cooldown=days(1),
    trainings_max=50,
    gate=Gate(alpha=0.05, margin=0.0, outcomes_min=100),
    rollout=RolloutPlan(canary_share=0.2, canary=hours(12), challenger_max=days(4), watch=days(3)),
    review=hours(3),
    window=hours(12),
    allowance=hours(3),
)


def loop_app(
    policy: Policy = POLICY,
    train: Any = train_rates,
    seed: int = 0,
    features: Callable[..., Any] = features,
    outcome: Outcome | None = None,
) -> App:
    """Return the system."""
    model = Model(
        "verdict",
        decides_on=Asked,
        features=features,
        train=train,
        outcome=outcome or Outcome(Answered, value=lambda e: float(e.yes), within=hours(24)),
        policy=policy,
        seed=seed,
    )
    court = Service("court")

    @court.on(Asked)
    async def rule(asked: Asked, judge: Decider = use(model)) -> Ruled | None:
        decision = await judge(asked)
        return Ruled(id=asked.id, probability=decision.output or 0.0) if decision.act else None

    return App("law", services=[court], models=[model])


BEFORE = {"a": 0.9, "b": 0.1, "c": 0.7, "d": 0.3}
AFTER = {"a": 0.1, "b": 0.9, "c": 0.3, "d": 0.7}


def stream(
    days_count: float,
    chances: Callable[[float], dict[str, float]] = lambda _: BEFORE,
    a_day: int = 200,
    seed: int = 1,
    delay_hours: float = 2,
) -> list[tuple[int, Event]]:
    """Return questions, and their answers some hours later; ``chances`` gives those of a day."""
    chance = random.Random(seed)
    events: list[tuple[int, Event]] = []
    for n in range(int(days_count * a_day)):
        at = START + n * (DAY // a_day)
        kind = chance.choice("abcd")
        yes = chance.random() < chances(n / a_day)[kind]
        events.append((at, Asked(id=f"q{n:05d}", kind=kind, size=chance.random())))
        later = at + to_us(hours(delay_hours)) + chance.randrange(HOUR)
        events.append((later, Answered(id=f"q{n:05d}", kind=kind, yes=yes)))
    events.sort(key=lambda entry: entry[0])
    return events


@dataclass
class System:
    """The system on one memory store, in event time: it can be abandoned and taken up again."""

    app: App
    compute: Compute = field(default_factory=MemoryCompute)
    chunk: int = 1024
    live: bool = False
    store: MemoryStore = field(default_factory=lambda: MemoryStore(clock=VirtualClock()))

    def __post_init__(self) -> None:
        """Set up what outlives a crash."""
        self.clock = VirtualClock(START)
        self.runtime: Runtime | None = None
        self.sources_us = 0

    async def start(self) -> "System":
        """Begin, or begin again after a crash."""
        platform = Platform(
            self.store.log, self.store.state, self.store.blobs, self.compute, self.clock, self.store.queue
        )
        options = RuntimeOptions(live=self.live, chunk=self.chunk, lease_seconds=1e9)
        self.runtime = Runtime(self.app.services, platform, types=self.app.events, options=options)
        await self.runtime.start()
        if self.sources_us:
            self.runtime.watermarks.advance_sources(self.sources_us)
        return self

    async def publish(self, events: Sequence[tuple[int, Event]]) -> None:
        """Put facts from outside into the log, each known at its time."""
        await self.store.log.append([record(time_us, event) for time_us, event in events])

    async def run_until(self, time_us: int) -> None:
        """Handle all that was known by a moment."""
        assert self.runtime is not None
        self.sources_us = max(self.sources_us, time_us)
        self.runtime.watermarks.advance_sources(time_us)
        await asyncio.wait_for(self.runtime.wait_until(time_us), 60)

    async def crash(self) -> None:
        """Abandon everything in flight, as a kill would, and begin again."""
        assert self.runtime is not None
        await self.runtime.abandon()
        await self.start()

    async def stop(self) -> None:
        """End well."""
        assert self.runtime is not None
        await self.runtime.stop(drain_seconds=0)

    async def records(self, *topics: str) -> list[Stored]:
        """Return what lies in topics, in order of time, then id."""
        ends = await self.store.log.ends(topics)
        found = await self.store.log.read(dict.fromkeys(ends, 0), count_max=2**40)
        return sorted((s for page in found.values() for s in page), key=lambda s: (s.known_us, s.record.id))

    async def all(self, kind: type[Any]) -> list[Any]:
        """Return the events of a type, in order of time."""
        found = await self.records(kind.event_topic)
        return [
            msgspec.json.decode(s.record.data, type=kind) for s in found if s.record.type == kind.event_type
        ]

    async def transitions(self) -> list[tuple[float, str, int, str]]:
        """Return day, kind, version and reason of every control event, in order."""
        steps = []
        for stored in await self.records("models"):
            body = msgspec.json.decode(stored.record.data)
            day = (stored.known_us - START) / DAY
            kind = stored.record.type.split(".")[1]
            steps.append((round(day, 3), kind, body.get("version", 0), body.get("reason", "")))
        return steps


def record(time_us: int, event: Event) -> Record:
    """Return an event as its source would publish it."""
    body = msgspec.json.encode(event)
    name = f"{type(event).event_type}/{getattr(event, type(event).event_key or '')}/{time_us}"
    return record_of(event, body, id=name, time_us=time_us)


async def ran(
    events: Sequence[tuple[int, Event]], app: App, *, until_us: int | None = None, **options: Any
) -> System:
    """Return the system after a stream of events."""
    system = System(app, **options)
    await system.publish(events)
    await system.start()
    await system.run_until(until_us if until_us is not None else events[-1][0] + DAY)
    await system.stop()
    return system
