"""Work that must not share the process of those who wait for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Job:
    """A module-level function of bytes to bytes, its input, and its limits."""

    function: Callable[[bytes], bytes]
    payload: bytes
    timeout_seconds: float = 3600.0
    memory_bytes_max: int | None = None


class Compute(Protocol):
    """Runs jobs away from the event loop.

    Guarantees:
        - A job that raises, dies or exceeds its limits raises here and harms nothing else.
        - A cancelled ``run`` leaves no process behind.

    Not guaranteed:
        - That a job runs once: who asks again runs it again. Jobs are pure in their payload.
        - Limits on memory where the adapter runs jobs in this process.
    """

    async def run(self, job: Job) -> bytes:
        """Return what the job returns.

        Raises: UnavailableError if it died, or took longer than its limit; InvalidInputError with the
        job's own error if it raised.
        """
        ...
