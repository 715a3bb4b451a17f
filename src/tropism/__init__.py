"""Tropism: AI-native enterprise software, with the loop from event to better model closed."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tropism.adapters.outbox import create_outbox, create_outbox_async, publish_in, publish_in_async
    from tropism.app.app import App
    from tropism.core.envelope import Envelope
    from tropism.core.errors import BusyError, RefusedError, TropismError
    from tropism.core.event import Event, event
    from tropism.core.time import days, hours, minutes, seconds
    from tropism.core.upcast import upcasts
    from tropism.models.model import Model, Outcome
    from tropism.models.policy import Policy
    from tropism.models.serving import Decider
    from tropism.runtime.aggregates import distinct, first, maximum, minimum, quantile, ratio
    from tropism.runtime.batch import Batch
    from tropism.runtime.closed import Closed
    from tropism.runtime.handler import Expired, Tick
    from tropism.runtime.inject import Output, State, use
    from tropism.runtime.joins import join_as_of, join_interval
    from tropism.runtime.later import Cancel, Later
    from tropism.runtime.pace import Provider
    from tropism.runtime.retry import Retry
    from tropism.runtime.scheduled import delayed, scheduled
    from tropism.runtime.service import Service
    from tropism.runtime.stepped import Step
    from tropism.runtime.steps import Steps
    from tropism.runtime.view import Reader, View, age, count, last, mean, total
    from tropism.runtime.windows import session, sliding, tumbling

__all__ = [
    "App",
    "Batch",
    "BusyError",
    "Cancel",
    "Closed",
    "Decider",
    "Envelope",
    "Event",
    "Expired",
    "Later",
    "Model",
    "Outcome",
    "Output",
    "Policy",
    "Provider",
    "Reader",
    "RefusedError",
    "Retry",
    "Service",
    "State",
    "Step",
    "Steps",
    "Tick",
    "TropismError",
    "View",
    "age",
    "count",
    "create_outbox",
    "create_outbox_async",
    "days",
    "delayed",
    "distinct",
    "event",
    "first",
    "hours",
    "join_as_of",
    "join_interval",
    "last",
    "maximum",
    "mean",
    "minimum",
    "minutes",
    "publish_in",
    "publish_in_async",
    "quantile",
    "ratio",
    "scheduled",
    "seconds",
    "session",
    "sliding",
    "total",
    "tumbling",
    "upcasts",
    "use",
]

_HOMES = {
    "tropism.adapters.outbox": ("create_outbox", "create_outbox_async", "publish_in", "publish_in_async"),
    "tropism.app.app": ("App",),
    "tropism.core.envelope": ("Envelope",),
    "tropism.core.errors": ("BusyError", "RefusedError", "TropismError"),
    "tropism.core.event": ("Event", "event"),
    "tropism.core.time": ("days", "hours", "minutes", "seconds"),
    "tropism.core.upcast": ("upcasts",),
    "tropism.models.model": ("Model", "Outcome"),
    "tropism.models.policy": ("Policy",),
    "tropism.models.serving": ("Decider",),
    "tropism.runtime.aggregates": ("distinct", "first", "maximum", "minimum", "quantile", "ratio"),
    "tropism.runtime.batch": ("Batch",),
    "tropism.runtime.closed": ("Closed",),
    "tropism.runtime.handler": ("Expired", "Tick"),
    "tropism.runtime.inject": ("Output", "State", "use"),
    "tropism.runtime.joins": ("join_as_of", "join_interval"),
    "tropism.runtime.later": ("Cancel", "Later"),
    "tropism.runtime.scheduled": ("delayed", "scheduled"),
    "tropism.runtime.pace": ("Provider",),
    "tropism.runtime.retry": ("Retry",),
    "tropism.runtime.service": ("Service",),
    "tropism.runtime.stepped": ("Step",),
    "tropism.runtime.steps": ("Steps",),
    "tropism.runtime.view": ("Reader", "View", "age", "count", "last", "mean", "total"),
    "tropism.runtime.windows": ("session", "sliding", "tumbling"),
}
"""Where names live. Each is imported when it is first asked for: models need numpy, which is an extra, and
the command line wants hardly any of them."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return found


def __dir__() -> list[str]:
    """Return what may be asked for."""
    return sorted({*globals(), *__all__})
