"""Records as whole JSON documents: structured mode, for logs whose messages are CloudEvents.

What a document cannot tell of a record, its adapter puts beside it.
"""

import msgspec

from tropism.core.cloudevents import ANY_FORMAT, JSON, OWN, parse, structured
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError
from tropism.core.time import parse_iso

NOT_EXTENSIONS = OWN | {"data", "data_base64"}
UNREADABLE = (KeyError, ValueError, AttributeError, TypeError, msgspec.MsgspecError, InvalidInputError)
"""What reading a message raises that is no event: other products may write there, too."""


def is_structured(content_type: str) -> bool:
    """Say whether a message of that type is a whole event."""
    return content_type.lower().startswith(ANY_FORMAT)


def document_of(record: Record) -> bytes:
    """Return a record as a JSON document.

    Raises: InvalidInputError if an extension has the name of something else; UnicodeEncodeError.
    """
    for name in record.extensions or ():
        if name in NOT_EXTENSIONS:
            raise InvalidInputError(
                f"Cannot append event {record.id!r}: its extension {name!r} has the name of an attribute. "
                f"Give it another name."
            )
    return structured(record)


def unsaid_type(record: Record) -> str | None:
    """Return the type of data that an extension names though it goes without saying: no message shows it."""
    kind = (record.extensions or {}).get("datacontenttype")
    return kind if kind in {JSON, ""} else None


def record_of(document: bytes, *, topic: str, subject: str, time_us: int) -> Record:
    """Return the record of a document; the rest is for what it leaves out. Raises: one of UNREADABLE."""
    attributes, data = parse(document)
    extensions = {name: value for name, value in attributes.items() if name not in OWN}
    if extensions.get("datacontenttype") == JSON:
        del extensions["datacontenttype"]
    return Record(
        attributes["id"],
        attributes["type"],
        topic,
        attributes.get("subject", subject),
        parse_iso(attributes["time"]) if "time" in attributes else time_us,
        data,
        attributes["source"],
        extensions or None,
    )
