"""Which changes of an event's schema are allowed, and how the others are told."""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

from tropism.core.errors import InvalidInputError
from tropism.core.schema.breaks import Break
from tropism.core.schema.canonical import Schema, digest_of
from tropism.core.schema.compare import breaks

Mode = Literal["backward", "forward", "full", "none"]
"""Who must be able to read whom: new code old events, old code new events, both, or nobody."""

MODES: tuple[str, ...] = get_args(Mode)


class Version(NamedTuple):
    """A schema that an event type had, and the mode that held when it came."""

    number: int
    digest: str
    schema: Schema
    mode: str = "backward"


class Finding(NamedTuple):
    """A break between a new schema and a version before: who could not read whose events."""

    event_type: str
    version: int
    direction: str
    broken: Break

    @property
    def fact(self) -> str:
        """What cannot be read any more, and why."""
        what = f"field {self.broken.path!r} {self.broken.reason}"
        if self.direction == "backward":
            return f"events of version {self.version} could not be read: {what}"
        return f"code of version {self.version} could not read new events: {what}"

    @property
    def remedy(self) -> str:
        """What would mend it."""
        backward = self.direction == "backward"
        return (_BACKWARD if backward else _FORWARD)[self.broken.kind]


_BACKWARD = {
    "required": "Give the field a default",
    "type": "Let the field take what it was as well",
    "value": "Let the field take the old values as well",
    "unknown": "Keep the field, or ignore unknown ones",
    "bound": "Keep the bounds that held before",
}
_FORWARD = {
    "required": "Keep the field, without a default",
    "type": "Keep the field as it was",
    "value": "Give new values a type of event of their own",
    "unknown": "Leave the new field away",
    "bound": "Keep the bounds that held before",
}


def check_mode(mode: str) -> Mode:
    """Return a mode. Raises: InvalidInputError if there is none of that name."""
    if mode not in MODES:
        raise InvalidInputError(
            f"Cannot check schemas for {mode!r}: no such mode. Choose one of {list(MODES)}."
        )
    found: Mode = mode  # type: ignore[assignment]
    return found


def findings(event_type: str, schema: Schema, history: Sequence[Version], mode: str) -> list[Finding]:
    """Return what a schema breaks of the versions before, by a mode.

    All of them count, for a log keeps all events; but for those before one that came under ``none``, which
    said that nobody reads them any more. A schema that was there before is allowed: who goes back to it reads
    what he wrote.
    """
    digest = digest_of(schema)
    if any(version.digest == digest for version in history):
        return []
    return [found for version in _counting(history) for found in _against(event_type, schema, version, mode)]


def _counting(history: Sequence[Version]) -> Sequence[Version]:
    starts = [place for place, version in enumerate(history) if version.mode == "none"]
    return history[starts[-1] :] if starts else history


def _against(event_type: str, schema: Schema, version: Version, mode: str) -> Iterator[Finding]:
    if mode in {"backward", "full"}:
        for each in breaks(schema, version.schema):
            yield Finding(event_type, version.number, "backward", each)
    if mode in {"forward", "full"}:
        for each in breaks(version.schema, schema):
            yield Finding(event_type, version.number, "forward", each)


def refusal(doing: str, found: Sequence[Finding]) -> InvalidInputError:
    """Return why something cannot be done, by the first of some findings."""
    first = found[0]
    more = "" if len(found) == 1 else f" {len(found) - 1} more: see 'tropism schema check'."
    return InvalidInputError(
        f"Cannot {doing}: event type {first.event_type!r} changed, and {first.fact}. "
        f"{first.remedy}, or give the event a new type name and an upcast from the old one.{more}"
    )
