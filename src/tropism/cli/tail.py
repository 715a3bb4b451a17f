"""Reading the log for people and pipes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from tropism.app.platform import open_platform, read_settings
from tropism.cli.console import say, visible
from tropism.cli.discovery import load_app, types_of
from tropism.cli.later import instant_of
from tropism.cli.looking import open_to_look
from tropism.core.cloudevents import cloud_event
from tropism.core.envelope import Stored
from tropism.core.errors import NotFoundError
from tropism.core.time import iso
from tropism.ports.log import Cursors, Log, Partition
from tropism.runtime.intake import Intake
from tropism.runtime.streams import Stream
from tropism.runtime.upcasting import with_upcasts
from tropism.runtime.watermarks import FOREVER_US

LAST_COUNT = 20
"""How many events are shown where nothing says where to begin."""

_CHUNK = 1024
_BEGINNING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """What to show."""

    topics: tuple[str, ...]
    types: tuple[str, ...]
    start: str | None
    count: int | None
    follow: bool
    json: bool
    upcast: bool = False


async def print_events(request: Request, app: str | None) -> None:
    """Print the events that a request is for."""
    topics = request.topics or _topics_of_app(app)
    opened = open_platform if request.follow else open_to_look
    async with opened(read_settings()) as platform:
        log = with_upcasts(platform, types_of(load_app(app))).log if request.upcast else platform.log
        await _check(log, request.topics, follow=request.follow)
        await _print(request, _chosen(log, topics, request))


def _topics_of_app(app: str | None) -> tuple[str, ...]:
    kinds = types_of(load_app(app)).types.values()
    return tuple(sorted({kind.event_topic for kind in kinds} - {"tropism"}))


async def _check(log: Log, topics: tuple[str, ...], *, follow: bool) -> None:
    known = {topic for topic, _ in await log.ends(topics)}
    for topic in topics:
        if topic not in known and follow:
            say(f"Topic {topic!r} does not exist yet: waiting for its first event.")
        elif topic not in known:
            raise NotFoundError(
                f"Cannot show topic {topic!r}: it does not exist. A topic is the part of an event's type "
                f"before the first dot, and begins with its first event."
            )


async def _chosen(log: Log, topics: tuple[str, ...], request: Request) -> AsyncIterator[Stored]:
    """Yield what a request is for, in the order in which it became known."""

    def fits(stored: Stored) -> bool:
        return not request.types or stored.record.type in request.types

    if request.start is None and not request.follow:
        for stored in await _last(log, await log.ends(topics), request.count or LAST_COUNT, fits):
            yield stored
        return
    left = request.count
    beginnings = topics if request.follow else ()
    async for stored in _from(log, await _start(log, topics, request), follow=beginnings):
        if fits(stored):
            yield stored
            left = None if left is None else left - 1
            if left == 0:
                return


async def _start(log: Log, topics: tuple[str, ...], request: Request) -> dict[Partition, int]:
    ends = dict(await log.ends(topics))
    if request.start == "start":
        return dict.fromkeys(ends, 0)
    if request.start is None or request.start == "end":
        return ends
    moment_us = instant_of(request.start)
    return {partition: await _first_at(log, partition, end, moment_us) for partition, end in ends.items()}


async def _first_at(log: Log, partition: Partition, end: int, moment_us: int) -> int:
    """Return where a partition reaches a moment: what became known never goes back along it."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        found = (await log.read({partition: middle}, count_max=1)).get(partition)
        if found and found[0].known_us < moment_us:
            low = found[0].offset + 1
        else:
            high = middle
    return low


async def _from(log: Log, cursors: Cursors, *, follow: Sequence[str] = ()) -> AsyncIterator[Stored]:
    """Yield what lies behind the cursors; to follow topics is to wait for more, and for new ones."""
    while True:
        intake = Intake(log, {Stream(*place): offset for place, offset in cursors.items()}, chunk=_CHUNK)
        reached: Cursors = cursors
        while cursors:
            arrivals, _ = await intake.take(FOREVER_US, _CHUNK)
            for *_, stored in arrivals:
                yield stored
            reached = intake.ends
            if not arrivals:
                break
        if not follow:
            return
        await _wait(log, reached)
        cursors = {place: reached.get(place, 0) for place in await log.ends(follow)}


async def _wait(log: Log, reached: Cursors) -> None:
    """Wait for more, and never so long that a topic which begins is seen much later."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_BEGINNING_SECONDS):
            await (log.wait_beyond(reached) if reached else asyncio.Event().wait())


async def _last(log: Log, ends: Cursors, count: int, fits: Callable[[Stored], bool]) -> list[Stored]:
    """Return the last events that fit, reaching further back until none that is later can be missing."""
    back = max(count, _CHUNK)
    while True:
        starts = {partition: max(0, end - back) for partition, end in ends.items()}
        found = [stored async for stored in _from(log, starts) if fits(stored)]
        if not any(starts.values()) or await _are_last(log, starts, found[-count:], count):
            return found[-count:]
        back *= 8


async def _are_last(log: Log, starts: Cursors, found: Sequence[Stored], count: int) -> bool:
    """Say whether all that lies before where partitions were read from is older than what was found."""
    if len(found) < count:
        return False
    oldest_us = min(stored.known_us for stored in found)
    for partition, start in starts.items():
        first = (await log.read({partition: start}, count_max=1)).get(partition) if start else None
        if first and first[0].known_us >= oldest_us:
            return False
    return True


async def _print(request: Request, events: AsyncIterator[Stored]) -> None:
    if request.json and not request.follow:
        await _print_array(events)
        return
    shown = False
    async for stored in events:
        shown = True
        line = msgspec.json.encode(cloud_event(stored.record)).decode() if request.json else _line(stored)
        print(line, flush=request.follow)
    if not shown:
        say("No such events.")


async def _print_array(events: AsyncIterator[Stored]) -> None:
    """Print one JSON document without holding it: a log may be long."""
    separator = "["
    async for stored in events:
        print(separator, msgspec.json.encode(cloud_event(stored.record)).decode(), sep="", end="")
        separator = ",\n"
        await asyncio.sleep(0)
    print("[]" if separator == "[" else "]")


def _line(stored: Stored) -> str:
    record = stored.record
    data = record.data.decode("utf-8", "backslashreplace")
    return visible(f"{iso(record.time_us):<27} {record.type} {record.subject or '-'} {data}")
