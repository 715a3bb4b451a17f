"""Publishing one event from the command line."""

import sys
import uuid
from pathlib import Path

from tropism.app.platform import open_platform, read_settings
from tropism.cli.console import aside, print_json, say
from tropism.cli.discovery import load_app, types_of
from tropism.cli.later import Later, instant_of, scheduled_by
from tropism.core.codec import Codec, describe, record_of
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError, NotFoundError
from tropism.core.event import Event
from tropism.core.time import days, iso, to_us
from tropism.runtime.scheduled import Scheduled

DAY_US = to_us(days(1))


def read_data(data: str | None, file: Path | None) -> bytes:
    """Return the payload that the options name. Raises: InvalidInputError."""
    if (data is None) == (file is None):
        raise InvalidInputError(
            "Cannot publish: one of --data and --file must hold the event's fields. "
            'Write --data \'{"field": "value"}\'.'
        )
    if data is not None:
        return _encoded(data)
    assert file is not None  # noqa: S101 (one of the two is given)
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"Cannot read {str(file)!r}: {error.strerror}. Name a file that exists, or '-'."
        ) from error


def _encoded(data: str) -> bytes:
    try:
        return data.encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            "Cannot publish: what --data holds is not UTF-8. Convert it, or use --file."
        ) from error


async def publish_one(
    type: str,
    data: bytes,
    *,
    id: str | None,
    time: str | None,
    source: str,
    app: str | None,
    json: bool,
    later: Later | None = None,
) -> None:
    """Check an event against its type, store it, and say whether it was new."""
    found = load_app(app)
    codec = types_of(found)
    if type not in codec.types:
        raise NotFoundError(
            f"Cannot publish event type {type!r}: the app does not know it. "
            f"Name one of {sorted(name for name in codec.types if not name.startswith('tropism.'))}."
        )
    async with open_platform(read_settings()) as platform:
        now_us = platform.clock.now_us()
        time_us = now_us if time is None else instant_of(time)
        id = id or uuid.uuid4().hex
        with aside():
            event = _event(codec, type, data)
            if later is not None:
                event = scheduled_by(found, event, later, now_us)
            record = record_of(event, codec.encode(event), id=id, time_us=time_us, source=source)
        new = bool(await platform.log.append([record]))
    if time_us > now_us + DAY_US:
        say(f"Careful: {iso(time_us)} lies ahead. Views count it, and all behind it, only from then on.")
    if json:
        told = {"id": id, "type": type, "topic": record.topic, "subject": record.subject}
        due = {"due": iso(event.due_us)} if isinstance(event, Scheduled) else {}
        print_json({**told, "time": iso(time_us), "new": new, **due})
    elif new and isinstance(event, Scheduled):
        say(f"Scheduled {type} {id!r}: it is published at {iso(event.due_us)}.")
    elif new:
        say(f"Published {type} {id!r} in topic {record.topic!r}.")
    else:
        say(f"Nothing published: topic {record.topic!r} already holds an event with id {id!r}.")


def _event(codec: Codec, type: str, data: bytes) -> Event:
    try:
        event: Event = codec.decode(Record("", type, "", "", 0, data))
    except InvalidInputError as error:
        cause = error.__cause__
        fact = describe(cause) if isinstance(cause, Exception) else str(error)
        raise InvalidInputError(
            f"Cannot publish event type {type!r}: {fact}. Pass an object with the fields of its class."
        ) from error
    return event
