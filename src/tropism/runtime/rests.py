"""Calls that wait for what is not their handler's doing."""

import asyncio
from types import TracebackType
from weakref import WeakKeyDictionary


class Rest:
    """Whether one call rests: within this context, which may be entered several times at once."""

    __slots__ = ("_depth",)

    def __init__(self) -> None:
        self._depth = 0

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1

    def __bool__(self) -> bool:
        """Say whether it rests now."""
        return self._depth > 0


class Rests:
    """The rests of all calls of one worker, by the tasks that make them."""

    def __init__(self) -> None:
        self._of: WeakKeyDictionary[asyncio.Task[None], Rest] = WeakKeyDictionary()

    def begin(self) -> Rest:
        """Return the rest of the call that the current task begins to make."""
        rest = Rest()
        task = asyncio.current_task()
        if task is not None:
            self._of[task] = rest
        return rest

    def rests(self, task: asyncio.Task[None]) -> bool:
        """Say whether the call that a task makes rests now."""
        return bool(self._of.get(task))
