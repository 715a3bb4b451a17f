"""Reading the log for people and pipes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec

from tropism.app.platform import open_platform, read_settings
from tropism.cli.console import say
from tropism.cli.discovery import load_app, types_of
from tropism.cli.publish import instant_of
from tropism.core.codec import cloud_event
from tropism.core.envelope import Stored
from tropism.core.errors import NotFoundError
from tropism.core.time import iso
from tropism.ports.log import Cursors, Log, Partition
from tropism.runtime.intake import Intake
from tropism.runtime.streams import Stream
from tropism.runtime.watermarks import FOREVER_US

LAST_COUNT = 20
"""How many events are shown where nothing says where to begin."""

_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What to show."""

    topics: tuple[str, ...]
    types: tuple[str, ...]
    start: str | None
    count: int | None
    follow: bool
    json: bool


async def print_events(request: Request, app: str | None) -> None:
    """Print the events that a request is for."""
    topics = request.topics or _topics_of_app(app)
    async with open_platform(read_settings()) as platform:
        log = platform.log
        if request.follow and not await log.ends(topics):
            # A topic begins with its first event: until then there is nothing to wait on.
            await log.create_topics(dict.fromkeys(topics, 4))
        await _check(log, request.topics)
        await _print(request, _chosen(log, topics, request))


def _topics_of_app(app: str | None) -> tuple[str, ...]:
    kinds = types_of(load_app(app)).types.values()
    return tuple(sorted({kind.event_topic for kind in kinds} - {"tropism"}))


async def _check(log: Log, topics: tuple[str, ...]) -> None:
    known = {topic for topic, _ in await log.ends(topics)}
    for topic in topics:
        if topic not in known:
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
    async for stored in _from(log, await _start(log, topics, request), follow=request.follow):
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


async def _from(log: Log, cursors: Cursors, *, follow: bool) -> AsyncIterator[Stored]:
    streams = {Stream(*partition): offset for partition, offset in cursors.items()}
    intake = Intake(log, streams, chunk=_CHUNK)
    while True:
        arrivals, _ = await intake.take(FOREVER_US, _CHUNK)
        for *_, stored in arrivals:
            yield stored
        if arrivals:
            continue
        if not follow:
            return
        await log.wait_beyond(intake.ends)


async def _last(log: Log, ends: Cursors, count: int, fits: Callable[[Stored], bool]) -> list[Stored]:
    """Return the last events that fit, reaching further back until there are enough."""
    back = max(count, _CHUNK)
    while True:
        starts = {partition: max(0, end - back) for partition, end in ends.items()}
        found = [stored async for stored in _from(log, starts, follow=False) if fits(stored)]
        if len(found) >= count or not any(starts.values()):
            return found[-count:]
        back *= 8


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
    return f"{iso(record.time_us):<27} {record.type} {record.subject or '-'} {data}"
