"""The services, views and models of one system, composed by value."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from tropism.app.schemas import DEFAULT, modes_of
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.runtime.hops import check_budget
from tropism.runtime.service import Service
from tropism.runtime.view import View


class Learner(Protocol):
    """What brings services of its own: a model brings its closed loop."""

    @property
    def name(self) -> str:
        """Name, unique in the app."""
        ...

    @property
    def services(self) -> tuple[Service, ...]:
        """Services that run beside the app's own."""
        ...


class App:
    """Services, views and models of one system. Nothing runs until it is given a platform.

    ``events`` names further event types, such as those that only other systems handle.
    ``ignore_unknown`` leaves events of unknown types alone instead of putting them among the dead letters.
    ``hops_max`` is for services whose events can go round in a circle: how many outputs in a row may lead to
    one of theirs, 100 by default.
    ``compatibility`` says what changes of an event type's schema may be started with: backward, forward, full
    or none, for all types or by type; those that a mapping does not name are backward compatible.
    ``record_bytes_max`` is how large its events may be: a log that takes no such event is refused at start.

    Raises: InvalidInputError if two parts share a name.
    """

    def __init__(
        self,
        name: str,
        *,
        services: Sequence[Service] = (),
        views: Sequence[View] = (),
        models: Sequence[Learner] = (),
        events: Sequence[type[Any]] = (),
        ignore_unknown: bool = False,
        hops_max: float | None = None,
        compatibility: str | Mapping[Any, str] = DEFAULT,
        record_bytes_max: int | None = None,
    ) -> None:
        check_budget(f"app {name!r}", hops_max)
        self.name = name
        self.hops_max = hops_max
        self.views = tuple(views)
        self.models = tuple(models)
        self.services = (*services, *(service for model in models for service in model.services))
        self.events: tuple[type[Event], ...] = tuple(events)
        self.ignore_unknown = ignore_unknown
        self.compatibility = compatibility
        modes_of(compatibility)
        self.record_bytes_max = record_bytes_max
        _check_names("service", [service.name for service in self.services])
        _check_names("view", [view.name for view in _views(self)])
        _check_names("model", [model.name for model in self.models])

    def service(self, name: str) -> Service:
        """Return a service by name. Raises: InvalidInputError if there is none."""
        for service in self.services:
            if service.name == name:
                return service
        raise InvalidInputError(
            f"Cannot run service {name!r}: app {self.name!r} has no such service. "
            f"Name one of {[service.name for service in self.services]}."
        )

    def model(self, name: str) -> Learner:
        """Return a model by name. Raises: InvalidInputError if there is none."""
        for model in self.models:
            if model.name == name:
                return model
        names = [model.name for model in self.models]
        remedy = f"Name one of {names}." if names else "Let one of its handlers use one."
        raise InvalidInputError(f"Cannot use model {name!r}: app {self.name!r} has no such model. {remedy}")


def _views(app: App) -> list[View]:
    used = (view for service in app.services for view in service.views)
    return list(dict.fromkeys((*app.views, *used)))


def _check_names(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInputError(
            f"Cannot compose the app: two parts are {what} {twice[0]!r}. Rename one of them."
        )
