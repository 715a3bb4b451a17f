"""How far an event is from the one that began it, and when that is too far.

Services that answer each other's events may do so for ever. Where that can happen, each output says how many
outputs in a row led to it, and beyond a budget it is not published: its cause goes to the dead letters.
"""

import math
from collections.abc import Mapping

from tropism.core.errors import InvalidInputError

HOPS = "hops"
"""The CloudEvents extension attribute that counts them."""

HOPS_MAX = 100
"""The budget where nothing else is said: more than people design, and soon reached by a circle."""


class LoopError(InvalidInputError):
    """An event has come further than its budget allows; trying again would change nothing."""


def hops_of(extensions: Mapping[str, str] | None) -> int:
    """Return how many outputs in a row led to an event; what is no number counts as none."""
    text = None if extensions is None else extensions.get(HOPS)
    return int(text) if text and len(text) < 10 and text.isascii() and text.isdigit() else 0


def too_far(doing: str, hops: int, budget: float, path: str = "") -> LoopError:
    """Return why something is not done that would be so many hops away, naming the path."""
    along = f", along {path}" if path else ""
    return LoopError(
        f"Cannot {doing}: it would be {hops} hops from the event that began it, more than {budget:g}{along}. "
        f"End the circle, or raise hops_max."
    )


def check_budget(what: str, hops_max: float | None) -> None:
    """Refuse a budget that allows nothing. Raises: InvalidInputError."""
    if hops_max is None or hops_max == math.inf:
        return
    if hops_max < 1 or hops_max != int(hops_max):
        raise InvalidInputError(
            f"Cannot give {what} a budget of {hops_max} hops: that is no count from 1. "
            f"Write one, or math.inf for none."
        )
