"""What the loop may do by itself."""

from dataclasses import dataclass
from datetime import timedelta

from tropism.core.errors import InvalidInputError
from tropism.models.quality import QualityLimits


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise InvalidInputError(
            f"Cannot use this policy: {name} is {value!r}. Choose a value above {low:g} and below {high:g}."
        )


def _positive(name: str, duration: timedelta) -> None:
    if duration <= timedelta(0):
        raise InvalidInputError(f"Cannot use this policy: {name} is {duration}. Choose a duration above 0.")


def _not_negative(name: str, duration: timedelta) -> None:
    if duration < timedelta(0):
        raise InvalidInputError(f"Cannot use this policy: {name} is {duration}. Choose 0 or more.")


def _at_least(least: int, part: object, prefix: str, *names: str) -> None:
    """Refuse counts below the least that works; what is None is switched off."""
    for name in names:
        count = getattr(part, name)
        if count is not None and not count >= least:
            raise InvalidInputError(
                f"Cannot use this policy: {prefix}{name} is {count!r}. Choose {least} or more."
            )


@dataclass(frozen=True, slots=True)
class Drift:
    """When inputs count as drifted: so many features, each by so much, in so many windows in a row."""

    features_min: int = 1
    psi_min: float = 1.0
    windows: int = 3
    rows_min: int = 200
    false_discovery_rate: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what would never or always be drift."""
        _within("drift.false_discovery_rate", self.false_discovery_rate, 0.0, 1.0)
        _at_least(1, self, "drift.", "features_min", "windows", "rows_min")
        if not self.psi_min >= 0.0:
            raise InvalidInputError(
                f"Cannot use this policy: drift.psi_min is {self.psi_min!r}. Choose 0 or more."
            )


@dataclass(frozen=True, slots=True)
class Degradation:
    """When quality counts as lost: the Brier score is above what the version itself expects by a tolerance.

    A calibrated version expects p(1 - p) of an output p. ``run_length`` is the least mean number of outcomes
    to a false alarm.
    """

    tolerance: float = 0.02
    run_length: float = 1_000_000.0

    def __post_init__(self) -> None:
        """Refuse what no alarm could use."""
        _within("degradation.tolerance", self.tolerance, -0.25, 1.0)
        _within("degradation.run_length", self.run_length, 1.0, 1e100)


@dataclass(frozen=True, slots=True)
class Gate:
    """What a challenger must prove against the champion on the same events, to be promoted.

    An anytime-valid betting test at level ``alpha`` on the paired difference of Brier scores: that the
    challenger is not worse by ``margin`` or more. ``margin=0`` asks it to be better. Outcomes that come
    together fail together, so the test bets on the mean of a ``block`` of time, clipped to ``bound``:
    betting on each outcome would promote far more often than alpha where they are correlated.

    Before that, a backtest: the newest ``backtest_share`` of the outcomes (at most ``backtest_rows_max``; 0
    switches it off) is held back from a fit on the older ones. If that does worse there than the champion by
    more than ``margin``, at the one-sided level ``backtest_alpha``, the challenger does not enter; nor if it
    does so on a value of a feature in ``slices``, the level shared between them. ``artifact_bytes_max`` and
    ``latency_ms_max`` (one row, one call) are budgets of every version; a measured latency differs from run
    to run, and so may what follows from it.
    """

    alpha: float = 0.05
    margin: float = 0.004
    block: timedelta = timedelta(hours=3)
    block_outcomes_min: int = 30
    bound: float = 0.03
    outcomes_min: int = 500
    backtest_share: float = 0.1
    backtest_rows_max: int = 5000
    backtest_alpha: float = 0.01
    slices: tuple[str, ...] = ()
    slice_rows_min: int = 200
    artifact_bytes_max: int | None = None
    latency_ms_max: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no test could use."""
        _within("gate.alpha", self.alpha, 0.0, 1.0)
        _within("gate.backtest_alpha", self.backtest_alpha, 0.0, 1.0)
        _within("gate.bound", self.bound, 0.0, 2.0)
        _within("gate.margin", self.margin, -1.0, self.bound)
        _within("gate.backtest_share", self.backtest_share, -1e-9, 1.0)
        _positive("gate.block", self.block)
        _at_least(1, self, "gate.", "block_outcomes_min", "slice_rows_min", "artifact_bytes_max")
        _at_least(0, self, "gate.", "outcomes_min", "backtest_rows_max")
        if self.latency_ms_max is not None:
            _within("gate.latency_ms_max", self.latency_ms_max, 0.0, float("inf"))


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """How a challenger that passed the gate comes to decide, and how long the old champion is kept beside.

    A challenger that proves nothing within ``challenger_max`` is replaced by a fresher one. One that is worse
    by ``harm_margin``, at level ``harm_alpha``, is dropped or rolled back. Time alone shows nothing: a canary
    and a watch end well only with ``outcomes_min`` outcomes of decisions that were made while they lasted, in
    a canary answered by both sides. Without them a canary is dropped after ``challenger_max``, and a watch
    goes on.
    """

    canary_share: float = 0.2
    canary: timedelta = timedelta(hours=12)
    harm_alpha: float = 0.05
    harm_margin: float = 0.004
    challenger_max: timedelta = timedelta(days=10)
    watch: timedelta = timedelta(days=7)
    outcomes_min: int = 10

    def __post_init__(self) -> None:
        """Refuse shares that are none, and margins that no test could use."""
        _within("rollout.canary_share", self.canary_share, -1e-9, 1.0)
        _within("rollout.harm_alpha", self.harm_alpha, 0.0, 1.0)
        _within("rollout.harm_margin", self.harm_margin, -1.0, 1.0)
        _at_least(1, self, "rollout.", "outcomes_min")
        for name in ("canary", "challenger_max", "watch"):
            _not_negative(f"rollout.{name}", getattr(self, name))


@dataclass(frozen=True, slots=True)
class Policy:
    """What the loop may do by itself: when to train, what to prove, how to roll out, and who must approve.

    ``first_after`` outcomes train the first version. Then drift, degradation, ``max_age`` of the newest
    version, and ``growth`` times the outcomes it learned from, each ask for another, at most one per
    ``cooldown`` (doubled after every challenger that lost in a row) and ``trainings_max`` per ``budget``.
    After ``rollbacks_max`` rollbacks per budget only persons train. With ``approval``, a challenger that
    proved itself waits for a person's order, and does not grow stale; the first version, which replaces
    nobody, does not wait.
    ``act_at`` is the output from which a decision acts. ``allowance`` is what effects lie behind their
    causes in event time; live, it is zero.
    """

    act_at: float = 0.5
    first_after: int = 5000
    max_age: timedelta | None = timedelta(days=14)
    growth: float | None = 1.3
    drift: Drift | None = Drift()
    degradation: Degradation | None = Degradation()
    quality: QualityLimits | None = QualityLimits()  # noqa: RUF009 (frozen)
    cooldown: timedelta = timedelta(days=10)
    trainings_max: int = 6
    budget: timedelta = timedelta(days=90)
    gate: Gate = Gate()
    rollout: RolloutPlan = RolloutPlan()
    rollbacks_max: int = 3
    approval: bool = False
    review: timedelta = timedelta(hours=6)
    window: timedelta = timedelta(days=1)
    allowance: timedelta = timedelta(hours=6)
    training_timeout_seconds: float = 3600.0
    rows_max: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could never work."""
        _at_least(1, self, "", "first_after", "trainings_max", "rows_max")
        _at_least(0, self, "", "rollbacks_max")
        _within("act_at", self.act_at, -float("inf"), float("inf"))
        _within("training_timeout_seconds", self.training_timeout_seconds, 0.0, 1e9)
        if self.growth is not None:
            _within("growth", self.growth, 1.0, float("inf"))
        if self.max_age is not None:
            _positive("max_age", self.max_age)
        for name in ("review", "window", "budget"):
            _positive(name, getattr(self, name))
        for name in ("cooldown", "allowance"):
            _not_negative(name, getattr(self, name))
