"""Owning the file: a lock, the writer, and a socket by which other processes write."""

import asyncio
import contextlib
import fcntl
import os
import socket
import sqlite3
import threading
from collections.abc import Awaitable, Mapping
from functools import partial
from itertools import count
from pathlib import Path

from tropism.adapters.sqlite.address import bind, lock_path, socket_path
from tropism.adapters.sqlite.checkpoint import Checkpointer
from tropism.adapters.sqlite.errors import translated
from tropism.adapters.sqlite.schema import connect_writer
from tropism.adapters.sqlite.tables import Tables
from tropism.adapters.sqlite.wire import (
    PROTOCOL,
    Done,
    Drop,
    Grown,
    Hello,
    Message,
    Operation,
    Result,
    failed,
    frame,
    read_request,
)
from tropism.adapters.sqlite.writer import Listener, Writer, call_in
from tropism.core.errors import TropismError
from tropism.ports.clock import Clock
from tropism.ports.log import Partition


class Owner:
    """The process that owns the file, as long as it holds the lock.

    The socket is served in a thread with a loop of its own: a handler that blocks this process's
    event loop must not stop the other processes.
    """

    def __init__(self, path: Path, lock: int, writer: Writer, server: "_Server") -> None:
        self._path = path
        self._lock = lock
        self._writer = writer
        self._server = server
        self.gone = asyncio.Event()

    @classmethod
    def claim(
        cls,
        path: Path,
        name: str,
        home: asyncio.AbstractEventLoop,
        learn: Listener,
        *,
        synced: bool,
        upgrade: bool,
        partitions_default: int,
        clock: Clock,
        dedup_seconds: float,
    ) -> "Owner | None":
        """Become the owner, unless another process is; ``learn`` is told in loop ``home`` what grew. Blocks.

        Raises: CorruptError, NotSupportedError, UnavailableError if the file cannot be opened.
        """
        lock = os.open(lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            connection = connect_writer(path, synced=synced, upgrade=upgrade)
            undo.callback(connection.close)
            try:
                tables = Tables(
                    connection,
                    clock=clock,
                    partitions_default=partitions_default,
                    dedup_seconds=dedup_seconds,
                )
            except sqlite3.Error as error:
                raise translated(error, f"open database {name!r}") from error
            writer = Writer(connection, tables, name, Checkpointer(path))
            call_in(home, learn, dict(writer.ends))
            server = _Server(bind(path), writer, Hello(PROTOCOL, synced))
            writer.start(home, learn, server.spread)
            server.start()
            undo.pop_all()
        return cls(path, lock, writer, server)

    @property
    def ends(self) -> Mapping[Partition, int] | None:
        """The ends of all partitions; None while something is written, for a reader may see that before them.

        Else whoever saw a record of a commit could miss another one of it, and what it means is lost.
        """
        return None if self._writer.is_writing else self._writer.ends

    def submit(self, operation: Operation) -> Awaitable[Result]:
        """Have an operation applied."""
        return self._writer.submit(operation)

    async def close(self) -> None:
        """Finish what was asked, close the file, and let another process own it."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        # The lock goes last: who gets it may trust that nobody else writes.
        self._server.close()
        self._writer.close()
        socket_path(self._path).unlink(missing_ok=True)
        os.close(self._lock)


class _Server:
    """Takes requests from other processes, in a thread."""

    def __init__(self, listening: socket.socket, writer: Writer, hello: Hello) -> None:
        self._socket = listening
        self._hello = hello
        self._writer = writer
        self._numbers = count(1)
        self._sessions: set[_Session] = set()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="tropism-sqlite-owner", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def spread(self, grown: Mapping[Partition, int]) -> None:
        """Tell every other process how far partitions reach; called in the writer's thread."""
        # Who comes only now reads from the writer what was noted there before this call.
        if self._sessions:
            call_in(self._loop, self._spread, grown)

    def _spread(self, grown: Mapping[Partition, int]) -> None:
        for session in self._sessions:
            session.tell(grown)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._session, sock=self._socket)
        await self._stop.wait()
        server.close()
        for _ in range(5):
            # Who was accepted just now becomes a session first, so that it is parted from like the others.
            await asyncio.sleep(0)
        sessions = list(self._sessions)
        for session in sessions:
            session.stop()
        await asyncio.gather(*(session.ended.wait() for session in sessions))

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = _Session(self._writer, next(self._numbers), writer, self._hello)
        self._sessions.add(session)
        try:
            session.tell(dict(self._writer.ends))
            await session.serve(reader)
        finally:
            self._sessions.discard(session)
            session.ended.set()


class _Session:
    """One other process."""

    def __init__(self, writer: Writer, number: int, stream: asyncio.StreamWriter, hello: Hello) -> None:
        self._writer = writer
        self._hello = hello
        self._number = number
        self._stream = stream
        self._news: dict[Partition, int] = {}
        self._news_came = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self.ended = asyncio.Event()

    def tell(self, grown: Mapping[Partition, int]) -> None:
        """Send new ends soon: those that come faster than the other side reads become one message."""
        self._news.update(grown)
        self._news_came.set()

    def stop(self) -> None:
        """Part from the other process."""
        if self._reading is not None:
            self._reading.cancel()

    async def serve(self, reader: asyncio.StreamReader) -> None:
        """Answer requests until the other side leaves, or ``stop``."""
        self._send(self._hello)
        news = asyncio.create_task(self._tell())
        self._reading = asyncio.create_task(self._answer(reader))
        await asyncio.wait([self._reading])
        news.cancel()
        await asyncio.wait([news])
        self._stream.close()
        with contextlib.suppress(ConnectionError):
            await self._stream.wait_closed()
        with contextlib.suppress(TropismError):
            await self._writer.submit(Drop(), self._number)

    async def _answer(self, reader: asyncio.StreamReader) -> None:
        while (request := await read_request(reader)) is not None:
            asked = self._writer.submit(request.operation, self._number)
            asked.add_done_callback(partial(self._reply, request.number))
            # Who does not read its answers may not ask more.
            with contextlib.suppress(ConnectionError):
                await self._stream.drain()

    async def _tell(self) -> None:
        with contextlib.suppress(ConnectionError):
            while await self._news_came.wait():
                self._news_came.clear()
                news, self._news = self._news, {}
                self._send(Grown([(topic, number, end) for (topic, number), end in news.items()]))
                await self._stream.drain()

    def _reply(self, number: int, asked: "asyncio.Future[Result]") -> None:
        error = asked.exception()
        self._send(Done(number, asked.result()) if error is None else failed(number, error))

    def _send(self, message: Message) -> None:
        if not self._stream.is_closing():
            self._stream.write(frame(message))
