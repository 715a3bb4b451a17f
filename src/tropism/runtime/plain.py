"""The usual case, in one loop: new events, each for one handler and for no view."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tropism.core.codec import UNREADABLE
from tropism.runtime.cursor import Progress
from tropism.runtime.handler import Expired, Handler, Shape
from tropism.runtime.intake import Arrival
from tropism.runtime.streams import Stream
from tropism.runtime.work import Delivery, Item


class Plan(NamedTuple):
    """What is done with the events of one type in one stream; without ``decode``, nothing.

    ``shared`` ones are handled only where their keys are for this worker's share. ``only`` is the handler
    of events that are plain: nothing else is done with them.
    """

    decode: Callable[[bytes], Any] | None = None
    fed: bool = False
    handlers: tuple[Handler, ...] = ()
    keyed: bool = True
    odd: bool = False
    shared: bool = False
    only: Handler | None = None


def is_plain(handler: Handler) -> bool:
    """Say whether a handler needs nothing but the event."""
    needs = handler.injections or handler.many or handler.is_timed or handler.provider is not None
    if needs or handler.guarantee == "at_most_once":
        # What is handled at most once is committed before it is called.
        return False
    return handler.shape is Shape.ONE and Expired not in handler.events


def only_plain(plan: Plan) -> Plan:
    """Return a plan that says which handler its events are for, if for one and nothing else."""
    if plan.decode is None or plan.fed or plan.odd or plan.shared or len(plan.handlers) != 1:
        return plan
    (handler,) = plan.handlers
    # What is handled at most once is committed before it is called, alone.
    return plan if handler.guarantee == "at_most_once" else plan._replace(only=handler)


def plain_deliveries(
    arrivals: Sequence[Arrival],
    plans: Mapping[Stream, Mapping[str, Plan]],
    progress: Mapping[Stream, Progress],
    now_us: int | None,
    sequence: int,
) -> list[Delivery] | None:
    """Return the deliveries of arrivals, in order, numbered from ``sequence``; None where any is not plain.

    Nothing has happened then but work, and whoever knows of all cases begins anew.
    """
    found: list[Delivery] = []
    last: Stream | None = None
    kinds: Mapping[str, Plan] = {}
    opened: Mapping[int, None] = {}
    for time_us, stream, stored in arrivals:
        if stream is not last:
            last, kinds, opened = stream, plans[stream], progress[stream].opened
        record, offset = stored.record, stored.offset
        plan = kinds.get(record.type)
        if plan is None or plan.decode is None or plan.only is None or offset not in opened:
            return None
        try:
            event = plan.decode(record.data)
        except UNREADABLE:
            return None
        as_of_us = time_us if now_us is None else now_us
        item = Item(None, time_us, as_of_us, stream, offset, record, event, sequence, 1)
        sequence += 1
        # Without a key there is no order to keep: a lane each.
        lane = record.subject or ("" if plan.keyed else f"\0{record.id}")
        found.append(Delivery(item, plan.only, lane))
    return found
