"""Listing and canceling events that are published later."""

import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tropism.app.platform import open_platform, read_settings
from tropism.cli.console import print_json, print_table, say
from tropism.cli.discovery import load_app
from tropism.cli.looking import open_to_look
from tropism.core.cloudevents import cloud_event
from tropism.core.codec import Codec, record_of
from tropism.core.errors import ConflictError, InvalidInputError, NotFoundError, TropismError
from tropism.core.time import iso
from tropism.ports.platform import Platform
from tropism.runtime.later import Delayed
from tropism.runtime.scheduled import SERVICE, Withdrawn
from tropism.runtime.withdrawing import kept_for_later, withdraw


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a list is about; of each service so many."""

    service: str | None = None
    types: tuple[str, ...] = ()
    key: str | None = None
    count: int = 100

    def has(self, each: Delayed) -> bool:
        """Say whether an event is one of them."""
        return (not self.types or each.type in self.types) and self.key in {None, each.lane}


Kept = tuple[str, Delayed]
"""A service, and what it is to publish."""


async def print_list(wanted: Wanted, app: str | None, *, json: bool) -> None:
    """Print what services are to publish later."""
    async with open_to_look(read_settings()) as platform:
        found: list[Kept] = []
        for name in await _services(platform, wanted.service, app):
            count = 0
            async for _, each in kept_for_later(platform.state, name):
                if wanted.has(each):
                    found.append((name, each))
                    count += 1
                if count >= wanted.count:
                    break
    found.sort(key=lambda kept: (kept[1].due_us, kept[0]))
    if json:
        print_json({"count": len(found), "delayed": [_told(*kept) for kept in found]})
        return
    rows = (
        (iso(each.due_us), name, each.id, each.type, each.lane or None, each.name or None)
        for name, each in found
    )
    print_table(("due", "service", "id", "type", "key", "name"), rows, none="No events are kept for later.")


def _told(service: str, each: Delayed) -> dict[str, Any]:
    return {
        "id": each.id,
        "service": service,
        "due": iso(each.due_us),
        "decided": iso(each.when_us),
        "key": each.lane,
        "name": each.name or None,
        "event": cloud_event(each),
    }


async def cancel(ids: Sequence[str], service: str | None, app: str | None, *, json: bool) -> None:
    """Have events not published, and say which are gone and which their service was asked for."""
    async with open_platform(read_settings()) as platform:
        chosen = await _chosen(platform, ids, await _services(platform, service, app))
        canceled: list[str] = []
        asked: list[str] = []
        for name in dict.fromkeys(name for name, _ in chosen):
            mine = {each.id: each for kept, each in chosen if kept == name}
            try:
                canceled += await withdraw(platform, name, mine, holder=_holder())
            except ConflictError:
                await _ask(platform, name, mine)
                asked += mine
    if json:
        print_json({"count": len(canceled) + len(asked), "canceled": canceled, "asked": asked})
        return
    if asked:
        say(f"Service {SERVICE!r} is at work, and was asked to cancel {len(asked)}.")
    if canceled or not asked:
        say(f"{len(canceled)} canceled.")


async def _chosen(platform: Platform, ids: Sequence[str], services: Sequence[str]) -> list[Kept]:
    """Return what ids, or beginnings of them, name. Raises: NotFoundError, InvalidInputError."""
    found: dict[str, dict[str, Kept]] = {id: {} for id in ids}
    for name in services:
        async for _, each in kept_for_later(platform.state, name):
            for id in ids:
                if each.id.startswith(id):
                    found[id][each.id] = (name, each)
    chosen: dict[str, Kept] = {}
    for id, named in found.items():
        if not named:
            raise NotFoundError(
                f"Cannot cancel {id!r}: no event that is kept for later begins so; maybe it is published. "
                f"See 'tropism events delayed list'."
            )
        if id not in named and len(named) > 1:
            raise InvalidInputError(
                f"Cannot tell which event {id!r} means: {len(named)} begin so. "
                f"Name one of {sorted(named)[:5]}."
            )
        one = id if id in named else next(iter(named))
        chosen[one] = named[one]
    return list(chosen.values())


async def _ask(platform: Platform, service: str, kept: Mapping[str, Delayed]) -> None:
    """Have the service ``delayed`` drop what it keeps. Raises: ConflictError if it is another, at work."""
    if service != SERVICE or not all(each.name and each.lane for each in kept.values()):
        raise ConflictError(
            f"Cannot cancel what service {service!r} keeps: it is at work, or was killed a moment ago. "
            f"Stop it first, or have one of its handlers return Cancel(...)."
        )
    codec, now_us = Codec([Withdrawn]), platform.clock.now_us()
    events = [Withdrawn(subject=e.lane, kind=e.type, name=e.name) for e in kept.values()]
    records = [
        record_of(e, codec.encode(e), id=uuid.uuid4().hex, time_us=now_us, source="/tropism/cli")
        for e in events
    ]
    await platform.log.append(records)


async def _services(platform: Platform, service: str | None, app: str | None) -> list[str]:
    """Return who may keep something. Raises: NotFoundError for a service that nobody knows."""
    ran = {name.partition("#")[0] for name, _ in await platform.state.positions()}
    if service is None:
        return sorted(ran)
    if service not in ran and service not in _of_app(app):
        raise NotFoundError(
            f"Cannot find service {service!r}: none of that name has run here. Name one of {sorted(ran)}."
        )
    return [service]


def _of_app(app: str | None) -> list[str]:
    try:
        return [service.name for service in load_app(app).services]
    except TropismError:  # what is kept is looked after without an app, too
        return []


def _holder() -> str:
    return f"{socket.gethostname()}/{os.getpid()}/cancel"
