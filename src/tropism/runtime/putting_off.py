"""Putting events off because somebody is busy."""

from collections.abc import Sequence

from tropism.core.errors import BusyError, finite_seconds
from tropism.runtime.work import Delivery

PAUSE_SECONDS = 1.0
"""How long an event is put off where nobody said how long."""


def put_off_seconds(deliveries: Sequence[Delivery], error: Exception, now: float) -> float | None:
    """Return how long to put a call off that failed because somebody is busy; None if it counts as a failure.

    Being put off costs no attempt, but only while the handler has patience; and what is called at most once
    is not called again.
    """
    if not isinstance(error, BusyError) or any(delivery.once for delivery in deliveries):
        return None
    for delivery in deliveries:
        if delivery.busy_since is None:
            delivery.busy_since = now
    retry = deliveries[0].handler.retry.of(error)
    since = min(now if d.busy_since is None else d.busy_since for d in deliveries)
    if now - since > retry.patience.total_seconds():
        return None
    for delivery in deliveries:
        if delivery.charged:
            # It was counted before it was made; as it turned out, it was not this event's doing.
            delivery.errors.pop()
            delivery.charged = False
    after = finite_seconds(error.retry_after_seconds)
    pause = after if after is not None and after > 0 else PAUSE_SECONDS
    return min(pause, retry.longest.total_seconds())
