"""The loop's own steps, as events on the same log as all others.

``decisions.*`` are ordered per subject of the decision; ``outcomes.*``, ``models.*`` and ``training.*``
per model. Every control event carries ``effective_from_us``: the time of its cause, and the policy's
allowance.
"""

from typing import Any

import msgspec

from tropism.core.event import Event
from tropism.models.sketch.features import FeatureSketch
from tropism.models.sketch.histogram import Histogram
from tropism.models.sketch.latency import LatencySketch


class Served(msgspec.Struct, frozen=True):
    """A version that can decide: its number, and the blob that holds it."""

    version: int
    artifact: str


class Rollout(msgspec.Struct, frozen=True):
    """Who decides: the champion, and beside it a challenger in shadow or canary, and who was champion before.

    ``canary_share`` is the share of subjects that the challenger decides for, chosen by their hash.
    """

    champion: Served | None = None
    challenger: Served | None = None
    canary_share: float = 0.0
    previous: Served | None = None


class DecisionMade(Event, type="decisions.made.v1", key="subject", gc=False):
    """What a model decided on an input, from which features, and what the other versions would have.

    ``version`` is 0 and ``output`` None while there is no version yet. ``others`` maps the versions that
    did not act to their outputs: None where one was asked and failed, absent where it was not asked.
    ``latency_us`` is how long the answer took; all else is reproducible.
    """

    model: str
    subject: str
    input_id: str
    decided_us: int
    version: int
    arm: str
    output: float | None
    act: bool
    schema: str
    features: list[Any]
    others: dict[str, float | None] = {}
    latency_us: int = 0


def joins(model: str) -> str:
    """Return the name of the service that joins a model's decisions with their outcomes."""
    return f"{model}.outcomes"


class OutcomeLearned(Event, type="outcomes.learned.v1", key="model"):
    """What came of a decision. ``revision`` counts corrections; ``early`` if it was known before."""

    model: str
    subject: str
    decision_id: str
    value: float
    decided_us: int
    version: int
    output: float | None
    act: bool
    others: dict[str, float | None] = {}
    revision: int = 0
    early: bool = False


class OutcomeMissed(Event, type="outcomes.missed.v1", key="model"):
    """A decision whose outcome will not be known: ``expired``, or ``superseded`` by one on its subject."""

    model: str
    subject: str
    decision_id: str
    decided_us: int
    reason: str


class OutcomeUnmatched(Event, type="outcomes.unmatched.v1", key="model"):
    """An outcome for which no decision came."""

    model: str
    subject: str
    value: float


class ModelObserved(Event, type="observations.window.v1", key="model"):
    """What a version saw and said in one window, as mergeable sketches."""

    model: str
    version: int
    service: str
    start_us: int
    end_us: int
    features: FeatureSketch
    outputs: Histogram
    latency: LatencySketch


class TrainingRequested(Event, type="models.training_requested.v1", key="model"):
    """A version is to be trained on what was known by ``known_until_us``, and compared with the champion."""

    model: str
    version: int
    reason: str
    known_until_us: int
    seed: int
    effective_from_us: int
    champion: int = 0


class Evidence(msgspec.Struct, frozen=True):
    """What a version is made of: enough to make it again."""

    ranges: dict[str, tuple[int, int]]
    """Per partition, ``topic/number``, the offsets read: from the first up to the second."""
    rows: int
    known_from_us: int
    known_until_us: int
    code: str
    environment: str
    seed: int
    names: tuple[str, ...]
    digest: str
    """Digest of what the version predicts on its probe rows, to 9 significant digits."""
    data: str = ""
    """Digest of the rows themselves."""
    rows_max: int | None = None


class VersionTrained(Event, type="training.trained.v1", key="model"):
    """A version exists."""

    model: str
    version: int
    artifact: str
    evidence: Evidence
    reference: FeatureSketch
    backtest: dict[str, float]
    seconds: float
    effective_from_us: int


class TrainingFailed(Event, type="training.failed.v1", key="model"):
    """A version could not be trained, or what was trained is no model."""

    model: str
    version: int
    cause: str
    effective_from_us: int


class Transition(Event, type="models.transition.v1", key="model"):
    """A step of a rollout: what holds from ``effective_from_us`` on, why, and who or what decided."""

    model: str
    version: int
    rollout: Rollout
    reason: str
    by: str
    evidence: dict[str, float]
    effective_from_us: int


class ShadowStarted(Transition, type="models.shadow_started.v1"):
    """A challenger decides beside the champion, without effect."""


class CanaryStarted(Transition, type="models.canary_started.v1"):
    """A challenger decides for a share of the subjects."""


class ChallengerDropped(Transition, type="models.challenger_dropped.v1"):
    """A challenger lost, grew stale, or did harm."""


class VersionPromoted(Transition, type="models.promoted.v1"):
    """A version is champion."""


class VersionRolledBack(Transition, type="models.rolled_back.v1"):
    """The champion before is champion again."""


class WatchEnded(Transition, type="models.watch_ended.v1"):
    """The champion before is no longer kept beside the new one."""


TRANSITIONS: tuple[type[Transition], ...] = (
    ShadowStarted,
    CanaryStarted,
    ChallengerDropped,
    VersionPromoted,
    VersionRolledBack,
    WatchEnded,
)


class DriftDetected(Event, type="models.drift_detected.v1", key="model"):
    """Features of one window differ from those of the champion's training."""

    model: str
    version: int
    features: dict[str, float]
    effective_from_us: int


class DegradationDetected(Event, type="models.degradation_detected.v1", key="model"):
    """The champion's loss has risen above ``reference``: what it expected of itself, and the tolerance."""

    model: str
    version: int
    reference: float
    outcomes: int
    effective_from_us: int


class TrainingBlocked(Event, type="models.training_blocked.v1", key="model"):
    """Data looks broken, so nothing is learned from it until it heals."""

    model: str
    findings: list[str]
    effective_from_us: int


class TrainingUnblocked(Event, type="models.training_unblocked.v1", key="model"):
    """Data looks sound again."""

    model: str
    effective_from_us: int


class OrderRefused(Event, type="models.order_refused.v1", key="model"):
    """A person's order that cannot be carried out, and why."""

    model: str
    order_id: str
    by: str
    cause: str
    effective_from_us: int


class PromotionOrdered(Event, type="orders.promotion.v1", key="model"):
    """A person wants a version to be champion."""

    model: str
    version: int
    by: str


class RollbackOrdered(Event, type="orders.rollback.v1", key="model"):
    """A person wants back what decided before: no canary, or where there is none, the champion before."""

    model: str
    by: str


class TrainingOrdered(Event, type="orders.training.v1", key="model"):
    """A person wants a version trained."""

    model: str
    by: str
