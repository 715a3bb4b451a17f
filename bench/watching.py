"""A state that tells of every commit when it is durable."""

from collections.abc import Callable
from typing import Any

from tropism.ports.state import Commit, State


class WatchedState:
    """Everything as the state within does it."""

    def __init__(self, state: State, committed: Callable[[Commit], None]) -> None:
        self._state = state
        self._committed = committed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    async def commit(self, commit: Commit) -> None:
        await self._state.commit(commit)
        self._committed(commit)
