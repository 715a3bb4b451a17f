"""Anything that decides, as its user declares it."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from tropism.core.errors import InvalidInputError, NotSupportedError
from tropism.core.event import Event
from tropism.models.events import (
    TRANSITIONS,
    DecisionMade,
    ModelObserved,
    Rollout,
    TrainingFailed,
    VersionTrained,
)
from tropism.models.policy import Policy
from tropism.models.train_name import check_train
from tropism.runtime.inject import Opened, Site, Use
from tropism.runtime.service import Service
from tropism.runtime.view import Reader, View, last

if TYPE_CHECKING:
    from tropism.models.recorded import RecordedModel
    from tropism.models.rows import TrainingRows

Features = Callable[..., tuple[Any, ...]]
"""``features(event, view=use(view), ...)`` returning a NamedTuple of floats, bools, strings and Nones."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Which event tells what came of a decision, by how much, and until when.

    ``value`` gives the outcome: for a probability, 0 or 1. ``by`` names the decision's subject in the event,
    its key by default. With ``corrections``, a later event within the same time corrects it.
    """

    event: type[Any]
    value: Callable[[Any], float | None]
    within: timedelta
    by: Callable[[Any], str] | None = None
    corrections: bool = False


class Model:
    """Anything that decides on an event: it has versions, and is judged by outcomes.

    A handler is given it by ``risk: Decider = use(model)``. ``train`` must be a function of a module, for
    it runs in another process. ``feature_names`` names the features where no NamedTuple can, because they
    are known only when the program runs.

    Raises: InvalidInputError if the event to decide on has no key, if the features function does not say
    what it reads and returns, if no other process could import ``train``, or if the policy names a slice
    that is no feature.
    """

    def __init__(
        self,
        name: str,
        *,
        decides_on: type[Any],
        features: Features,
        train: "Callable[[TrainingRows, int], Any]",
        outcome: Outcome,
        policy: Policy | None = None,
        metrics: Sequence[Callable[..., float | None]] = (),
        seed: int = 0,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        _check_key(name, decides_on)
        self.name = name
        self.decides_on = decides_on
        self.features = features
        self.train = train
        self.outcome = outcome
        self.policy = policy or Policy()
        self.metrics = tuple(metrics)
        self.seed = seed
        self._services: tuple[Service, ...] | None = None
        self.feature_views = _feature_views(name, features)
        self.feature_names = _feature_names(name, features) if feature_names is None else tuple(feature_names)
        check_train(name, train)
        _check_slices(name, self.policy, self.feature_names)
        self.rollouts = View(
            rollouts_of(name),
            TRANSITIONS,
            by=_of_model(name, lambda e: e.model),
            at=lambda e: e.effective_from_us,
            allowance=self.policy.allowance,
            own=True,
            rollout=last(lambda e: _pack(e.rollout)),
        )

    def __repr__(self) -> str:
        """Name it as its constructor does."""
        return f"Model({self.name!r})"

    @property
    def views(self) -> tuple[View, ...]:
        """Views that deciding reads."""
        return (*dict.fromkeys(self.feature_views.values()), self.rollouts)

    @property
    def emits(self) -> tuple[type[Event], ...]:
        """Events that deciding adds to the handler's commit."""
        return (DecisionMade, ModelObserved)

    async def open(self, site: Site) -> Opened:
        """Start deciding in one worker."""
        try:
            from tropism.models.serving import open_decider  # noqa: PLC0415 (numpy is an extra)
        except ImportError as error:
            raise _missing(self.name, error) from error
        return await open_decider(self, site)

    def recorded(self) -> "RecordedModel":
        """Return what says again, in a replay, what this model decided."""
        try:
            from tropism.models.recorded import RecordedModel  # noqa: PLC0415 (numpy is an extra)
        except ImportError as error:
            raise _missing(self.name, error) from error
        return RecordedModel(self.name)

    @property
    def services(self) -> tuple[Service, ...]:
        """The loop: services that join outcomes, review, and train."""
        try:
            from tropism.models.loop import closed_loop  # noqa: PLC0415 (numpy is an extra)
        except ImportError as error:
            raise _missing(self.name, error) from error
        if self._services is None:
            self._services = closed_loop(self)
        return self._services


def rollouts_of(model: str) -> str:
    """Return the name of the view that tells which versions of a model decide."""
    return f"{model}-rollouts"


def trained_view(model: Model) -> View:
    """Return the view of a model's newest training, whether it succeeded or not."""
    return View(
        f"{model.name}-trainings",
        (VersionTrained, TrainingFailed),
        by=_of_model(model.name, lambda e: e.model),
        at=lambda e: e.effective_from_us,
        allowance=model.policy.allowance,
        own=True,
        training=last(_training),
    )


def versions_view(model: Model) -> View:
    """Return the view of every trained version of a model, under ``name@version``."""
    return View(
        f"{model.name}-references",
        VersionTrained,
        by=lambda e: f"{e.model}@{e.version}" if e.model == model.name else None,
        at=lambda e: e.effective_from_us,
        allowance=model.policy.allowance,
        own=True,
        reference=last(lambda e: msgspec.to_builtins(e.reference)),
        made=last(lambda e: [e.artifact, e.evidence.known_until_us]),
    )


def _training(event: VersionTrained | TrainingFailed) -> list[Any]:
    if isinstance(event, TrainingFailed):
        return [event.version, None, {}]
    return [event.version, event.artifact, event.backtest]


def _of_model(name: str, of: Callable[[Any], str]) -> Callable[[Any], str | None]:
    return lambda event: name if of(event) == name else None


def _pack(rollout: Rollout) -> list[Any]:
    arms = [rollout.champion, rollout.challenger, rollout.previous]
    served = [None if arm is None else [arm.version, arm.artifact] for arm in arms]
    return [*served, rollout.canary_share]


def _feature_views(name: str, features: Features) -> dict[str, View]:
    parameters = list(inspect.signature(features).parameters.values())[1:]
    views: dict[str, View] = {}
    for parameter in parameters:
        default = parameter.default
        if not isinstance(default, Use) or not isinstance(default.source, View):
            raise InvalidInputError(
                f"Cannot make model {name!r}: parameter {parameter.name!r} of its features is no view. "
                f"Give it a default such as use(view)."
            )
        views[parameter.name] = default.source
    return views


def _feature_names(name: str, features: Features) -> tuple[str, ...]:
    row = get_type_hints(features).get("return")
    fields = getattr(row, "_fields", None)
    if not fields:
        raise InvalidInputError(
            f"Cannot make model {name!r}: its features do not say what they return. "
            f"Annotate the function with a NamedTuple, or pass feature_names."
        )
    return tuple(fields)


def _check_key(name: str, decides_on: type[Event]) -> None:
    if decides_on.event_key is None:
        raise InvalidInputError(
            f"Cannot make model {name!r}: {decides_on.__name__!r} has no key, so no outcome could be told "
            f'whose it is. Declare one, as in type={decides_on.event_type!r}, key="id".'
        )


def _check_slices(name: str, policy: Policy, names: tuple[str, ...]) -> None:
    unknown = [each for each in policy.gate.slices if each not in names]
    if unknown:
        raise InvalidInputError(
            f"Cannot make model {name!r}: its gate slices by {unknown[0]!r}, which is no feature. "
            f"Name some of {list(names)}."
        )


def _missing(name: str, error: ImportError) -> NotSupportedError:
    return NotSupportedError(
        f"Cannot run model {name!r}: {error.name!r} is not installed. Run pip install 'tropism[models]'."
    )


__all__ = ["Features", "Model", "Outcome", "Reader", "trained_view", "versions_view"]
