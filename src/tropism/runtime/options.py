"""What a worker is told."""

import asyncio
from dataclasses import dataclass

from tropism.runtime.attempts import GaveUp
from tropism.runtime.cycles import Guard
from tropism.runtime.gates import Gates
from tropism.runtime.shares import ALL_KEYS, Share

REMEMBER_SECONDS = 3600.0
"""How long ids are remembered where the log forgets them: an outage of a worker may take an hour."""

LETTERS_MAX = 10_000
"""How many dead letters a service keeps, and how many events in quarantine; the oldest go to the log."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Bounds of a worker, and where event time begins.

    With ``ticks_from_us``, ticks are due from then on; otherwise from the first event. ``announces`` says
    in the log how far it has come, for services in other processes. ``remember_seconds`` is how long it
    knows ids again that the log has forgotten. ``gates`` are those of the process, its own by default, as is
    what it holds while an event is handled ``alone``. Of dead letters, and in quarantine, the service keeps
    about ``letters_max`` each.
    """

    holder: str = "worker"
    lease_seconds: float = 15.0
    chunk: int = 1024
    in_flight_max: int = 4096
    start_us: int = 0
    ticks_from_us: int | None = None
    ignore_unknown: bool = False
    gave_up: GaveUp | None = None
    announces: bool = False
    share: Share = ALL_KEYS
    gates: Gates | None = None
    alone: asyncio.Lock | None = None
    letters_max: int = LETTERS_MAX
    remember_seconds: float = REMEMBER_SECONDS
    guard: Guard = Guard()  # noqa: RUF009 (frozen, so one for all will do)
