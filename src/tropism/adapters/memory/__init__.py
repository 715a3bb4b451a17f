"""Everything in this process's memory: the reference for every other adapter, and the ground of tests."""

from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory.blobs import MemoryBlobs
from tropism.adapters.memory.clock import VirtualClock
from tropism.adapters.memory.compute import MemoryCompute
from tropism.adapters.memory.log import MemoryLog
from tropism.adapters.memory.queue import MemoryQueue
from tropism.adapters.memory.state import MemoryState
from tropism.adapters.messages import DEDUP_SECONDS
from tropism.adapters.records import PARTITIONS_DEFAULT
from tropism.core.errors import InvalidInputError
from tropism.ports.clock import Clock

__all__ = [
    "MemoryBlobs",
    "MemoryCompute",
    "MemoryLog",
    "MemoryQueue",
    "MemoryState",
    "MemoryStore",
    "VirtualClock",
    "open_inline",
    "open_memory",
]


class MemoryStore:
    """A log, a state in the same commit domain, queues, and blobs; gone when the process ends.

    ``clock`` is that of leases and delays; without one it is the machine's. With ``apart``, log and state do
    not commit together, as where they are different products; without ``dedup``, the log takes an id as often
    as it comes, as Kafka does.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        partitions_default: int = PARTITIONS_DEFAULT,
        dedup_seconds: float = DEDUP_SECONDS,
        apart: bool = False,
        dedup: bool = True,
    ) -> None:
        clock = clock or SystemClock()
        domain = f"memory:{id(self):x}"
        self.log = MemoryLog(domain, partitions_default=partitions_default, dedup=dedup)
        self.state = MemoryState(
            MemoryLog(f"{domain}/state") if apart else self.log, monotonic=clock.monotonic
        )
        self.queue = MemoryQueue(clock, domain, dedup_seconds=dedup_seconds)
        self.blobs = MemoryBlobs()

    async def close(self) -> None:
        """Do nothing: there is nothing to give back."""


async def open_memory(url: str = "memory:", *, partitions_default: int = PARTITIONS_DEFAULT) -> MemoryStore:
    """Open ``memory:``. Raises: InvalidInputError if the URL says more than that."""
    if url != "memory:":
        raise InvalidInputError(f"Cannot open {url!r}: memory has no name or options. Write 'memory:'.")
    return MemoryStore(partitions_default=partitions_default)


async def open_inline(url: str = "inline:") -> MemoryCompute:
    """Open ``inline:``, which runs jobs in this process. Raises: InvalidInputError for more than that."""
    if url != "inline:":
        raise InvalidInputError(f"Cannot open {url!r}: inline compute has no options. Write 'inline:'.")
    return MemoryCompute()
