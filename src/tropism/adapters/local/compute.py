"""Jobs in processes of their own."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from itertools import count

from tropism.adapters.jobs import function_name, job_failed, job_late
from tropism.adapters.local.forkserver import BOOT, COMMAND, EXIT, HEAD
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.ports.compute import Job


class ProcessCompute:
    """``Compute`` with one forked process per job, from a server that has imported ``preload`` before.

    A job's own prints go to standard error. ``Job.memory_bytes_max`` bounds its address space beyond
    what is loaded already. Used from one event loop; needs a Unix.
    """

    def __init__(self, *, preload: Sequence[str] = ()) -> None:
        self._preload = list(preload)
        self._server: _Server | None = None
        self._starting = asyncio.Lock()

    async def run(self, job: Job) -> bytes:
        """Return what the job returns."""
        name = function_name(job.function)
        limit = job.memory_bytes_max
        if limit is not None and (limit < 1 or sys.platform != "linux"):
            raise InvalidInputError(
                f"Cannot run job {name!r}: a memory limit of {limit} bytes cannot be set on {sys.platform}. "
                f"Leave 'memory_bytes_max' out."
            )
        server, number, channel = await self._fork()
        try:
            async with asyncio.timeout(job.timeout_seconds):
                kind, answer = await _converse(channel, name, job)
        except TimeoutError as error:
            raise job_late(name, job.timeout_seconds) from error
        except (asyncio.IncompleteReadError, ConnectionError):
            status = await server.exited(number)
            raise _died(name, status) from None
        finally:
            channel.close()
            await server.end(number)
        if kind == b"r":
            return answer
        raise job_failed(name, answer.decode()) if kind == b"e" else _out_of_memory(name, limit)

    async def start(self) -> "_Server":
        """Start the server that forks, which takes longer than a job; ``run`` does it where it is missing."""
        async with self._starting:
            if self._server is None or self._server.gone:
                await self.close()
                self._server = await _Server.start(self._preload)
            return self._server

    async def _fork(self) -> "tuple[_Server, int, socket.socket]":
        """Start a process; where the server just died, from its successor."""
        server = await self.start()
        try:
            return server, *server.fork()
        except OSError:
            server = await self.start()
        try:
            return server, *server.fork()
        except OSError as error:
            raise UnavailableError(
                f"Cannot start a process for a job: {error}. Free some memory, then try again."
            ) from error

    async def close(self) -> None:
        """Kill what runs, and wait until nothing is left."""
        server, self._server = self._server, None
        if server is not None:
            await server.close()


class _Server:
    """The parent's side of the server that forks."""

    def __init__(self, process: subprocess.Popen[bytes], commands: socket.socket) -> None:
        self._process = process
        self._commands = commands
        self._numbers = count()
        self._exits: dict[int, asyncio.Future[int | None]] = {}
        self._listening: asyncio.Task[None] | None = None
        self.gone = False

    @classmethod
    async def start(cls, preload: list[str]) -> "_Server":
        commands, their_commands = socket.socketpair()
        exits, their_exits = socket.socketpair()
        handles = their_commands.fileno(), their_exits.fileno()
        paths = [path or os.getcwd() for path in sys.path]  # noqa: PTH109 (as Python reads an empty entry)
        arguments = [json.dumps(paths), *map(str, handles), json.dumps(preload)]
        try:
            # Its own session: an interrupt on the terminal is ours to handle.
            process = await asyncio.to_thread(
                subprocess.Popen,
                [sys.executable, "-c", BOOT, *arguments],
                pass_fds=handles,
                stdin=subprocess.DEVNULL,
                stdout=2,
                start_new_session=True,
                # Jobs share the machine with those who wait for nobody: their idle threads shall not spin.
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
            )
        except OSError as error:
            commands.close()
            exits.close()
            raise UnavailableError(
                f"Cannot start a process for a job: {error.strerror}. Free some memory, then try again."
            ) from error
        finally:
            their_commands.close()
            their_exits.close()
        server = cls(process, commands)
        reader, writer = await asyncio.open_connection(sock=exits)
        server._listening = asyncio.create_task(server._listen(reader, writer))
        return server

    def fork(self) -> tuple[int, socket.socket]:
        """Start a process, and return its number and its channel. Raises: OSError if the server is gone."""
        if self.gone:
            raise ConnectionError("the server is gone")
        ours, theirs = socket.socketpair()
        number = next(self._numbers)
        try:
            socket.send_fds(self._commands, [COMMAND.pack(b"s", number)], [theirs.fileno()])
        except OSError:
            self.gone = True
            ours.close()
            raise
        finally:
            theirs.close()
        self._exits[number] = asyncio.get_running_loop().create_future()
        ours.setblocking(False)
        return number, ours

    async def exited(self, number: int) -> int | None:
        """Return a process's wait status once it ended; None where the server ended too."""
        return await asyncio.shield(self._exits[number])

    async def end(self, number: int) -> None:
        """Kill a process, and return when nothing is left of it."""
        with contextlib.suppress(OSError):
            self._commands.send(COMMAND.pack(b"k", number))
        try:
            await self.exited(number)
        finally:
            self._exits.pop(number, None)

    async def close(self) -> None:
        self._commands.close()
        if self._listening is not None:
            await self._listening
        await asyncio.to_thread(self._process.wait)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                number, status = EXIT.unpack(await reader.readexactly(EXIT.size))
                self._settle(number, status)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone = True
            for number in self._exits:
                self._settle(number, None)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _settle(self, number: int, status: int | None) -> None:
        exited = self._exits.get(number)
        if exited is not None and not exited.done():
            exited.set_result(status)


async def _converse(channel: socket.socket, name: str, job: Job) -> tuple[bytes, bytes]:
    reader, writer = await asyncio.open_connection(sock=channel)
    try:
        limit = str(job.memory_bytes_max or 0).encode()
        for kind, part in ((b"f", name.encode()), (b"m", limit), (b"p", job.payload)):
            writer.write(HEAD.pack(kind, len(part)))
            writer.write(part)
        await writer.drain()
        kind, size = HEAD.unpack(await reader.readexactly(HEAD.size))
        return kind, await reader.readexactly(size)
    finally:
        writer.transport.abort()


def _died(name: str, status: int | None) -> UnavailableError:
    if status is None:
        fact = "the server that forked it was killed"
    elif os.WIFSIGNALED(status):
        fact = f"its process was killed by {signal.Signals(os.WTERMSIG(status)).name}"
    else:
        fact = f"its process ended with status {os.waitstatus_to_exitcode(status)}"
    return UnavailableError(f"Cannot finish job {name!r}: {fact}. Give it more memory or less to do.")


def _out_of_memory(name: str, limit: int | None) -> UnavailableError:
    bound = "what the machine has" if limit is None else f"{limit} bytes"
    return UnavailableError(
        f"Cannot finish job {name!r}: it needs more memory than {bound}. "
        f"Raise its 'memory_bytes_max', or give it less to do."
    )
