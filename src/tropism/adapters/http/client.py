"""Requests over httpx: connections kept, answers bounded, no redirect followed."""

import asyncio
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from tropism.adapters.http.sending import Answer
from tropism.core.errors import UnavailableError

ANSWER_BYTES_MAX = 64 * 1024
"""So much of an answer is read so that its connection can be used again; of a longer one, no more."""


class HttpPost:
    """Posts to one URL, with the headers that every request has."""

    def __init__(
        self, url: str, host: str, headers: Mapping[str, str], *, timeout_seconds: float, count_max: int
    ) -> None:
        self._url = url
        self._host = host
        self._timeout_seconds = timeout_seconds
        self._client = httpx.AsyncClient(
            headers=dict(headers),
            timeout=timeout_seconds,
            follow_redirects=False,
            # Events have nothing to do with each other, and whoever answers may not make requests grow.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            limits=httpx.Limits(max_connections=count_max, max_keepalive_connections=count_max),
        )

    async def __call__(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the answer. Raises: UnavailableError if none came in time."""
        answer: Answer | None = None
        try:
            # The client bounds each wait; who answers byte by byte never lets it wait long.
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._client.stream("POST", self._url, headers=headers, content=body) as response,
            ):
                answer = Answer(response.status_code, response.headers.get("retry-after", ""))
                await _drain(response)
        except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
            if answer is not None and isinstance(error, TimeoutError):
                # It said what it had to say; only the rest, which nobody reads, takes its time.
                return answer
            # Its own text may repeat the URL, in which a secret may stand.
            raise UnavailableError(
                f"Cannot reach {self._host!r}: {type(error).__name__}. It is sent again by itself."
            ) from None
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


async def _drain(response: httpx.Response) -> None:
    read = 0
    async for chunk in response.aiter_raw():
        read += len(chunk)
        if read > ANSWER_BYTES_MAX:
            return
