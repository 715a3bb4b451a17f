"""What handlers do outside the framework, kept from happening: connections and processes."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from tropism.core.errors import NotSupportedError
from tropism.runtime.handler import collect
from tropism.runtime.inject import Output

KINDS_MAX = 1000
"""How many different effects are told apart; more are counted together."""

_WATCHED = {
    "socket.connect": "connect",
    "socket.sendto": "send",
    "subprocess.Popen": "start a process",
    "os.system": "start a process",
    "os.posix_spawn": "start a process",
    "os.exec": "start a process",
}


class RefusedEffectError(NotSupportedError, ConnectionRefusedError):
    """A replayed handler tried to do something outside; clients take it for a connection that was refused."""


@dataclass
class Effects:
    """What handlers tried to do in a replay, and how often: by handler and kind."""

    counts: Counter[str] = field(default_factory=Counter)

    def refuse(self, handler: str, what: str) -> None:
        """Note an effect and keep it from happening. Raises: RefusedEffectError."""
        known = f"{handler}: {what}"
        self.counts[known if known in self.counts or len(self.counts) < KINDS_MAX else "others"] += 1
        raise RefusedEffectError(
            f"Cannot {what} from {handler!r}: this is a replay, which makes nothing happen. "
            f"Let a resource do it that tells what it did."
        )


_CALLING: ContextVar[tuple[str, Effects] | None] = ContextVar("tropism_replay", default=None)


class Guard:
    """Refuses what Python's own audit events tell of, wherever handlers of a replay are being called.

    Python keeps such a watcher until the process ends; ``closed``, it does nothing more. It sees what goes
    through Python's sockets and processes, also in threads that ``asyncio.to_thread`` started: not what a
    library in C does by itself, or sends over a connection that was there before.
    """

    def __init__(self) -> None:
        self._closed = False

    def watch(self) -> None:
        """Begin."""
        sys.addaudithook(self._seen)

    def close(self) -> None:
        """End."""
        self._closed = True

    def _seen(self, event: str, _: tuple[Any, ...]) -> None:
        what = None if self._closed else _WATCHED.get(event)
        calling = _CALLING.get() if what is not None else None
        if what is not None and calling is not None:
            handler, effects = calling
            effects.refuse(handler, what)


@contextmanager
def guarding() -> Iterator[None]:
    """Refuse connections and processes of replayed handlers meanwhile."""
    guard = Guard()
    guard.watch()
    try:
        yield
    finally:
        guard.close()


def guarded(name: str, function: Callable[..., Any], effects: Effects) -> Callable[..., Any]:
    """Return a handler's function such that the guard knows when it is being called."""

    async def call(*arguments: Any, **injected: Any) -> list[Output]:
        token = _CALLING.set((name, effects))
        try:
            return await collect(function(*arguments, **injected))
        finally:
            _CALLING.reset(token)

    return call
