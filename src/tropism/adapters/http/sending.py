"""CloudEvents by POST: what goes into a request, and what its answer means."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from tropism.core.cloudevents import JSON, STRUCTURED, attributes_of, given_id, is_name, structured, to_header
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.core.time import MICROSECONDS, instant_us
from tropism.core.trace import trace_of

Mode = Literal["binary", "structured"]

RETRY_AFTER_SECONDS_MAX = 86_400.0
"""Whoever asks for more than a day is asked again after a day."""

AGAIN = frozenset({408, 425, 429})
"""Refusals that may end by themselves, as may all from 500 on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, and when to come again, as the header says it."""

    status: int
    retry_after: str = ""


class Post(Protocol):
    """Sends a request. Raises: UnavailableError if no answer came."""

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the answer."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


def check_url(url: str) -> str:
    """Return the host of a URL that may be posted to.

    Raises: InvalidInputError for another scheme, no host, or credentials in it.
    """
    try:
        split = urlsplit(url)
        host, user, _ = split.hostname, split.username, split.port
    except ValueError:
        split, host, user = urlsplit(""), None, None
    printable = all("!" <= character <= "~" for character in url)
    if split.scheme not in {"http", "https"} or not host or split.fragment or not printable:
        raise InvalidInputError(
            "Cannot send events there: the URL is not of the form https://host/path. Write it like that."
        )
    if user is not None:
        raise InvalidInputError(
            f"Cannot send events to {host!r}: the URL holds credentials. "
            f"Put a bearer token into a variable, and name it in token_variable."
        )
    return host


def request_of(record: Record, mode: Mode, source: str = "") -> tuple[dict[str, str], bytes]:
    """Return the headers and the body that say a record, under the id that who said it gave it.

    ``source`` is put before its own.
    """
    names = {name: value for name, value in (record.extensions or {}).items() if is_name(name)}
    said = f"{source}{record.source}"
    record = msgspec.structs.replace(record, id=given_id(record), source=said, extensions=names)
    trace = trace_of(names)
    if mode == "structured":
        return {**trace, "content-type": f"{STRUCTURED}; charset=UTF-8"}, structured(record)
    attributes = attributes_of(record)
    content_type = attributes.pop("datacontenttype", JSON)
    headers = {f"ce-{name}": to_header(value) for name, value in attributes.items()}
    return {**trace, **headers, "content-type": content_type}, record.data


def check_answer(answer: Answer, *, id: str, host: str, now_us: int) -> None:
    """Return where an event was taken.

    Raises: UnavailableError where another try may help, with how long to wait; InvalidInputError where not.
    """
    if 200 <= answer.status < 300:
        return
    if answer.status in AGAIN or answer.status >= 500:
        error = UnavailableError(
            f"Cannot send event {id!r} to {host!r}: it answered {answer.status}. It is sent again by itself."
        )
        error.retry_after_seconds = retry_after_seconds(answer.retry_after, now_us)
        raise error
    raise InvalidInputError(
        f"Cannot send event {id!r} to {host!r}: it answered {answer.status}, so it will not take it. "
        f"Mend what it refuses, then redrive the event."
    )


def retry_after_seconds(text: str, now_us: int) -> float | None:
    """Return how long a Retry-After asks to wait, in seconds or until a date; None if it says neither."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), RETRY_AFTER_SECONDS_MAX)
    try:
        seconds = (instant_us(parsedate_to_datetime(text)) - now_us) / MICROSECONDS
    except (ValueError, TypeError):
        return None
    return min(max(0.0, seconds), RETRY_AFTER_SECONDS_MAX)
