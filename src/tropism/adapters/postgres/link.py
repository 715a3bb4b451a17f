"""One connection to the server, made again whenever it is lost."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from os import dup
from socket import SHUT_RDWR, socket
from typing import TypeVar

import psycopg
from psycopg import AsyncConnection

from tropism.adapters.postgres.address import Address
from tropism.adapters.postgres.errors import is_conflict, is_lost, translated
from tropism.adapters.postgres.packing import register
from tropism.core.errors import UnavailableError

T = TypeVar("T")

RECONNECT_SECONDS = 15.0
"""How long a call waits for a server that went away before it fails."""

_PAUSE_SECONDS_MAX = 0.5
_CONFLICTS_MAX = 20

_SETTINGS = (
    # Whatever the role's defaults are: our locks and functions are made for this level.
    b"SET default_transaction_isolation = 'read committed'; SET client_encoding = 'UTF8'; "
    # Every query of ours has its index. A plan made while a table was small must not read all of it later.
    b"SET enable_seqscan = off; SET enable_bitmapscan = off; SET jit = off; "
    # Measured: planning anew for each call's values took five times as long as the work.
    b"SET plan_cache_mode = force_generic_plan"
)


async def connect(address: Address, *, settings: bytes = b"") -> AsyncConnection:
    """Open a connection. Raises: psycopg.Error."""
    connection = await AsyncConnection.connect(address.conninfo, autocommit=True, prepare_threshold=2)
    try:
        await connection.execute(b"; ".join(filter(None, (_SETTINGS, settings))))
    except BaseException:
        await connection.close()
        raise
    register(connection)
    return connection


class _Silent(Exception):  # noqa: N818 (a state of the other side, told as an error of ours further up)
    """The server said nothing for too long."""


class Link:
    """A connection that does one piece of work after the other, each again where the connection was lost.

    Work is a transaction, or reads only. It must be such that doing it twice does no harm: where the
    connection is lost in the middle, nobody knows whether it was done.
    """

    def __init__(
        self, address: Address, *, settings: bytes = b"", seconds: float = RECONNECT_SECONDS
    ) -> None:
        self._address = address
        self._settings = settings
        self._seconds = seconds
        self._connection: AsyncConnection | None = None

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]], what: str) -> T:
        """Return what the work returns; ``what`` completes "Cannot ..." where it fails.

        Raises: UnavailableError if the server stays away, or says nothing for too long; what its refusal
        means.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self._seconds
        for tries in count():
            try:
                if self._connection is None:
                    self._connection = await self._connect()
                return await self._within_bound(work, self._connection)
            except _Silent as error:
                await self._drop()
                raise _silent_error(self._address, what) from error
            except psycopg.Error as error:
                await self._recover()
                again = (
                    tries < _CONFLICTS_MAX if is_conflict(error) else is_lost(error) and loop.time() < until
                )
                if not again:
                    raise translated(error, what) from error
                await asyncio.sleep(_pause(tries))
            except BaseException:
                # Cancelled, or a value that cannot be sent: nothing may be left half done behind it.
                await self._recover()
                raise
        raise AssertionError("counting has no end")

    async def close(self) -> None:
        """Give the connection back."""
        await self._drop()

    async def _connect(self) -> AsyncConnection:
        try:
            async with asyncio.timeout(self._address.answer_seconds):
                return await connect(self._address, settings=self._settings)
        except TimeoutError as error:
            raise _Silent from error

    async def _within_bound(
        self, work: Callable[[AsyncConnection], Awaitable[T]], connection: AsyncConnection
    ) -> T:
        """Do work; hang up where the server says nothing for too long, though its machine may be there."""
        hung_up = False

        def hang_up() -> None:
            nonlocal hung_up
            hung_up = True
            # Not a cancellation: that asks the server to stop, and waits for what it says.
            with suppress(OSError, psycopg.Error), socket(fileno=dup(connection.fileno())) as line:
                line.shutdown(SHUT_RDWR)

        timer = asyncio.get_running_loop().call_later(self._address.answer_seconds, hang_up)
        try:
            return await work(connection)
        except psycopg.Error as error:
            if hung_up:
                raise _Silent from error
            raise
        finally:
            timer.cancel()

    async def _recover(self) -> None:
        """Leave no transaction behind; a connection that cannot promise that is dropped."""
        connection = self._connection
        if connection is None:
            return
        try:
            if not connection.broken and not connection.closed:
                await self._within_bound(AsyncConnection.rollback, connection)
                return
        except (psycopg.Error, _Silent):
            pass
        await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def closed_error(name: str) -> UnavailableError:
    """Return what using a closed store raises."""
    return UnavailableError(f"Cannot use database {name!r}: it was closed. Open it again.")


def _silent_error(address: Address, what: str) -> UnavailableError:
    return UnavailableError(
        f"Cannot {what}: the server took what was sent and said nothing for {address.answer_seconds:g} s. "
        f"See why it hangs; if it only takes long, add 'answer_seconds={2 * address.answer_seconds:g}'."
    )


def _pause(tries: int) -> float:
    # Spread, so that those who stood in each other's way do not meet again.
    return float(min(0.01 * 2**tries, _PAUSE_SECONDS_MAX)) * random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
