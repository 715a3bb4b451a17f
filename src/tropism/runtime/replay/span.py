"""Which part of the log is replayed: exact offsets, decided once."""

from collections.abc import Mapping, Sequence

import msgspec

from tropism.core.envelope import Stored
from tropism.core.errors import InvalidInputError, NotFoundError
from tropism.core.time import MICROSECONDS, iso
from tropism.ports.log import Log, Partition
from tropism.runtime.cursor import name_of

Place = int | Mapping[str, int] | None
"""A moment in microseconds, or offsets by ``topic/number``; None for where the log begins or ends now."""


SLACK_US = 86_400 * MICROSECONDS
"""What came of an event bears the time of who handled it: earlier, by as much as clocks differ."""


class Bounds(msgspec.Struct, frozen=True):
    """One partition: what it holds from ``first`` on, and what of it is handled anew."""

    topic: str
    number: int
    first: int
    start: int
    end: int


class Span(msgspec.Struct, frozen=True):
    """A range of the log: ``begin_us`` is when its facts begin, the others bound what is handled.

    What lies before ``start`` of a partition feeds views and is not handled.
    """

    bounds: list[Bounds]
    begin_us: int
    from_us: int
    until_us: int

    @property
    def ends(self) -> dict[Partition, int]:
        """Where every partition ends, for this range."""
        return {(each.topic, each.number): each.end for each in self.bounds}

    @property
    def starts(self) -> dict[Partition, int]:
        """Where handling begins in every partition."""
        return {(each.topic, each.number): each.start for each in self.bounds}

    @property
    def size(self) -> int:
        """How many offsets are handled; some logs leave gaps."""
        return sum(max(0, each.end - each.start) for each in self.bounds)


async def span_of(
    log: Log, handled: Sequence[str], fed: Sequence[str], start: Place, until: Place, *, what: str
) -> Span:
    """Return the range of topics between two places: from the first, and up to just before the second.

    ``fed`` topics only feed views. Raises: InvalidInputError for a range that is empty, reversed or not
    there; NotFoundError where no topic exists, or retention took what is asked for.
    """
    ends = await log.ends(dict.fromkeys((*handled, *fed)))
    if not any(topic in handled for topic, _ in ends):
        raise NotFoundError(
            f"Cannot replay {what}: none of its topics {sorted(handled)} exists. "
            f"Run the app where its log is, or name the log with TROPISM_LOG."
        )
    if isinstance(start, int) and isinstance(until, int) and until <= start:
        raise InvalidInputError(
            f"Cannot replay {what}: its range ends at {iso(until)}, not after its begin at {iso(start)}. "
            f"Give a later --until."
        )
    _check_names(ends, (start, until), what)
    bounds = [await _bounds(log, where, end, start, until, what) for where, end in sorted(ends.items())]
    bounds = [_unhandled(each) if each.topic not in handled else each for each in bounds]
    if not any(each.start < each.end for each in bounds):
        raise InvalidInputError(
            f"Cannot replay {what}: no event of {sorted(handled)} lies in this range. "
            f"Widen it with --from or --until."
        )
    return Span(bounds, *await _times(log, bounds, start, until))


async def _bounds(log: Log, where: Partition, end: int, start: Place, until: Place, what: str) -> Bounds:
    head = await _at(log, where, 0)
    first = end if head is None else head.offset
    low = await _offset(log, where, start, end, default=first, absent=end, what=what)
    if start is not None and head is not None and first > 0 and _is_gone(start, head, low, where):
        raise NotFoundError(
            f"Cannot replay {what}: {name_of(where)!r} begins at offset {first}, known at "
            f"{iso(head.known_us)}; what was before is no longer kept. Begin there, or with --from start."
        )
    high = await _offset(log, where, until, end, default=end, absent=low, what=what)
    if isinstance(start, Mapping) and isinstance(until, Mapping) and high < low:
        raise InvalidInputError(
            f"Cannot replay {what}: in {name_of(where)!r} it begins at offset {low} and ends before {high}. "
            f"Give a later --until."
        )
    return Bounds(*where, first, max(low, first), max(high, first))


def _is_gone(start: int | Mapping[str, int], head: Stored, low: int, where: Partition) -> bool:
    if isinstance(start, int):
        return start < head.known_us
    return name_of(where) in start and low < head.offset


async def _offset(
    log: Log, where: Partition, place: Place, end: int, *, default: int, absent: int, what: str
) -> int:
    if place is None:
        return default
    if isinstance(place, int):
        return await first_at(log, where, end, place)
    asked = place.get(name_of(where), absent)
    if not 0 <= asked <= end:
        raise InvalidInputError(
            f"Cannot replay {what}: offset {asked} is not in {name_of(where)!r}, which holds 0 to {end - 1}. "
            f"Name an offset of it."
        )
    return asked


def _check_names(ends: Mapping[Partition, int], places: Sequence[Place], what: str) -> None:
    known = {name_of(partition) for partition in ends}
    for place in places:
        unknown = sorted(set(place) - known) if isinstance(place, Mapping) else []
        if unknown:
            raise InvalidInputError(
                f"Cannot replay {what}: it reads no partition {unknown[0]!r}. Name some of {sorted(known)}."
            )


def _unhandled(bounds: Bounds) -> Bounds:
    return msgspec.structs.replace(bounds, start=bounds.end)


async def _times(log: Log, bounds: Sequence[Bounds], start: Place, until: Place) -> tuple[int, int, int]:
    """Return when the facts begin, and the moments from and up to which something is handled."""
    heads = [await _at(log, (each.topic, each.number), each.first) for each in bounds]
    begin_us = min(head.known_us for head in heads if head is not None)
    ranges = [each for each in bounds if each.start < each.end]
    firsts = [await _at(log, (each.topic, each.number), each.start) for each in ranges]
    from_us = start if isinstance(start, int) else min(s.known_us for s in firsts if s is not None)
    if isinstance(until, int):
        return begin_us, from_us, until - 1
    lasts = [await _last(log, each) for each in ranges]
    return begin_us, from_us, max([from_us, *lasts])


async def _last(log: Log, bounds: Bounds) -> int:
    """Return when the last record of a range was known; offsets may have gaps, so the end may hold none."""
    where, back = (bounds.topic, bounds.number), 1
    while True:
        at = max(bounds.start, bounds.end - back)
        page = (await log.read({where: at}, count_max=back)).get(where, ())
        inside = [stored.known_us for stored in page if stored.offset < bounds.end]
        if inside or at == bounds.start:
            return max(inside, default=0)
        back *= 8


async def _at(log: Log, where: Partition, offset: int) -> Stored | None:
    page = (await log.read({where: offset}, count_max=1)).get(where, ())
    return page[0] if page else None


async def first_at(log: Log, where: Partition, end: int, moment_us: int) -> int:
    """Return the first offset that was known at a moment or later, by bisection."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        found = await _at(log, where, middle)
        if found is not None and found.known_us < moment_us:
            low = found.offset + 1
        else:
            high = middle
    return low


async def first_of_outputs(log: Log, where: Partition, end: int, span: Span) -> int:
    """Return the first offset at which something may lie that came of a range's events."""
    return await first_at(log, where, end, span.from_us - SLACK_US)
