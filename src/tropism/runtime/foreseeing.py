"""Telling resources which events are about to be handled, so that they can get ready for many at once."""

import asyncio
from collections.abc import Mapping, Sequence

from tropism.runtime.handler import Handler
from tropism.runtime.inject import Foreseeing, Opened
from tropism.runtime.service import Service
from tropism.runtime.view import View
from tropism.runtime.work import Delivery, Item

EVENTS_AT_ONCE = 256
"""After so many events, others have their turn in the event loop."""

Foreseers = Mapping[Handler, Sequence[Foreseeing]]
"""What is to be told of the events of a handler."""


def foreseers_of(service: Service, opened: Mapping[str, Opened]) -> Foreseers:
    """Return which resources handlers of single events are given that get ready for what comes."""
    found: dict[Handler, list[Foreseeing]] = {}
    for handler in service.handlers:
        if handler.many or handler.is_timed:
            continue
        for injection in handler.injections:
            if not isinstance(injection.source, View | str):
                given = opened[injection.source.name]
                if isinstance(given, Foreseeing):
                    found.setdefault(handler, []).append(given)
    return found


async def foresee(foreseers: Foreseers, deliveries: Sequence[Delivery]) -> None:
    """Tell resources of events that were let in and whose handlers are yet to be called.

    What failed before is left out: if it takes the process with it, that is to be charged to its own call.
    """
    told: dict[Foreseeing, list[Item]] = {}
    for delivery in deliveries:
        for given in () if delivery.attempts else foreseers.get(delivery.handler, ()):
            told.setdefault(given, []).append(delivery.item)
    for given, items in told.items():
        # Alone, an event is asked about as soon as this could be done.
        for start in range(0, len(items) if len(items) > 1 else 0, EVENTS_AT_ONCE):
            some = items[start : start + EVENTS_AT_ONCE]
            given.foresee([item.envelope for item in some], [item.as_of_us for item in some])
            await asyncio.sleep(0)
