"""What came of a run, read back from its log."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tropism.core.envelope import Stored
from tropism.models.rows import TrainingRows
from tropism.models.steps import Step, digest_of, read_steps, read_topic, stable
from tropism.ports.log import Log


class _Decision(msgspec.Struct):
    subject: str
    decided_us: int
    version: int
    arm: str
    output: float | None
    act: bool
    features: list[Any]
    others: dict[str, float | None]
    latency_us: int


class _Learned(msgspec.Struct):
    decision_id: str
    value: float
    revision: int
    early: bool


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
    decisions = await read_topic(log, "decisions")
    outcomes = await read_topic(log, "outcomes")
    steps = await read_steps(log)
    observed = await read_topic(log, "observations")
    events = sum((await log.ends(["flights", "weather"])).values())
    return await asyncio.to_thread(_results, names, decisions, outcomes, steps, observed, events)


def _results(
    names: tuple[str, ...],
    decisions: Sequence[Stored],
    outcomes: Sequence[Stored],
    steps: tuple[Step, ...],
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
    return Results(
        rows=rows,
        outputs=np.array([d.output if d.output is not None else np.nan for d, _ in made]),
        versions=np.array([d.version for d, _ in made], dtype=np.int64),
        latencies=np.array([d.latency_us for d, _ in made], dtype=np.float64) / 1e6,
        events=events,
        expired=sum(s.record.type == "outcomes.missed.v1" for s in outcomes),
        subjects=len({d.subject for d, _ in made}),
        steps=steps,
        windows=tuple(msgspec.json.decode(s.record.data) for s in observed),
        digest=digest_of(_lines(made), steps),
    )


def _labels(outcomes: Sequence[Stored]) -> dict[str, tuple[float, int]]:
    decoder = msgspec.json.Decoder(_Learned)
    labels: dict[str, tuple[float, int]] = {}
    for stored in outcomes:
        if stored.record.type == "outcomes.learned.v1":
            learned = decoder.decode(stored.record.data)
            labels[learned.decision_id] = (learned.value, stored.known_us)
    return labels


def _lines(decisions: Sequence[tuple[_Decision, str]]) -> Iterator[str]:
    for made, id in sorted(decisions, key=lambda pair: pair[1]):
        said = (made.subject, made.version, made.arm, made.output, made.act, made.features, made.others)
        yield f"{id} {stable(said)}"
