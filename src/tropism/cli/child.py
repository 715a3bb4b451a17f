"""One supervised process: its start, its signs of life, its size, and its end."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

COMMAND = (sys.executable, "-m", "tropism.cli.main")
"""How this very program is started again."""


def child_environment() -> dict[str, str]:
    """Return what a child finds in its environment beside what this process found.

    Bytecode counts as fresh if its source has the same size and second: an edit may have both.
    """
    return {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}


class Child:
    """A process that ``tropism run`` makes, with a pipe on which it says that its event loop turns."""

    def __init__(self, process: asyncio.subprocess.Process, beats: int) -> None:
        self._process = process
        self._beats = beats
        self._loop = asyncio.get_running_loop()
        self.started = self.last_beat = self._loop.time()
        self.has_beaten = False
        self.is_leaving = False
        self._loop.add_reader(beats, self._take_beats)

    @classmethod
    async def start(cls, arguments: Sequence[str], lifeline: int, on_line: Callable[[str], None]) -> "Child":
        """Start a process that ends with this one; it is given no signals of this terminal."""
        beats, write_end = os.pipe()
        os.set_blocking(beats, False)
        try:
            process = await asyncio.create_subprocess_exec(
                *COMMAND,
                *arguments,
                f"--lifeline={lifeline}",
                f"--heartbeat={write_end}",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=(lifeline, write_end),
                start_new_session=True,
                env=child_environment(),
            )
        except BaseException:
            os.close(beats)
            raise
        finally:
            os.close(write_end)
        child = cls(process, beats)
        child.reading = asyncio.create_task(_read_lines(process.stdout, on_line))
        return child

    reading: "asyncio.Task[None]"

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return self._loop.time() - self.started

    @property
    def resident_bytes(self) -> int:
        """How much memory it holds; zero where the system does not tell."""
        with suppress(OSError, IndexError, ValueError):
            pages = Path(f"/proc/{self._process.pid}/statm").read_text("ascii").split()[1]
            return int(pages) * os.sysconf("SC_PAGE_SIZE")
        return 0

    async def wait(self, seconds: float) -> str | None:
        """Wait for its end so long, and return how it ended, or None."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                code = await self._process.wait()
                return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it left with {code}"
        return None

    def terminate(self) -> None:
        """Ask it to finish what is in flight, and leave."""
        self.is_leaving = True
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def kill(self) -> None:
        """End it now."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def close(self) -> None:
        """Take what it last said, and give its descriptors back."""
        self._loop.remove_reader(self._beats)
        os.close(self._beats)
        # A grandchild may hold the pipe open for ever.
        await asyncio.wait([self.reading], timeout=1.0)
        self.reading.cancel()

    def _take_beats(self) -> None:
        if os.read(self._beats, 4096):
            self.last_beat = self._loop.time()
            self.has_beaten = True
        else:
            self._loop.remove_reader(self._beats)


async def _read_lines(stream: asyncio.StreamReader | None, on_line: Callable[[str], None]) -> None:
    """Hand over line by line, of whatever length."""
    assert stream is not None  # noqa: S101 (it was asked for as a pipe)
    rest = b""
    while chunk := await stream.read(65_536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            on_line(line.decode("utf-8", "replace"))
    if rest:
        on_line(rest.decode("utf-8", "replace"))
