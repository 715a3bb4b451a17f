"""Events that were not handled, with cause and history: dead letters, and those in quarantine."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec

from tropism.core.envelope import Envelope, Record, derived_id
from tropism.core.errors import RefusedError, plain, text_of
from tropism.core.event import topic_of
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, Lease, Position, State, Write
from tropism.runtime.hops import HOPS
from tropism.runtime.journal import forget_steps, scope_of

NAMESPACE = "dead-letters"

QUARANTINE = "quarantine"
"""Where events are kept that a handler refused."""

CONSUMER = "tropism-dead-letters"
"""Who holds the lease while dead letters are moved."""

CAUSE_CHARS_MAX = 4_000
"""So much is kept of what an error says: it may tell all that it met, and a letter must fit any store."""

VIEW = "view "
"""What stands before a view's name, where a view and no handler gave up on an event."""


class DeadLetter(msgspec.Struct, frozen=True):
    """An event that a handler gave up on, why, and what was tried; with ``evidence``, one that it refused.

    ``handler`` is empty where no handler was reached, because the bytes could not be decoded. A view whose
    functions raise gives up at once, as ``view NAME``.
    """

    id: str
    service: str
    handler: str
    cause: str
    history: list[str]
    attempts: int
    failed_us: int
    record: Record
    evidence: dict[str, Any] | None = None

    @property
    def namespace(self) -> str:
        """Where it is kept."""
        return NAMESPACE if self.evidence is None else QUARANTINE


def letter_id(event: Envelope[Any] | Record, who: str, topics: Collection[str]) -> str:
    """Return the id of a letter: the event's, and who gave up on it.

    Ids are unique in a topic only: with who takes events of several ``topics``, the topic goes along.
    """
    parts = (event.id, who, topic_of(event.type) if len(topics) > 1 else "")
    return "/".join(part for part in parts if part)


def cause_of(error: Exception) -> str:
    """Return why an event is given up, as it is kept."""
    if isinstance(error, RefusedError):
        told = plain(error.cause) if isinstance(error.cause, str) else text_of(error)
    else:
        told = f"{type(error).__name__}: {text_of(error)}"
    return told if len(told) <= CAUSE_CHARS_MAX else f"{told[:CAUSE_CHARS_MAX]} ..."


def write_of(letter: DeadLetter) -> Write:
    """Return the write that stores a letter."""
    return Write(letter.namespace, f"{letter.service}/{letter.id}", msgspec.msgpack.encode(letter))


def forget(letter: DeadLetter) -> Write:
    """Return the write that removes a letter."""
    return Write(letter.namespace, f"{letter.service}/{letter.id}", None)


async def dead_letters(
    state: State, service: str = "", *, count_max: int = 1000, namespace: str = NAMESPACE
) -> list[DeadLetter]:
    """Return the dead letters of a service, or of all, in order of service and id; or what else is kept."""
    found: list[DeadLetter] = []
    after: str | None = None
    while len(found) < count_max:
        page = await state.scan(namespace, prefix=f"{service}/" if service else "", after=after)
        if not page:
            break
        found.extend(msgspec.msgpack.decode(entry.value, type=DeadLetter) for entry in page)
        after = page[-1].key
    return found[:count_max]


def redrive_topic(service: str) -> str:
    """Return the topic through which redriven events reach one service and no other."""
    return f"redrive-{service}"


def redriven(letter: DeadLetter, released: str = "") -> Record:
    """Return a letter's event as a new arrival, for the handler that gave up on it.

    Its id differs from the first one's, so no deduplication swallows it, and follows from the letter alone:
    whoever redrives that one again, after a crash between log and state, adds nothing. Its hops count from
    there on: whoever redrives an event has looked at it. Out of quarantine it carries what was said when it
    was ``released``.
    """
    old = letter.record
    extensions = {"redriveof": old.id, **(old.extensions or {}), "redrivehandler": letter.handler}
    extensions.pop(HOPS, None)
    if letter.evidence is not None:
        extensions["released"] = released or "released"
    return Record(
        derived_id(old.id, letter.id, letter.failed_us, old.time_us),
        old.type,
        redrive_topic(letter.service),
        old.subject,
        old.time_us,
        old.data,
        old.source,
        extensions,
    )


async def redrive(
    platform: Platform, letters: Sequence[DeadLetter], *, released: str = ""
) -> list[DeadLetter]:
    """Take letters away, and put their events before the handlers that gave up on them.

    Returns those that were still there. Where log and state commit together it happens wholly or not at
    all; elsewhere an event may be put there twice, under one id.

    Raises: ConflictError while another process moves dead letters.
    """
    return await take_away(platform, letters, lambda letter: redriven(letter, released), steps=True)


async def discard(platform: Platform, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    """Take letters away for good, and return those that were still there.

    The steps that their handlers had run are forgotten with them.

    Raises: ConflictError while another process moves dead letters.
    """
    return await take_away(platform, letters, None)


async def take_away(
    platform: Platform,
    letters: Sequence[DeadLetter],
    record_of: Callable[[DeadLetter], Record] | None,
    *,
    steps: bool = False,
) -> list[DeadLetter]:
    """Take letters away, adding a record to the log for each; return those that were still there.

    Where log and state commit together it happens wholly or not at all; elsewhere the records come first.
    The ``steps`` that their handlers had run stay, or are forgotten.

    Raises: ConflictError while another process moves dead letters.
    """
    together = platform.log.capabilities.commit_domain == platform.state.commit_domain
    async with _leased(platform.state) as (lease, position):
        there = await _still_there(platform.state, letters)
        records = [record_of(letter) for letter in there] if record_of is not None else []
        if records and not together:
            await platform.log.append(records)
        writes = [forget(letter) for letter in there]
        for letter in there if not steps else ():
            scope = scope_of(letter.handler, letter.record)
            writes += await forget_steps(platform.state, letter.service, scope)
        await platform.state.commit(Commit(lease, position, writes, records if together else ()))
    return there


@asynccontextmanager
async def _leased(state: State) -> AsyncIterator[tuple[Lease, Position]]:
    lease, position = await state.acquire(CONSUMER, f"redrive/{uuid4().hex}", lease_seconds=30.0)
    try:
        yield lease, position
    except Exception:
        await state.release(lease)
        raise
    # Who is cancelled has no time to wait for a store: the lease runs out by itself.
    await state.release(lease)


async def _still_there(state: State, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
    """Return the letters that nobody moved since they were read; to be asked under the lease."""
    there: set[tuple[str, str]] = set()
    for namespace in {letter.namespace for letter in letters}:
        keys = [forget(letter).key for letter in letters if letter.namespace == namespace]
        found = await state.get(namespace, keys)
        there |= {(namespace, key) for key, data in zip(keys, found, strict=True) if data is not None}
    return [letter for letter in letters if (letter.namespace, forget(letter).key) in there]
