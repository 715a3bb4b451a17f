"""What a supervised process owes its supervisor: a sign of life, and its end when the supervisor ends."""

import asyncio
import os
import sys
import threading
from contextlib import suppress

BEAT_SECONDS = 0.25
"""How often the event loop says that it turns."""


class Supervised:
    """A child's side: descriptors that its supervisor passed, or none.

    ``lifeline`` is a pipe that the supervisor holds open: its end is the supervisor's, however that came.
    """

    def __init__(self, lifeline: int | None, heartbeat: int | None) -> None:
        self._lifeline = lifeline
        self._heartbeat = heartbeat

    def hold_on(self) -> None:
        """End with the supervisor: kill -9 of it included, and also while a handler hangs here."""
        if self._lifeline is None:
            return
        _die_with_parent()
        threading.Thread(target=self._watch_lifeline, name="tropism-lifeline", daemon=True).start()

    def _watch_lifeline(self) -> None:
        assert self._lifeline is not None  # noqa: S101 (hold_on checked it)
        with suppress(OSError):
            while os.read(self._lifeline, 1):
                pass
        # As safe as kill -9, which the runtime is built for.
        os._exit(1)

    async def beat(self) -> None:
        """Say for ever that the event loop turns."""
        while self._heartbeat is not None:
            try:
                os.write(self._heartbeat, b".")
            except OSError:
                break
            await asyncio.sleep(BEAT_SECONDS)
        await asyncio.Event().wait()


def _die_with_parent() -> None:
    """On Linux, have the kernel do it too: code that never releases the interpreter cannot prevent that."""
    if sys.platform == "linux":
        import ctypes
        import signal

        pr_set_pdeathsig = 1
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
