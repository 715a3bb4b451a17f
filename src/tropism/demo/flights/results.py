"""What came of a run, read back from its log."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tropism.core.envelope import Stored
from tropism.models.rows import TrainingRows
from tropism.ports.log import Log

PAGE = 20_000
UNSTABLE = {"seconds", "latency_us"}
"""Fields that tell how long something took: of two equal runs, they alone differ."""


class _Decision(msgspec.Struct):
    subject: str
    decided_us: int
    version: int
    arm: str
    output: float | None
    act: bool
    features: list[Any]
    others: dict[str, float]
    latency_us: int


class _Learned(msgspec.Struct):
    decision_id: str
    value: float
    revision: int
    early: bool


@dataclass(frozen=True, slots=True)
class Step:
    """A control event: when, of what type, and what it says."""

    time_us: int
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Results:
    """A run's decisions in order of time, with what came of them, and the loop's own steps.

    Shapes: n decisions; outputs and outcomes are NaN where there is none; known_us is 0 without an outcome.
    """

    rows: TrainingRows
    outputs: NDArray[np.float64]
    versions: NDArray[np.int64]
    latencies: NDArray[np.float64]
    events: int
    expired: int
    subjects: int
    steps: tuple[Step, ...]
    windows: tuple[dict[str, Any], ...]
    digest: str

    @property
    def outcomes(self) -> int:
        """How many decisions have an outcome."""
        return int(np.isfinite(self.rows.outcomes).sum())


async def read_results(log: Log, names: tuple[str, ...]) -> Results:
    """Return what a log holds of a finished run."""
    decisions = await _read(log, "decisions")
    outcomes = await _read(log, "outcomes")
    control = [stored for topic in ("models", "training") for stored in await _read(log, topic)]
    observed = await _read(log, "observations")
    events = sum((await log.ends(["flights", "weather"])).values())
    return await asyncio.to_thread(_results, names, decisions, outcomes, control, observed, events)


async def _read(log: Log, topic: str) -> list[Stored]:
    found: list[Stored] = []
    for partition, end in (await log.ends([topic])).items():
        start = 0
        while start < end:
            page = (await log.read({partition: start}, count_max=PAGE))[partition]
            found.extend(page)
            start = page[-1].offset + 1
    return found


def _results(
    names: tuple[str, ...],
    decisions: Sequence[Stored],
    outcomes: Sequence[Stored],
    control: Sequence[Stored],
    observed: Sequence[Stored],
    events: int,
) -> Results:
    decoder = msgspec.json.Decoder(_Decision)
    made = sorted(
        ((decoder.decode(s.record.data), s.record.id) for s in decisions),
        key=lambda pair: (pair[0].decided_us, pair[1]),
    )
    labels = _labels(outcomes)
    nothing = (float("nan"), 0)
    columns = [list(column) for column in zip(*(d.features for d, _ in made), strict=True)]
    rows = TrainingRows(
        names=names,
        columns=columns or [[] for _ in names],
        outcomes=np.array([labels.get(id, nothing)[0] for _, id in made], dtype=np.float64),
        decided_us=np.array([d.decided_us for d, _ in made], dtype=np.int64),
        known_us=np.array([labels.get(id, nothing)[1] for _, id in made], dtype=np.int64),
    )
    steps = sorted(
        (Step(s.record.time_us, s.record.type, msgspec.json.decode(s.record.data)) for s in control),
        key=lambda step: (step.time_us, step.type),
    )
    return Results(
        rows=rows,
        outputs=np.array([d.output if d.output is not None else np.nan for d, _ in made]),
        versions=np.array([d.version for d, _ in made], dtype=np.int64),
        latencies=np.array([d.latency_us for d, _ in made], dtype=np.float64) / 1e6,
        events=events,
        expired=sum(s.record.type == "outcomes.missed.v1" for s in outcomes),
        subjects=len({d.subject for d, _ in made}),
        steps=tuple(steps),
        windows=tuple(msgspec.json.decode(s.record.data) for s in observed),
        digest=digest_of(made, steps),
    )


def _labels(outcomes: Sequence[Stored]) -> dict[str, tuple[float, int]]:
    decoder = msgspec.json.Decoder(_Learned)
    labels: dict[str, tuple[float, int]] = {}
    for stored in outcomes:
        if stored.record.type == "outcomes.learned.v1":
            learned = decoder.decode(stored.record.data)
            labels[learned.decision_id] = (learned.value, stored.known_us)
    return labels


def digest_of(decisions: Sequence[tuple[_Decision, str]], steps: Sequence[Step]) -> str:
    """Return the digest of all decisions, sorted by id, and of all steps; floats to 9 significant digits."""
    digest = sha256()
    for made, id in sorted(decisions, key=lambda pair: pair[1]):
        said = (made.subject, made.version, made.arm, made.output, made.act, made.features, made.others)
        digest.update(f"{id} {_stable(said)}\n".encode())
    for step in steps:
        kept = {name: value for name, value in step.data.items() if name not in UNSTABLE}
        digest.update(f"{step.time_us} {step.type} {_stable(kept)}\n".encode())
    return digest.hexdigest()


def _stable(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_stable(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([_stable(each) for each in value]) + "]"
    return repr(value)
