"""Tropism: AI-native enterprise software, with the loop from event to better model closed."""

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

__all__ = [
    "App",
    "Batch",
    "Envelope",
    "Event",
    "Expired",
    "Output",
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
