"""How far a run over history is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """What is done, how much of how much (0 where not known), up to when in event time, and who decides."""

    stage: str
    done: int = 0
    total: int = 0
    time_us: int | None = None
    champion: int = 0


Say = Callable[[Progress], None]
