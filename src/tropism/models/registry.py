"""The registry: what the log says of a model's versions. Nothing is registered; everything is read back."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from tropism.core.codec import Codec
from tropism.core.envelope import Stored
from tropism.core.errors import NotFoundError
from tropism.core.event import Event
from tropism.models.events import (
    TRANSITIONS,
    ChallengerDropped,
    DegradationDetected,
    DriftDetected,
    Evidence,
    OrderRefused,
    Rollout,
    TrainingBlocked,
    TrainingFailed,
    TrainingRequested,
    TrainingUnblocked,
    Transition,
    VersionRolledBack,
    VersionTrained,
)
from tropism.ports.log import Log

TOPICS = ("models", "training")
READ_COUNT = 1000

FACTS: tuple[type[Event], ...] = (
    *TRANSITIONS,
    TrainingRequested,
    VersionTrained,
    TrainingFailed,
    DriftDetected,
    DegradationDetected,
    TrainingBlocked,
    TrainingUnblocked,
    OrderRefused,
)
"""The events that a registry is made of."""


class Version(msgspec.Struct, frozen=True):
    """One version: why it was asked for, what it is made of, and where it stands.

    ``stage`` is requested, failed, trained, shadow, canary, champion, previous, dropped, rolled back or
    retired. ``cause`` says why it failed.
    """

    number: int
    stage: str
    reason: str
    requested_us: int
    trained_us: int | None = None
    artifact: str | None = None
    evidence: Evidence | None = None
    backtest: dict[str, float] = {}
    seconds: float | None = None
    cause: str | None = None


class Step(msgspec.Struct, frozen=True):
    """One event of the loop: when it was known, and what it says."""

    known_us: int
    kind: str
    event: Any
    cause_id: str | None = None

    @property
    def version(self) -> int | None:
        """The version that it is about, if it is about one."""
        number: int | None = getattr(self.event, "version", None)
        return number


class Registry(msgspec.Struct, frozen=True):
    """All that is known of one model's versions. A fold over its events, in their order."""

    model: str
    versions: dict[int, Version] = {}
    steps: tuple[Step, ...] = ()

    @property
    def rollout(self) -> Rollout:
        """Who decides, as far as is known."""
        return self.served_at(2**62)

    def served_at(self, instant_us: int) -> Rollout:
        """Return who decided at an instant: whatever came into effect strictly before it."""
        found = Rollout()
        effective_us = -1
        for step in self.steps:
            event = step.event
            if isinstance(event, Transition) and effective_us <= event.effective_from_us < instant_us:
                found, effective_us = event.rollout, event.effective_from_us
        return found

    def version(self, number: int) -> Version:
        """Return a version by its number. Raises: NotFoundError if there is none."""
        if number not in self.versions:
            raise NotFoundError(
                f"Cannot find version {number} of {self.model!r}: it was never asked for. "
                f"Name one of {sorted(self.versions)}."
            )
        return self.versions[number]


def folded(registry: Registry, step: Step) -> Registry:
    """Return the registry after one more event of its model."""
    versions = dict(registry.versions)
    event = step.event
    if isinstance(event, TrainingRequested):
        versions[event.version] = msgspec.structs.replace(
            _known(versions, event.version, step), reason=event.reason, requested_us=step.known_us
        )
    elif isinstance(event, VersionTrained):
        versions[event.version] = msgspec.structs.replace(
            _known(versions, event.version, step),
            stage="trained",
            trained_us=step.known_us,
            artifact=event.artifact,
            evidence=event.evidence,
            backtest=event.backtest,
            seconds=event.seconds,
        )
    elif isinstance(event, TrainingFailed):
        versions[event.version] = msgspec.structs.replace(
            _known(versions, event.version, step), stage="failed", cause=event.cause
        )
    elif isinstance(event, Transition):
        _restage(versions, event, step)
    return msgspec.structs.replace(registry, versions=versions, steps=(*registry.steps, step))


def _known(versions: dict[int, Version], number: int, step: Step) -> Version:
    return versions.get(number) or Version(number, "requested", "unknown", step.known_us)


def _restage(versions: dict[int, Version], event: Transition, step: Step) -> None:
    """Say where every version stands once a transition is in effect."""
    if isinstance(event, ChallengerDropped | VersionRolledBack):
        word = "dropped" if isinstance(event, ChallengerDropped) else "rolled back"
        versions[event.version] = msgspec.structs.replace(_known(versions, event.version, step), stage=word)
    for number, version in versions.items():
        if version.stage in {"champion", "canary", "shadow", "previous"}:
            versions[number] = msgspec.structs.replace(version, stage="retired")
    rollout = event.rollout
    beside = "canary" if rollout.canary_share > 0 else "shadow"
    for served, stage in (
        (rollout.champion, "champion"),
        (rollout.challenger, beside),
        (rollout.previous, "previous"),
    ):
        if served is not None:
            known = _known(versions, served.version, step)
            versions[served.version] = msgspec.structs.replace(known, stage=stage)


def registries_of(stored: Iterable[Stored]) -> dict[str, Registry]:
    """Return the registry of every model that records of the loop speak of, by name."""
    codec = Codec(FACTS)
    found: dict[str, list[Step]] = {}
    for each in sorted(stored, key=_order):
        if each.record.type in codec.types:
            event = codec.decode(each.record)
            cause_id = (each.record.extensions or {}).get("causationid")
            step = Step(each.known_us, type(event).__name__, event, cause_id)
            found.setdefault(event.model, []).append(step)
    return {model: _folded_all(model, steps) for model, steps in sorted(found.items())}


def _order(stored: Stored) -> tuple[int, int, int, int]:
    # In event time, a training has the time of its request: what the loop itself said comes first.
    topic = TOPICS.index(stored.record.type.partition(".")[0])
    return stored.known_us, topic, stored.partition, stored.offset


def _folded_all(model: str, steps: Sequence[Step]) -> Registry:
    registry = Registry(model)
    for step in steps:
        registry = folded(registry, step)
    return registry


async def read_registries(log: Log) -> dict[str, Registry]:
    """Return the registry of every model that a log speaks of, by name."""
    ends = await log.ends(TOPICS)
    cursors = dict.fromkeys(ends, 0)
    stored: list[Stored] = []
    while True:
        pages = await log.read(cursors, count_max=READ_COUNT)
        found = [each for page in pages.values() for each in page]
        if not found:
            return registries_of(stored)
        stored.extend(found)
        cursors |= {where: page[-1].offset + 1 for where, page in pages.items() if page}


async def read_registry(log: Log, model: str) -> Registry:
    """Return the registry of a model. Raises: NotFoundError if the log speaks of none of that name."""
    found = await read_registries(log)
    if model not in found:
        raise NotFoundError(
            f"Cannot find model {model!r}: nothing was trained under that name. "
            + (f"Name one of {list(found)}." if found else "Run the app until it trains a first version.")
        )
    return found[model]
