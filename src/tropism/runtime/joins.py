"""Joins as of: an event with what another stream said under a key, at its moment or around it.

Both are given to a handler by ``use(...)``, and read views of their own: only facts that were known before
the event, so that a replay in event time joins the same. Facts of the event's own subject are included, for
that is often what is joined.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import msgspec

from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.core.forms import encoded, form_of, is_pydantic
from tropism.core.time import to_us
from tropism.runtime.aggregates import each
from tropism.runtime.inject import Readers, Site, Subject
from tropism.runtime.view import View, last

T = TypeVar("T", bound=Event)

_NO_TIME = timedelta(0)


@dataclass(frozen=True, slots=True, eq=False)
class Join:
    """What ``join_as_of`` and ``join_interval`` give: a resource that reads a view, for one event each."""

    name: str
    key: Callable[[Any], str | None]
    view: View
    pick: Callable[[Any, int], Any]
    """Returns what the handler is given, of what the view holds, for an event of a time."""
    is_read_as_of_one: bool = True

    @property
    def views(self) -> tuple[View, ...]:
        """Views it reads."""
        return (self.view,)

    @property
    def emits(self) -> tuple[type[Event], ...]:
        """Types of the events it adds: none."""
        return ()

    async def open(self, site: Site) -> "_Opened":
        """Start work in one worker."""
        return _Opened(self, site.readers({self.name: self.view}))


@dataclass(frozen=True, slots=True)
class _Opened:
    """A join at work in one worker."""

    join: Join
    readers: Readers

    def bind(self, subject: Subject) -> Any:
        """Return what is joined with the event at hand."""
        envelope = subject.envelopes[0]
        key = self.join.key(envelope.data)
        if key is None:
            return self.join.pick(None, envelope.time_us)
        read = self.readers.at(subject.as_of_us[0], None)[self.join.name]
        return self.join.pick(read(key)[0], envelope.time_us)

    def commit(
        self, _: Sequence[Event], __: int | None
    ) -> tuple[Mapping[str, bytes | None], Sequence[tuple[int, Event]]]:
        """Add nothing to a commit."""
        return {}, ()


def join_as_of(
    name: str,
    kind: type[T],
    *,
    by: Callable[[T], str | None],
    key: Callable[[Any], str | None],
    tolerance: timedelta | None = None,
    lateness: timedelta | None = None,
) -> Join:
    """Give a handler the latest event of another stream under a key, as of its own; None if there is none.

    ``by`` is the key of the other stream's events, ``key`` that which the handler's event asks for. One that
    is older than the ``tolerance`` counts as absent. With a ``lateness`` both go by their own times: given is
    the newest at or before the time of the handler's event, even where either came late by as much.

    Raises: InvalidInputError for a lateness without a tolerance.
    """
    if lateness is None:
        latest = View(name, kind, by=by, own=True, event=last(_packed, ttl=tolerance))
        return Join(name, key, latest, partial(_unpacked, kind))
    if tolerance is None:
        raise InvalidInputError(
            f"Cannot join {name!r}: with a lateness of {lateness} and no tolerance, all that ever was would "
            f"have to be kept. Give it one, such as tolerance=hours(2)."
        )
    around = _around(name, kind, by, tolerance, lateness)
    return Join(name, key, around, partial(_newest, kind, to_us(tolerance)))


def join_interval(
    name: str,
    kind: type[T],
    *,
    by: Callable[[T], str | None],
    key: Callable[[Any], str | None],
    before: timedelta,
    after: timedelta = _NO_TIME,
    lateness: timedelta = _NO_TIME,
) -> Join:
    """Give a handler all events of another stream under a key whose own time is near that of its event.

    That is from ``before`` it to ``after`` it, in order of time, and known before the handler's event: what
    lies after it is found where that came late itself. Either may come late by ``lateness``. To find every
    pair of two streams once, whichever comes first, join from both sides.

    Raises: InvalidInputError for an interval that is none.
    """
    if min(before, after, lateness) < _NO_TIME or not before + lateness:
        raise InvalidInputError(
            f"Cannot join {name!r}: it reaches from {before} before an event to {after} after it, with a "
            f"lateness of {lateness}. Let none be negative, and 'before' or 'lateness' be more than nothing."
        )
    around = _around(name, kind, by, before, lateness)
    return Join(name, key, around, partial(_within, kind, to_us(before), to_us(after)))


def _packed(event: Event) -> bytes:
    # A pydantic model is known to pydantic alone.
    return encoded(event) if is_pydantic(type(event)) else msgspec.msgpack.encode(event)


def _plain(kind: type[T], data: bytes) -> T:
    if is_pydantic(kind):
        found: T = form_of(kind).decode(data)
        return found
    return msgspec.msgpack.decode(data, type=kind)


def _around(
    name: str, kind: type[T], by: Callable[[T], str | None], before: timedelta, lateness: timedelta
) -> View:
    """Return a view of all events, as far back as one that comes late itself asks for."""
    return View(
        name, kind, by=by, own=True, lateness=lateness, window=before + lateness, events=each(_packed)
    )


def _unpacked(kind: type[T], value: bytes | None, _: int) -> T | None:
    return None if value is None else _plain(kind, value)


def _newest(
    kind: type[T], tolerance_us: int, values: Sequence[tuple[int, bytes]] | None, us: int
) -> T | None:
    found = (data for at_us, data in reversed(values or ()) if us - tolerance_us <= at_us <= us)
    return _unpacked(kind, next(found, None), us)


def _within(
    kind: type[T], before_us: int, after_us: int, values: Sequence[tuple[int, bytes]] | None, us: int
) -> list[T]:
    near = [data for at_us, data in values or () if us - before_us <= at_us <= us + after_us]
    return [_plain(kind, data) for data in near]
