"""More columns of views: what is read from the entries of a window, one by one."""

from collections.abc import Callable
from typing import Any

from tropism.runtime.view import Aggregate, aggregate
from tropism.runtime.windows import Window

Number = Callable[[Any], float | None]


def first(value: Callable[[Any], Any], *, window: Window | None = None) -> Aggregate:
    """Value of the earliest event; None where there is none. Any JSON value will do."""
    return aggregate("first", value, window)


def minimum(value: Number, *, window: Window | None = None) -> Aggregate:
    """Smallest value, leaving out events where it is None; None where there are none."""
    return aggregate("minimum", value, window)


def maximum(value: Number, *, window: Window | None = None) -> Aggregate:
    """Largest value, leaving out events where it is None; None where there are none."""
    return aggregate("maximum", value, window)


def distinct(value: Callable[[Any], Any], *, window: Window | None = None) -> Aggregate:
    """How many different values, exactly, leaving out None: texts, numbers or truths."""
    return aggregate("distinct", value, window)


def quantile(value: Number, q: float, *, window: Window | None = None) -> Aggregate:
    """The value below which a share ``q`` of the values lie, exactly; between two of them, in proportion."""
    return aggregate("quantile", value, window, q=q)


def ratio(numerator: Number, denominator: Number, *, window: Window | None = None) -> Aggregate:
    """Sum of one value by the sum of another, over events that have both; None where that is nothing."""
    return aggregate("ratio", numerator, window, denominator=denominator)


def each(value: Callable[[Any], Any], *, window: Window | None = None) -> Aggregate:
    """All values, each with its own time, in order."""
    return aggregate("each", value, window)
