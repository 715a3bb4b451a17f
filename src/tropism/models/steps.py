"""What a finished run tells in its log: the loop's steps, and a digest by which equal runs are equal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from tropism.core.envelope import Stored
from tropism.ports.log import Log

PAGE = 20_000
UNSTABLE = {"seconds", "latency_us"}
"""Fields that tell how long something took: of two equal runs, they alone differ."""

WHERE = "environment"
"""What a version's evidence says of packages; where they matter, the version's own digest differs."""

ALARMS = ("models.drift_detected.v1", "models.degradation_detected.v1", "models.training_blocked.v1")


@dataclass(frozen=True, slots=True)
class Step:
    """A control event of the loop: when, of what type, and what it says."""

    at_us: int
    type: str
    data: dict[str, Any]


async def read_topic(log: Log, topic: str) -> list[Stored]:
    """Return all that a topic holds, partition by partition."""
    found: list[Stored] = []
    for partition, end in (await log.ends([topic])).items():
        start = 0
        while start < end:
            page = (await log.read({partition: start}, count_max=PAGE)).get(partition, ())
            if not page:
                # Offsets may have gaps, also behind the last record.
                break
            found.extend(page)
            start = page[-1].offset + 1
    return found


async def read_steps(log: Log) -> tuple[Step, ...]:
    """Return the steps of the loop, in order of time."""
    steps = [
        Step(stored.record.time_us, stored.record.type, msgspec.json.decode(stored.record.data))
        for topic in ("models", "training")
        for stored in await read_topic(log, topic)
    ]
    return tuple(sorted(steps, key=_order))


def _order(step: Step) -> tuple[int, str, str, str]:
    # Two models may do the same at one moment; which of their loops wrote first says nothing.
    return step.at_us, step.type, str(step.data.get("model")), stable(_kept(step))


def _kept(step: Step) -> dict[str, Any]:
    kept = {name: value for name, value in step.data.items() if name not in UNSTABLE}
    if isinstance(evidence := kept.get("evidence"), dict):
        kept["evidence"] = {name: value for name, value in evidence.items() if name != WHERE}
    return kept


def count_of(steps: Sequence[Step], *types: str) -> int:
    """Return how many steps are of some types."""
    return sum(step.type in types for step in steps)


def digest_of(decisions: Iterable[str], steps: Sequence[Step]) -> str:
    """Return the digest of decisions, a stable line each, and of all steps."""
    digest = sha256()
    for line in decisions:
        digest.update(f"{line}\n".encode())
    for step in steps:
        digest.update(f"{step.at_us} {step.type} {stable(_kept(step))}\n".encode())
    return digest.hexdigest()


def stable(value: Any) -> str:
    """Return a value as text: floats to 9 significant digits, names in order."""
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{stable(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([stable(each) for each in value]) + "]"
    return repr(value)
