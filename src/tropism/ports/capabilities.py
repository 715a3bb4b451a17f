"""What an adapter can do, said before anything relies on it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tropism.core.envelope import Record


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a log or queue adapter can do; what an app needs beyond it is an error at start.

    ``commit_domain`` names the store whose transactions include this log: where it equals the state's,
    outputs commit with the cursor; elsewhere an outbox in the state and a relay carry them over.
    ``event_time`` says whether ``known_us`` is exact and never changes, so that event time can be replayed.
    ``dedup_seconds`` is how long an id is remembered: infinite for ever, 0 not at all; ``dedup_scope`` is
    within what: an event that is published again under its id and key is in the same partition.
    ``transactions`` says whether an append to several partitions happens wholly or not at all.
    ``dead_letters`` are kept by the store itself (native), or by Tropism in its state (emulated).
    ``url`` is set where another process may open the same store. ``check`` raises InvalidInputError for a
    record that the log could not take, where there is more to that than its size.
    """

    durability: str
    commit_domain: str
    ordering: Literal["none", "key", "partition"] = "partition"
    event_time: bool = True
    dedup_seconds: float = math.inf
    dedup_scope: Literal["topic", "partition"] = "topic"
    delay_seconds_max: float = 0.0
    dead_letters: Literal["native", "emulated"] = "emulated"
    replay: bool = True
    transactions: bool = True
    batch_count_max: int = 10_000
    record_bytes_max: int = 16 * 1024 * 1024
    attempt_count: bool = True
    lease_renewal: bool = True
    lag: bool = True
    url: str | None = None
    check: Callable[[Record], None] | None = None
