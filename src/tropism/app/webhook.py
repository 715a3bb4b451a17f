"""Events to another system by HTTP: a service that posts each as a CloudEvent."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from tropism.adapters.http.sending import Answer, Mode, Post, check_answer, check_url, request_of
from tropism.core.envelope import Envelope, Record
from tropism.core.errors import InvalidInputError, NotSupportedError, UnavailableError
from tropism.core.event import Event
from tropism.core.forms import encoded
from tropism.ports.clock import Clock
from tropism.runtime.handler import Handler, Injection, Shape
from tropism.runtime.hops import HOPS, HOPS_MAX, check_budget, hops_of, too_far
from tropism.runtime.inject import Site, Subject
from tropism.runtime.retry import Retry
from tropism.runtime.service import Service
from tropism.runtime.view import View

PATIENT = Retry(attempts=20, first=timedelta(seconds=1), longest=timedelta(minutes=5), on=(UnavailableError,))
"""About an hour and a quarter, for others are away for longer than services of one's own."""

PAUSE_SECONDS_MAX = 300.0
"""For so long at most, one event's Retry-After holds back all others."""

CALL_SECONDS = 7200.0
"""How long a call may wait for its turn and for its answer; an answer alone has its own bound."""


def webhook(
    name: str,
    *events: type[Event],
    url: str,
    mode: Mode = "binary",
    token_variable: str | None = None,
    headers: Mapping[str, str] | None = None,
    source: str = "",
    retry: Retry = PATIENT,
    timeout_seconds: float = 10.0,
    in_flight_max: int = 16,
    hops_max: float = HOPS_MAX,
    post: Callable[[], Post] | None = None,
) -> Service:
    """Return a service that posts events of these types to a URL, each as a CloudEvent.

    At least once, and in the order of each key. What the other side refuses for now (408, 425, 429, 5xx) or
    does not answer is sent again, no sooner than it asks in Retry-After; what it refuses for good goes to
    the dead letters. Redirects are not followed. ``token_variable`` names the environment variable that
    holds a bearer token. ``source`` is put before the source of each event, which for one of the app's own
    is the name of a service. ``post`` replaces HTTP, for tests.

    Raises: InvalidInputError for a URL that cannot be posted to, or no events.
    """
    host = check_url(url)
    check_budget(f"webhook {name!r}", hops_max)
    if not events:
        raise InvalidInputError(f"Cannot make webhook {name!r}: it names no events. Name those to send.")
    target = _Target(
        name, url, host, token_variable, dict(headers or {}), timeout_seconds, in_flight_max, post
    )
    service = Service(name)

    async def send(envelope: Envelope[Any], sending: "_Sending") -> None:
        hops = hops_of(envelope.extensions) + 1
        if hops > hops_max:
            raise too_far(f"send event {envelope.id!r} to {host!r}", hops, hops_max)
        await sending.send(envelope.id, *request_of(_record(envelope, hops), mode, source))

    service.handlers.append(
        Handler(
            name=f"{name}.send",
            function=send,
            events=events,
            shape=Shape.ENVELOPE,
            injections=(Injection("sending", target),),
            outputs=(),
            retry=retry,
            guarantee="at_least_once",
            timeout_seconds=CALL_SECONDS,
        )
    )
    return service


def _record(envelope: Envelope[Any], hops: int) -> Record:
    """Return an event as it leaves: its data as this app knows it, and one hop further."""
    extensions = {**(envelope.extensions or {}), HOPS: str(hops)}
    # The data is written anew, as JSON, whatever it once came as; and to others a redriven event is the same.
    id = extensions.get("redriveof", envelope.id)
    for name in ("datacontenttype", "redriveof", "redrivehandler"):
        extensions.pop(name, None)
    return Record(
        id,
        envelope.type,
        "",
        envelope.subject,
        envelope.time_us,
        encoded(envelope.data),
        envelope.source,
        extensions,
    )


@dataclass(frozen=True, slots=True)
class _Target:
    """Where a webhook sends, as the resource that its handler is given."""

    service: str
    url: str = field(repr=False)
    host: str
    token_variable: str | None
    headers: Mapping[str, str] = field(repr=False)
    timeout_seconds: float
    in_flight_max: int
    post: Callable[[], Post] | None

    views: ClassVar[tuple[View, ...]] = ()
    emits: ClassVar[tuple[type[Event], ...]] = ()

    @property
    def name(self) -> str:
        """Name, unique in the app."""
        return f"{self.service} http"

    async def open(self, site: Site) -> "_Sending":
        """Open connections, for one worker."""
        post = self._over_http() if self.post is None else self.post()
        return _Sending(post, self.host, site.platform.clock, self.in_flight_max)

    def _over_http(self) -> Post:
        try:
            from tropism.adapters.http.client import HttpPost  # noqa: PLC0415 (an extra)
        except ImportError as error:
            raise NotSupportedError(
                f"Cannot send events to {self.host!r}: {error.name!r} is not installed. "
                f"Run pip install 'tropism[http]'."
            ) from error
        return HttpPost(
            self.url,
            self.host,
            {**self.headers, **self._authorization()},
            timeout_seconds=self.timeout_seconds,
            count_max=self.in_flight_max,
        )

    def _authorization(self) -> dict[str, str]:
        if self.token_variable is None:
            return {}
        token = os.environ.get(self.token_variable)
        if not token:
            raise InvalidInputError(
                f"Cannot send events to {self.host!r}: the environment variable {self.token_variable!r}, "
                f"which holds its token, is not set. Set it."
            )
        return {"authorization": f"Bearer {token}"}


class _Sending:
    """Sends for one worker, so many at a time, and none while the other side asked for a pause."""

    def __init__(self, post: Post, host: str, clock: Clock, in_flight_max: int) -> None:
        self._post = post
        self._host = host
        self._clock = clock
        self._turns = asyncio.Semaphore(in_flight_max)
        self._not_before = 0.0

    def bind(self, _: Subject) -> "_Sending":
        """Return what the handler receives: the same for every call."""
        return self

    def commit(
        self, _: Sequence[Event], __: int | None
    ) -> tuple[Mapping[str, bytes | None], Sequence[tuple[int, Event]]]:
        """Add nothing: what was sent is not known here any more."""
        return {}, ()

    async def close(self) -> None:
        """Close the connections."""
        await self._post.close()

    async def send(self, id: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send a request. Raises: UnavailableError where it is worth another try; InvalidInputError."""
        async with self._turns:
            while (pause := self._not_before - self._clock.monotonic()) > 0:
                await self._clock.sleep(pause)
            answer: Answer = await self._post(headers, body)
        try:
            check_answer(answer, id=id, host=self._host, now_us=self._clock.now_us())
        except UnavailableError as error:
            asked = min(error.retry_after_seconds or 0.0, PAUSE_SECONDS_MAX)
            self._not_before = max(self._not_before, self._clock.monotonic() + asked)
            raise
