"""Times given on the command line, and events that are to be published at one."""

import re
from dataclasses import dataclass
from datetime import timedelta

from tropism.app.app import App
from tropism.core.errors import InvalidInputError, NotSupportedError
from tropism.core.event import Event
from tropism.core.time import IMPLAUSIBLE, is_plausible, iso, moment, parse_iso, to_us
from tropism.runtime.scheduled import SERVICE, Scheduled, scheduled

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


@dataclass(frozen=True, slots=True)
class Later:
    """When an event is to be published, as it was written: a moment, or a while from now; and its name."""

    at: str | None
    after: str | None
    name: str | None


def later_of(at: str | None, after: str | None, name: str | None, time: str | None) -> Later | None:
    """Return what the options say of a later time. Raises: InvalidInputError where they contradict."""
    if at is None and after is None:
        if name is None:
            return None
        raise InvalidInputError("Cannot publish with --name: it is for later only. Add --at or --in.")
    if (at is not None and after is not None) or time is not None:
        raise InvalidInputError("Cannot publish: --at, --in and --time each say when. Name one of them.")
    return Later(at, after, name)


def scheduled_by(app: App, event: Event, later: Later, now_us: int) -> Scheduled:
    """Return what publishes an event later. Raises: NotSupportedError if no service of the app would."""
    kind = type(event)
    keeps = {each for service in app.services if service.name == SERVICE for each in service.emits}
    if kind not in keeps:
        raise NotSupportedError(
            f"Cannot publish event type {kind.event_type!r} later: app {app.name!r} has no service that "
            f"keeps it. Add delayed({kind.__name__}) to its services."
        )
    due_us = instant_of(later.at) if later.at is not None else now_us + _span_us(later.after or "")
    if not is_plausible(due_us):
        raise _no_time(iso(due_us), IMPLAUSIBLE)
    return scheduled(event, moment(due_us), name=later.name)


def _span_us(text: str) -> int:
    found = _SPAN.fullmatch(text)
    if not found or not text:
        raise InvalidInputError(
            f"Cannot read duration {text!r}: it is not of the form 1d2h30m15s. Write it like 90m or 2d."
        )
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    try:
        return to_us(timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds))
    except OverflowError as error:
        raise InvalidInputError(
            f"Cannot read duration {text!r}: it is longer than any calendar. Choose a shorter one."
        ) from error


def instant_of(text: str) -> int:
    """Return a time given on the command line. Raises: InvalidInputError."""
    try:
        time_us = parse_iso(text)
    except ValueError as error:
        raise _no_time(text, "is not ISO 8601") from error
    if not is_plausible(time_us):
        raise _no_time(text, IMPLAUSIBLE)
    return time_us


def _no_time(text: str, fact: str) -> InvalidInputError:
    return InvalidInputError(f"Cannot read time {text!r}: it {fact}. Write it like 2026-01-31T12:00:00Z.")
