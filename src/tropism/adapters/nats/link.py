"""The connection to a NATS server: made when it is needed, and given up as soon as it does not answer.

The client library's own reconnecting is not used: it was seen to come back deaf. A connection that broke,
or let one question go unanswered, is closed, and the next call makes another.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from tropism.adapters.nats.address import Address
from tropism.core.errors import InvalidInputError, UnavailableError

NOBODY = "503"
"""The status of a reply that comes where nobody listens: no such stream, or no JetStream yet."""

PING_SECONDS = 5

Headers = Mapping[str, str]


class LeanClient(Client):
    """The library's client, with its parser of headers replaced: that took two thirds of reading a record.

    Should the library call its parser by another name one day, its own is used: the result is the same.
    """

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        """Return headers by name; the status of a reply that is nothing else, as ``Status``."""
        if not headers:
            return None
        first, *lines = headers.decode("utf-8", "replace").split("\r\n")
        pairs = [line.partition(":") for line in lines if line]
        found = {name: value.strip() for name, _, value in pairs}
        status = first[len("NATS/1.0") :].strip()
        if status:
            found["Status"] = status[:3]
        return found


class Asked:
    """A question under way: what came back so far, and whether that is all."""

    __slots__ = ("done", "is_whole", "replies")

    def __init__(self, is_whole: Callable[[Msg], bool]) -> None:
        self.is_whole = is_whole
        self.replies: list[Msg] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Session:
    """One connection, until it ends; what is asked on it is answered on it, or not at all."""

    def __init__(self, address: Address, client: Client) -> None:
        self._address = address
        self._client = client
        self._asked: dict[str, Asked] = {}
        self._numbers = count()
        self._inbox = ""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Listen for replies."""
        self._inbox = self._client.new_inbox()
        # Without limits, for what may come is bounded by what is asked.
        await self._client.subscribe(
            f"{self._inbox}.*", cb=self._replied, pending_msgs_limit=0, pending_bytes_limit=0
        )

    @property
    def is_open(self) -> bool:
        """Whether it can be asked."""
        return not self.ended.done() and not self._client.is_closed

    @property
    def max_payload(self) -> int:
        """The most bytes that the server takes in a message, headers included."""
        return self._client.max_payload

    @property
    def version(self) -> tuple[int, int, int]:
        """The server's version."""
        version = self._client.connected_server_version
        return version.major, version.minor, version.patch

    async def publish(self, subject: str, data: bytes, headers: dict[str, str]) -> None:
        """Send a message that nobody answers. Raises: UnavailableError."""
        try:
            await self._client.publish(subject, data, headers=headers)
        except (nats.errors.Error, OSError) as error:
            raise self.lost(error) from error

    async def ask(self, subject: str, data: bytes = b"", headers: dict[str, str] | None = None) -> Msg:
        """Return the answer to a message. Raises: UnavailableError if none comes in time."""
        return (await self.collect(subject, data, headers=headers))[0]

    async def collect(
        self,
        subject: str,
        data: bytes = b"",
        *,
        headers: dict[str, str] | None = None,
        is_last: Callable[[Msg], bool] = lambda _: True,
    ) -> list[Msg]:
        """Return the answers to a message, up to the last one. Raises: UnavailableError."""
        token = str(next(self._numbers))
        asked = self._asked[token] = Asked(is_last)
        try:
            async with asyncio.timeout(self._address.timeout_seconds):
                await self._client.publish(subject, data, reply=f"{self._inbox}.{token}", headers=headers)
                await asked.done
        except TimeoutError as error:
            # Perhaps only this one was lost; but a connection that went deaf looks the same.
            self.end()
            raise self.lost(error) from error
        except (nats.errors.Error, OSError) as error:
            raise self.lost(error) from error
        finally:
            del self._asked[token]
        return asked.replies

    async def api(self, verb: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return what JetStream answers; an ``error`` is part of that.

        Raises: UnavailableError if it does not answer, or says that it cannot now.
        """
        reply = await self.ask(f"$JS.API.{verb}", b"" if body is None else json.dumps(body).encode())
        if not reply.data:
            raise self.unavailable("JetStream does not answer")
        answer: dict[str, Any] = json.loads(reply.data)
        if answer.get("error", {}).get("code", 0) >= 500:
            raise self.unavailable(str(answer["error"].get("description", "JetStream failed")))
        return answer

    async def listen(self, subject: str, heard: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Hear what is published under a subject, from the end of this call on. Raises: UnavailableError."""
        try:
            return await self._client.subscribe(subject, cb=heard)
        except (nats.errors.Error, OSError) as error:
            raise self.lost(error) from error

    async def unlisten(self, subscription: Subscription) -> None:
        """Hear no more. Raises: UnavailableError."""
        try:
            await subscription.unsubscribe()
        except (nats.errors.Error, OSError) as error:
            raise self.lost(error) from error

    async def settle(self) -> None:
        """Return when the server has taken all that was sent. Raises: UnavailableError."""
        try:
            await self._client.flush(timeout=max(1, round(self._address.timeout_seconds)))
        except (nats.errors.Error, OSError, TimeoutError) as error:
            self.end()
            raise self.lost(error) from error

    def lost(self, error: Exception) -> UnavailableError:
        """Return what a call raises that got no answer."""
        return self.unavailable(f"{type(error).__name__}, no answer")

    def unavailable(self, fact: str) -> UnavailableError:
        """Return what a call raises that the server cannot serve now."""
        return UnavailableError(
            f"Cannot use the log at {str(self._address)!r}: {fact}. Try again, or look at the server."
        )

    def end(self) -> None:
        """Give the connection up: whoever waits for an answer learns at once that none comes."""
        if not self.ended.done():
            self.ended.set_result(None)
        for asked in self._asked.values():
            if not asked.done.done():
                asked.done.set_exception(nats.errors.ConnectionClosedError())

    async def closed(self) -> None:
        """Learn from the client that the connection is closed."""
        self.end()

    async def close(self) -> None:
        """Close the connection, within a bound."""
        self.end()
        with suppress(Exception):
            async with asyncio.timeout(self._address.timeout_seconds):
                await self._client.close()

    async def _replied(self, message: Msg) -> None:
        asked = self._asked.get(message.subject.rpartition(".")[2])
        if asked is not None and not asked.done.done():
            asked.replies.append(message)
            if asked.is_whole(message):
                asked.done.set_result(None)


class Link:
    """The one session at a time that a log uses."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._session: Session | None = None
        self._connecting: asyncio.Task[Session] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def session(self) -> Session:
        """Return a session that is open. Raises: UnavailableError if none can be opened in time."""
        if self._session is not None and self._session.is_open:
            return self._session
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            # Whoever waits is told; if nobody does any more, nobody needs to know.
            self._connecting.add_done_callback(lambda task: task.cancelled() or task.exception())
        # Others wait for the same connection: one who gives up must not take it from them.
        return await asyncio.shield(self._connecting)

    async def close(self) -> None:
        """Close what is open; nothing can be asked any more."""
        self._is_closed = True
        if self._connecting is not None:
            with suppress(Exception):
                await self._connecting
        if self._session is not None:
            await self._session.close()
        if self._closing:
            await asyncio.wait(self._closing)

    async def _connect(self) -> Session:
        try:
            if self._session is not None:
                self._drop(self._session)
                self._session = None
            if self._is_closed:
                raise _unreachable(self._address, "it is closed")
            self._session = await self._reach()
            return self._session
        finally:
            self._connecting = None

    def _drop(self, session: Session) -> None:
        task = asyncio.create_task(session.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _reach(self) -> Session:
        address, client = self._address, LeanClient()
        session = Session(address, client)
        try:
            async with asyncio.timeout(address.timeout_seconds):
                await client.connect(**_options(address), closed_cb=session.closed)
                await session.open()
        except (nats.errors.Error, OSError, TimeoutError) as error:
            self._drop(session)
            if "authorization" in f"{type(error).__name__} {error}".lower():
                raise InvalidInputError(
                    f"Cannot open {str(address)!r}: the server refused the credentials. "
                    f"Correct those in the URL."
                ) from error
            raise _unreachable(address, f"{type(error).__name__} while connecting") from error
        except BaseException:
            self._drop(session)
            raise
        return session


def _options(address: Address) -> dict[str, Any]:
    async def quiet(_: Exception) -> None:
        """Say nothing: whoever asked is told."""

    scheme = "tls" if address.tls else "nats"
    options: dict[str, Any] = {
        "servers": [f"{scheme}://{server}" for server in address.servers],
        "name": "tropism",
        "allow_reconnect": False,
        "max_reconnect_attempts": 1,
        "reconnect_time_wait": 0,
        "connect_timeout": max(1, round(address.timeout_seconds)),
        "ping_interval": PING_SECONDS,
        "error_cb": quiet,
        "user": address.user,
        "password": address.password,
        "token": address.token,
        "user_credentials": address.creds,
    }
    return {name: value for name, value in options.items() if value is not None}


def _unreachable(address: Address, fact: str) -> UnavailableError:
    return UnavailableError(f"Cannot reach {str(address)!r}: {fact}. Start the server, or correct the URL.")
