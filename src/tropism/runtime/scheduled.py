"""Events that somebody outside of any handler wants published later: a service that keeps them until then."""

from datetime import datetime
from typing import Any

import msgspec

from tropism.core.envelope import Envelope
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event, key_of
from tropism.core.forms import encoded, form_of
from tropism.core.time import instant_us, moment
from tropism.runtime.later import Cancel, Later
from tropism.runtime.service import Service

SERVICE = "delayed"


class Scheduled(Event, type="delayed.scheduled.v1", key="subject"):
    """An event of another type is to be published later; with a name, it replaces what waits under it."""

    subject: str
    kind: str
    data: msgspec.Raw
    due_us: int
    name: str | None = None


class Withdrawn(Event, type="delayed.withdrawn.v1", key="subject"):
    """What was scheduled under a key, of a type and name, is not to be published any more."""

    subject: str
    kind: str
    name: str


def scheduled(event: Event, at: datetime, *, name: str | None = None) -> Scheduled:
    """Return what publishes an event at a moment, where the app has the service ``delayed``."""
    data = msgspec.Raw(encoded(event))
    return Scheduled(
        subject=key_of(event), kind=type(event).event_type, data=data, due_us=instant_us(at), name=name
    )


def delayed(*kinds: type[Event]) -> Service:
    """Return a service that publishes, when they are due, events of these types that were scheduled.

    ``tropism events publish --at`` and ``--in`` schedule them, and so does whoever publishes ``Scheduled``.
    """
    if not kinds:
        raise InvalidInputError("Cannot delay events: no type is named. Write delayed(OrderExpired).")
    known = {kind.event_type: kind for kind in kinds}
    service = Service(SERVICE)

    @service.on(Scheduled, emits=kinds)
    def keep(envelope: Envelope[Scheduled]) -> Later[Any]:
        event = envelope.data
        found = form_of(_known(known, event.kind)).decode(bytes(event.data))
        # Without a name it is known by its id: then it can be withdrawn, and replaces nothing.
        name = event.name or (envelope.id if envelope.subject else None)
        return Later(found, at=moment(event.due_us), name=name)

    @service.on(Withdrawn)
    def drop(event: Withdrawn) -> Cancel:
        return Cancel(_known(known, event.kind), event.name)

    return service


def _known(known: dict[str, type[Event]], name: str) -> type[Event]:
    if name not in known:
        raise InvalidInputError(
            f"Cannot publish event type {name!r} later: only {sorted(known)} were named. "
            f"Add it to delayed(...)."
        )
    return known[name]
