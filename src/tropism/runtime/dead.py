"""Events that could not be handled, with cause and history."""

import msgspec

from tropism.core.envelope import Record
from tropism.core.time import iso
from tropism.ports.state import State, Write

NAMESPACE = "dead-letters"


class DeadLetter(msgspec.Struct, frozen=True):
    """An event that a handler gave up on, why, and what was tried.

    ``handler`` is empty where no handler was reached, because the bytes could not be decoded.
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
    extensions = {
        **(old.extensions or {}),
        "redriveof": old.id,
        "redrivehandler": letter.handler,
    }
    return Record(
        f"{old.id}/redriven/{letter.id}/{iso(now_us)}",
        old.type,
        redrive_topic(letter.service),
        old.subject,
        old.time_us,
        old.data,
        old.source,
        extensions,
    )
