"""Tropism: AI-native enterprise software, with the loop from event to better model closed."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tropism.app.app import App
from tropism.core.envelope import Envelope
from tropism.core.errors import TropismError
from tropism.core.event import Event
from tropism.core.time import days, hours, minutes, seconds
from tropism.runtime.batch import Batch
from tropism.runtime.handler import Expired, Tick
from tropism.runtime.inject import Output, State, use
from tropism.runtime.retry import Retry
from tropism.runtime.service import Service
from tropism.runtime.view import Reader, View, age, count, last, mean, total

if TYPE_CHECKING:
    from tropism.models.model import Model, Outcome
    from tropism.models.policy import Policy
    from tropism.models.serving import Decider

__all__ = [
    "App",
    "Batch",
    "Decider",
    "Envelope",
    "Event",
    "Expired",
    "Model",
    "Outcome",
    "Output",
    "Policy",
    "Reader",
    "Retry",
    "Service",
    "State",
    "Tick",
    "TropismError",
    "View",
    "age",
    "count",
    "days",
    "hours",
    "last",
    "mean",
    "minutes",
    "seconds",
    "total",
    "use",
]

_MODELS = {
    "Decider": "tropism.models.serving",
    "Model": "tropism.models.model",
    "Outcome": "tropism.models.model",
    "Policy": "tropism.models.policy",
}
"""Names whose modules need numpy, which is an extra: imported when they are first asked for."""


def __getattr__(name: str) -> Any:
    """Import a name of the models layer when it is first used."""
    if name not in _MODELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODELS[name]), name)
