"""Moving letters out of the state, into the log."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from tropism.core.cloudevents import cloud_event
from tropism.core.envelope import Record, derived_id
from tropism.core.event import Event
from tropism.ports.platform import Platform
from tropism.runtime.dead import CAUSE_CHARS_MAX, DeadLetter, take_away

PART = 200
"""So many letters leave in one commit."""

HISTORY_MAX = 20
"""So many of the last attempts are told of where all would be too large for the log."""


class LetterArchived(Event, type="tropism.letter-archived.v1", key="service"):
    """A letter left the dead letters or the quarantine of a service, for there were too many.

    ``event`` is the event that was not handled, as CloudEvents writes it; without its data where both would
    be too large for the log, which has the event itself. ``evidence`` is there if it was in quarantine; where
    even that is too large, it is empty, and cause and history are shortened.
    """

    service: str
    letter: str
    handler: str
    cause: str
    history: list[str]
    attempts: int
    failed_us: int
    event: dict[str, Any]
    evidence: dict[str, Any] | None = None


async def archive(platform: Platform, letters: Sequence[DeadLetter]) -> int:
    """Move letters into the log, with the steps that their handlers had run forgotten; return how many.

    Raises: ConflictError while another process moves letters.
    """
    if letters and not await platform.log.ends([LetterArchived.event_topic]):
        await platform.log.create_topics({LetterArchived.event_topic: 1})
    moved = 0
    bytes_max = platform.log.capabilities.record_bytes_max
    record_of = partial(archived, now_us=platform.clock.now_us(), bytes_max=bytes_max)
    for start in range(0, len(letters), PART):
        moved += len(await take_away(platform, letters[start : start + PART], record_of))
    return moved


def archived(letter: DeadLetter, now_us: int, bytes_max: int) -> Record:
    """Return a letter as the record that keeps it: of one id, however often it is made."""
    event = cloud_event(letter.record)
    data = _data(letter, event)
    if len(data) > bytes_max:
        event = {name: event[name] for name in event if name not in {"data", "data_base64"}}
        data = _data(letter, event)
    if len(data) > bytes_max:
        data = _data(_shortened(letter), event)
    id = derived_id(letter.id, f"{letter.service}/archive", 0, letter.failed_us)
    kind = LetterArchived
    return Record(id, kind.event_type, kind.event_topic, letter.service, now_us, data, letter.service)


def _shortened(letter: DeadLetter) -> DeadLetter:
    """Return a letter that fits any log: what cannot be archived would hold up its service for ever."""
    return msgspec.structs.replace(
        letter,
        cause=letter.cause[:CAUSE_CHARS_MAX],
        history=letter.history[-HISTORY_MAX:],
        evidence=None if letter.evidence is None else {},
    )


def _data(letter: DeadLetter, event: dict[str, Any]) -> bytes:
    return msgspec.json.encode(
        LetterArchived(
            service=letter.service,
            letter=letter.id,
            handler=letter.handler,
            cause=letter.cause,
            history=letter.history,
            attempts=letter.attempts,
            failed_us=letter.failed_us,
            event=event,
            evidence=letter.evidence,
        )
    )
