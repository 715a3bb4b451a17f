"""The registry of schemas: what every event type of an app looked like, version by version, in the log.

It is a projection of one topic. Whoever starts an app adds what is new there, once, or is refused where the
events already in the log could not be read.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from uuid import uuid4

import msgspec

from tropism.core.codec import record_of
from tropism.core.envelope import Record, Stored
from tropism.core.errors import ConflictError
from tropism.core.event import Event
from tropism.core.schema.canonical import digest_of, schema_of
from tropism.core.schema.modes import Finding, Version, findings, refusal
from tropism.ports.log import Log
from tropism.ports.platform import Platform

CONSUMER = "tropism-schemas"
"""Who holds the lease while schemas are registered."""

LEASE_SECONDS = 10.0
WAIT_SECONDS = 0.2
PAGE = 1000

OURS = ("tropism.runtime.", "tropism.models.", "tropism.whatif.")
"""Modules whose events change with Tropism's own versions."""


class SchemaRegistered(Event, type="schemas.registered.v1", key="name"):
    """An event type has looked so since this version."""

    name: str
    version: int
    digest: str
    mode: str
    schema: dict[str, Any]


TOPIC = SchemaRegistered.event_topic
Registry = Mapping[str, Sequence[Version]]
"""The versions of every event type, the oldest first."""

_DECODER = msgspec.json.Decoder(SchemaRegistered)
_ENCODE = msgspec.json.Encoder(order="deterministic").encode


class Declared(NamedTuple):
    """An event type as an app declares it."""

    event_type: str
    schema: dict[str, Any]
    digest: str
    mode: str


def declared(types: Iterable[type[Event]], modes: Mapping[str, str], default: str) -> list[Declared]:
    """Return what an app declares of its own event types, by name. Raises: as `schema_of` does."""
    own = sorted((kind for kind in types if not kind.__module__.startswith(OURS)), key=lambda k: k.event_type)
    found = []
    for kind in own:
        schema = schema_of(kind)
        mode = modes.get(kind.event_type, default)
        found.append(Declared(kind.event_type, schema, digest_of(schema), mode))
    return found


def registry_of(stored: Iterable[Stored]) -> dict[str, list[Version]]:
    """Return the registry that records tell of, in their order.

    Where two processes gave one number, the first one's counts: the other sees that, and takes the next.
    """
    found: dict[str, list[Version]] = {}
    for each in stored:
        if each.record.type != SchemaRegistered.event_type:
            continue
        told = _DECODER.decode(each.record.data)
        versions = found.setdefault(told.name, [])
        if told.version == len(versions) + 1 and all(told.digest != known.digest for known in versions):
            versions.append(Version(told.version, told.digest, told.schema, told.mode))
    return dict(sorted(found.items()))


async def read_registry(log: Log) -> dict[str, list[Version]]:
    """Return the registry of a log; empty where no app was started on it yet."""
    cursors = dict.fromkeys(await log.ends([TOPIC]), 0)
    stored: list[Stored] = []
    while True:
        pages = await log.read(cursors, count_max=PAGE) if cursors else {}
        if not any(pages.values()):
            return registry_of(stored)
        stored.extend(each for page in pages.values() for each in page)
        cursors |= {where: page[-1].offset + 1 for where, page in pages.items() if page}


def broken(types: Sequence[Declared], registry: Registry) -> list[Finding]:
    """Return what declared types break of a registry, each by its own mode."""
    return [
        found
        for each in types
        for found in findings(each.event_type, each.schema, registry.get(each.event_type, ()), each.mode)
    ]


def news(doing: str, types: Sequence[Declared], registry: Registry) -> list[SchemaRegistered]:
    """Return what is to be added to a registry. Raises: InvalidInputError if a type's mode forbids it."""
    found = broken(types, registry)
    if found:
        raise refusal(doing, found)
    return [
        SchemaRegistered(
            name=each.event_type,
            version=len(registry.get(each.event_type, ())) + 1,
            digest=each.digest,
            mode=each.mode,
            schema=each.schema,
        )
        for each in types
        if all(each.digest != known.digest for known in registry.get(each.event_type, ()))
    ]


async def register(platform: Platform, app: str, types: Sequence[Declared]) -> list[SchemaRegistered]:
    """Add to the registry what is new of an app's types, and return it; mostly there is nothing.

    Processes that start at once take turns, so that each version is added once.

    Raises: InvalidInputError if a type changed in a way that its mode forbids, and then nothing was added.
    """
    doing = f"start app {app!r}"
    if not news(doing, types, await read_registry(platform.log)):
        return []
    async with _turn(platform):
        added = news(doing, types, await read_registry(platform.log))
        if added:
            if not await platform.log.ends([TOPIC]):
                await platform.log.create_topics({TOPIC: 1})
            await platform.log.append([_record(each, app, platform.clock.now_us()) for each in added])
    return added


def _record(event: SchemaRegistered, app: str, now_us: int) -> Record:
    id = f"{event.name}/{event.version}/{event.digest}"
    return record_of(event, _ENCODE(event), id=id, time_us=now_us, source=app)


@asynccontextmanager
async def _turn(platform: Platform) -> AsyncIterator[None]:
    """Wait until no other process registers schemas: one that died is waited for until its lease ends."""
    holder = f"schemas/{uuid4().hex}"
    while True:
        try:
            lease, _ = await platform.state.acquire(CONSUMER, holder, lease_seconds=LEASE_SECONDS)
        except ConflictError:
            await platform.clock.sleep(WAIT_SECONDS)
        else:
            break
    try:
        yield
    finally:
        await platform.state.release(lease)
