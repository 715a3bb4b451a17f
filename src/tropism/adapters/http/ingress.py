"""CloudEvents over HTTP into a log: an ASGI application."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tropism.adapters.http.request import Headers, RefusedError, events_of
from tropism.core.cloudevents import JSON, Parts, record_of, taken_id
from tropism.core.codec import Codec
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError, TropismError, UnavailableError
from tropism.core.event import key_of
from tropism.core.time import minutes, to_us
from tropism.ports.clock import Clock
from tropism.ports.log import Log

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

PATH, HEALTH = "/events", "/health"
SKEW_US = to_us(minutes(5))
"""How far ahead of this machine's clock a sender's may be: what lies ahead holds up all that comes after."""

RETRY_SECONDS = 1
OURS = ("tropism.runtime.", "tropism.models.")
"""Where the events live by which Tropism steers itself: nobody says them from outside."""

OUR_EXTENSIONS = frozenset({"redriveof", "redrivehandler", "released"})
"""What says that a person redrove or released an event: from outside, nobody did."""

ATTRIBUTES_BYTES_MAX = 64 * 1024
"""Of one event, names and values: logs index ids and keys, and errors repeat them."""


@dataclass(frozen=True, slots=True)
class IngressOptions:
    """Bounds of what is taken, and from whom.

    ``token`` must come as a bearer token, where there is one. ``accepts`` are the types that are taken: by
    default, all of the app. ``sources`` may not be claimed: they are the app's own services.
    """

    token: str | None = field(default=None, repr=False)
    accepts: frozenset[str] | None = None
    sources: frozenset[str] = frozenset()
    body_bytes_max: int = 4 * 1024 * 1024
    batch_count_max: int = 1000
    in_flight_max: int = 64
    body_seconds: float = 30.0


class Ingress:
    """Takes CloudEvents by POST, checks them against the app's types, and answers when the log has them.

    One request is taken wholly or not at all, as far as the log appends so. What is sent again under the
    same source and id is not stored again, as long as the log remembers ids.
    """

    def __init__(self, log: Log, codec: Codec, clock: Clock, options: IngressOptions | None = None) -> None:
        self._log = log
        self._codec = codec
        self._clock = clock
        self._options = options or IngressOptions()
        self._in_flight = 0
        known = {name for name, kind in codec.types.items() if not kind.__module__.startswith(OURS)}
        self.accepts = known if self._options.accepts is None else known & self._options.accepts
        """The types of events that are taken."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            status, told, headers = await self._answer(scope, receive)
        except RefusedError as error:
            status, told, headers = error.status, {"error": str(error)}, error.headers
        except InvalidInputError as error:
            status, told, headers = 400, {"error": str(error)}, {}
        except UnavailableError as error:
            status, told, headers = 503, {"error": str(error)}, {"retry-after": str(RETRY_SECONDS)}
        except TropismError as error:
            status, told, headers = 500, {"error": str(error)}, {}
        await _reply(send, status, told, headers)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, Any], dict[str, str]]:
        if scope["path"] == HEALTH and scope["method"] in {"GET", "HEAD"}:
            return 200, {"status": "ok"}, {}
        if scope["path"] != PATH:
            raise RefusedError(404, f"Cannot find {scope['path'][:200]!r}: there is only {PATH}. Post there.")
        if scope["method"] != "POST":
            raise RefusedError(
                405, f"Cannot {scope['method'][:20]} {PATH}: events are posted. Use POST.", {"allow": "POST"}
            )
        headers = Headers.of(scope["headers"])
        self._check_token(headers)
        if self._in_flight >= self._options.in_flight_max:
            raise UnavailableError(
                f"Cannot take the request now: {self._in_flight} others are under way. Send it again."
            )
        self._in_flight += 1
        try:
            body = await self._body(headers, receive)
            records = [
                self._record(parts) for parts in events_of(headers, body, self._options.batch_count_max)
            ]
            new = await self._log.append(records) if records else 0
        finally:
            self._in_flight -= 1
        return 202, {"accepted": len(records), "new": new}, {}

    def _check_token(self, headers: Headers) -> None:
        token = self._options.token
        if token is None:
            return
        scheme, _, given = headers.get("authorization").partition(" ")
        # Compared in a time that says nothing of how much of it is right.
        # Headers came as bytes, each read as one character.
        given_bytes = given.strip(" \t").encode("latin-1")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given_bytes, token.encode()):
            raise RefusedError(
                401,
                "Cannot take the request: it has no valid bearer token. Send 'Authorization: Bearer ...'.",
                {"www-authenticate": "Bearer"},
            )

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """Return the request's body. Raises: RefusedError if it is too large, too slow, or broken off."""
        self._check_size(_length(headers))
        body = bytearray()
        try:
            async with asyncio.timeout(self._options.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedError(400, "Cannot read the request: it broke off. Send it again.")
                    body += message.get("body", b"")
                    self._check_size(len(body))
                    if not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            raise RefusedError(
                408,
                f"Cannot read the request: its body took longer than {self._options.body_seconds:g} s. "
                f"Send it faster, or in parts.",
            ) from None

    def _check_size(self, bytes_: int) -> None:
        if bytes_ > self._options.body_bytes_max:
            raise RefusedError(
                413,
                f"Cannot take the request: its body has more than {self._options.body_bytes_max} bytes. "
                f"Send fewer events at a time, or put large data into Blobs.",
            )

    def _record(self, parts: Parts) -> Record:
        """Return an event as it goes into the log. Raises: InvalidInputError; RefusedError."""
        _check_attributes(parts.attributes)
        record = record_of(parts, now_us=self._clock.now_us(), ahead_us_max=SKEW_US)
        if record.type not in self.accepts:
            raise InvalidInputError(
                f"Cannot take event {record.id!r}: type {record.type!r} is none that is taken here. "
                f"Send one of {sorted(self.accepts)}."
            )
        if record.source in self._options.sources:
            raise InvalidInputError(
                f"Cannot take event {record.id!r}: its source {record.source!r} is a service of this app. "
                f"Send a source of your own, such as a URL."
            )
        bytes_max = self._log.capabilities.record_bytes_max
        if len(record.data) > bytes_max:
            raise RefusedError(
                413,
                f"Cannot take event {record.id!r}: its data has {len(record.data)} bytes, more than "
                f"{bytes_max}. Put it into Blobs and its name into the event.",
            )
        subject = self._subject(record)
        return msgspec.structs.replace(
            record,
            id=taken_id(record.id, record.source),
            subject=subject,
            extensions=_extensions(record, subject),
        )

    def _subject(self, record: Record) -> str:
        """Return the key that orders an event: its type's; where that has none, what it is about."""
        kind = self._codec.types[record.type]
        key = key_of(self._codec.decode(record))
        if kind.event_key is not None:
            return key
        return record.subject or (record.extensions or {}).get("partitionkey", "")


def _extensions(record: Record, subject: str) -> dict[str, str] | None:
    found = {k: v for k, v in (record.extensions or {}).items() if k not in OUR_EXTENSIONS}
    if found.get("datacontenttype", "").lower() in {"", JSON}:
        found.pop("datacontenttype", None)
    if record.subject and record.subject != subject:
        # What it was about to whoever said it; here, the key of its type orders it.
        found["originalsubject"] = record.subject
    return found or None


def _check_attributes(attributes: Mapping[str, str]) -> None:
    size = sum(map(len, attributes)) + sum(map(len, attributes.values()))
    if size > ATTRIBUTES_BYTES_MAX:
        raise RefusedError(
            413,
            f"Cannot take an event: its attributes have {size} characters, more than {ATTRIBUTES_BYTES_MAX}. "
            f"Put what is large into its data.",
        )


def _length(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    # So many digits are more than any bound, and more than Python reads as a number.
    return int(text[:20]) if text.isdecimal() else 0


async def _reply(send: Send, status: int, told: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    body = msgspec.json.encode(told)
    pairs: Sequence[tuple[str, str]] = [
        ("content-type", JSON),
        ("content-length", str(len(body))),
        *headers.items(),
    ]
    encoded = [(name.encode(), value.encode()) for name, value in pairs]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
