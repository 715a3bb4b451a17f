"""The time in which calls wait for what is not their handler's doing."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from weakref import WeakKeyDictionary

from tropism.ports.clock import Clock

Resting = Callable[[], AbstractContextManager[None]]
"""Gives contexts in which the time of one call stands still."""


class Rest:
    """How long one call has rested; what rests at the same time counts once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._depth = 0
        self._since = 0.0
        self._seconds = 0.0
        self.made = clock.monotonic()

    @property
    def seconds(self) -> float:
        """How long, up to now."""
        return self._seconds + (self._clock.monotonic() - self._since if self._depth else 0.0)

    @contextmanager
    def context(self) -> Iterator[None]:
        """Let the call's time stand still within."""
        if not self._depth:
            self._since = self._clock.monotonic()
        self._depth += 1
        try:
            yield
        finally:
            if self._depth == 1:
                self._seconds = self.seconds
            self._depth -= 1


class Rests:
    """The rests of all calls of one worker, by the tasks that make them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._of: WeakKeyDictionary[asyncio.Task[None], Rest] = WeakKeyDictionary()

    def begin(self) -> Resting:
        """Return the contexts of the call that the current task begins to make."""
        rest = Rest(self._clock)
        task = asyncio.current_task()
        if task is not None:
            self._of[task] = rest
        return rest.context

    def seconds(self, task: asyncio.Task[None], started: float) -> float:
        """Return how long the call that a task makes since a moment has rested."""
        rest = self._of.get(task)
        return rest.seconds if rest is not None and rest.made >= started else 0.0
