"""Writing through the process that owns the file."""

import asyncio
import contextlib
import socket
import struct
from itertools import count
from pathlib import Path

from tropism.adapters.sqlite.address import connect
from tropism.adapters.sqlite.wire import (
    PROTOCOL,
    Done,
    Failed,
    Grown,
    Hello,
    Operation,
    Request,
    Result,
    error_of,
    frame,
    read_message,
)
from tropism.adapters.sqlite.writer import Listener
from tropism.core.errors import NotSupportedError, UnavailableError

ANSWER_SECONDS = 60.0
"""How long an owner that is there may take: it was stopped, or its disk stalls."""


class OwnerGone(Exception):  # noqa: N818 (not an error: the cue to find the next owner)
    """The owner went away; whether it applied what was asked is unknown."""


class Remote:
    """A connection to the owner."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener: Listener
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._listener = listener
        self._numbers = count()
        self._asked: dict[int, asyncio.Future[Result]] = {}
        self.gone = asyncio.Event()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def connect(cls, path: Path, listener: Listener, *, synced: bool) -> "Remote | None":
        """Connect to the owner; None if nobody answers.

        Raises: NotSupportedError if it speaks another protocol, or does not sync what is to be synced.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(sock=connect(path))
        except OSError:
            return None
        hello = await read_message(reader)
        if not isinstance(hello, Hello) or hello.protocol != PROTOCOL:
            await _hang_up(writer)
            if hello is None:
                return None
            raise NotSupportedError(
                f"Cannot write to {str(path)!r} through the process that owns it: it speaks another protocol "
                f"than {PROTOCOL}. Run the same version of Tropism in all processes."
            )
        if synced and not hello.synced:
            await _hang_up(writer)
            raise NotSupportedError(
                f"Cannot write to {str(path)!r} through the process that owns it: that one was told "
                f"'synchronous=normal', and would not sync. Say so in this URL too, or wait until it is done."
            )
        return cls(reader, writer, listener)

    def owner(self) -> str:
        """Return which process is at the other end, where the system tells."""
        credentials = getattr(socket, "SO_PEERCRED", None)
        if credentials is None:
            return "another process"
        connection: socket.socket = self._writer.get_extra_info("socket")
        # struct ucred: process, user and group.
        number, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, credentials, 12))
        return f"process {number}"

    async def submit(self, operation: Operation) -> Result:
        """Have an operation applied by the owner. Raises: OwnerGone."""
        if self.gone.is_set():
            raise OwnerGone
        number = next(self._numbers)
        request = frame(Request(number, operation))
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._writer.write(request)
                with contextlib.suppress(ConnectionError):
                    await self._writer.drain()
                result: Result = await answer
                return result
        except TimeoutError:
            raise UnavailableError(
                f"Cannot tell whether a write was applied: the process that owns the database did not "
                f"answer within {ANSWER_SECONDS:g} seconds. Resume or stop it, then try again: what was "
                f"stored is known by its id."
            ) from None
        finally:
            del self._asked[number]

    async def close(self) -> None:
        """Part from the owner."""
        self._listening.cancel()
        await asyncio.wait([self._listening])

    async def _listen(self) -> None:
        try:
            while (message := await read_message(self._reader)) is not None:
                match message:
                    case Grown(ends):
                        self._listener({(topic, number): end for topic, number, end in ends})
                    case Done(number, result):
                        self._settle(number, result)
                    case Failed(number):
                        self._settle(number, error_of(message))
                    case _:
                        break
        finally:
            self.gone.set()
            for number in list(self._asked):
                self._settle(number, OwnerGone())
            await _hang_up(self._writer)

    def _settle(self, number: int, outcome: Result | Exception) -> None:
        answer = self._asked.get(number)
        if answer is None or answer.done():
            return
        if isinstance(outcome, Exception):
            answer.set_exception(outcome)
        else:
            answer.set_result(outcome)


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
