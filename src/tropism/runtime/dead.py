"""Events that could not be handled, with cause and history."""

from collections.abc import Sequence
from uuid import uuid4

import msgspec

from tropism.core.envelope import Record, derived_id
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, State, Write

NAMESPACE = "dead-letters"

CONSUMER = "tropism-dead-letters"
"""Who holds the lease while dead letters are moved."""

VIEW = "view "
"""What stands before a view's name, where a view and no handler gave up on an event."""


class DeadLetter(msgspec.Struct, frozen=True):
    """An event that a handler gave up on, why, and what was tried.

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


def write_of(letter: DeadLetter) -> Write:
    """Return the write that stores a dead letter."""
    return Write(NAMESPACE, f"{letter.service}/{letter.id}", msgspec.msgpack.encode(letter))


def forget(letter: DeadLetter) -> Write:
    """Return the write that removes a dead letter."""
    return Write(NAMESPACE, f"{letter.service}/{letter.id}", None)


async def dead_letters(state: State, service: str = "", *, count_max: int = 1000) -> list[DeadLetter]:
    """Return the dead letters of a service, or of all, in order of service and id."""
    found: list[DeadLetter] = []
    after: str | None = None
    while len(found) < count_max:
        page = await state.scan(NAMESPACE, prefix=f"{service}/" if service else "", after=after)
        if not page:
            break
        found.extend(msgspec.msgpack.decode(entry.value, type=DeadLetter) for entry in page)
        after = page[-1].key
    return found[:count_max]


def redrive_topic(service: str) -> str:
    """Return the topic through which redriven events reach one service and no other."""
    return f"redrive-{service}"


def redriven(letter: DeadLetter, now_us: int) -> Record:
    """Return a dead letter's event as a new arrival, for the handler that gave up on it.

    Its id differs from the first one's, so no deduplication swallows it.
    """
    old = letter.record
    extensions = {"redriveof": old.id, **(old.extensions or {}), "redrivehandler": letter.handler}
    return Record(
        derived_id(old.id, letter.id, now_us),
        old.type,
        redrive_topic(letter.service),
        old.subject,
        old.time_us,
        old.data,
        old.source,
        extensions,
    )


async def redrive(platform: Platform, letters: Sequence[DeadLetter]) -> None:
    """Take letters from the dead letters, and put their events before the handlers that gave up on them.

    Where log and state commit together it happens wholly or not at all; elsewhere an event may be put
    there twice, under one id.
    """
    records = [redriven(letter, platform.clock.now_us()) for letter in letters]
    together = platform.log.capabilities.commit_domain == platform.state.commit_domain
    if not together:
        await platform.log.append(records)
    await _commit(platform, [forget(letter) for letter in letters], records if together else ())


async def discard(platform: Platform, letters: Sequence[DeadLetter]) -> None:
    """Take letters from the dead letters for good."""
    await _commit(platform, [forget(letter) for letter in letters], ())


async def _commit(platform: Platform, writes: Sequence[Write], outputs: Sequence[Record]) -> None:
    state = platform.state
    lease, position = await state.acquire(
        "tropism-dead-letters", f"redrive/{uuid4().hex}", lease_seconds=30.0
    )
    try:
        await state.commit(Commit(lease, position, writes, outputs))
    finally:
        await state.release(lease)
