"""What a replay writes to."""

from typing import Protocol

from tropism.ports.log import Log
from tropism.ports.state import State


class Scratch(Protocol):
    """Where a replay keeps its own log and state: a store of one commit domain, and nobody else's."""

    @property
    def log(self) -> Log:
        """Its log."""
        ...

    @property
    def state(self) -> State:
        """Its state."""
        ...
