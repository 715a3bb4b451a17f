"""When to try again."""

from dataclasses import dataclass
from datetime import timedelta

from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.core.partition import partition_of
from tropism.runtime.hops import LoopError


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after which pauses, a failing call is tried again.

    The pause before attempt n+1 is ``first * factor**(n-1)``, at most ``longest``, times a jitter
    between ``1 - jitter`` and 1 that depends on the event alone: replay waits alike.
    """

    attempts: int = 5
    first: timedelta = timedelta(seconds=0.5)
    factor: float = 2.0
    longest: timedelta = timedelta(minutes=5)
    jitter: float = 0.2
    on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        """Refuse what could never work."""
        if self.attempts < 1 or self.factor < 1 or not 0 <= self.jitter <= 1:
            raise InvalidInputError(
                f"Cannot retry with {self!r}: attempts and factor start at 1, and jitter lies in 0 to 1. "
                f"Write Retry(attempts=1) for no second try."
            )


def delay_seconds(retry: Retry, attempts: int, error: Exception, event_id: str) -> float | None:
    """Return how long to wait after so many failed attempts, or None to give up.

    It is never shorter than what the error says that the other side asked for.
    """
    if attempts >= retry.attempts or not isinstance(error, retry.on) or isinstance(error, LoopError):
        return None
    pause = min(retry.first.total_seconds() * retry.factor ** (attempts - 1), retry.longest.total_seconds())
    spread = partition_of(f"{event_id}/{attempts}", 1024) / 1024
    asked = error.retry_after_seconds if isinstance(error, UnavailableError) else None
    return max(pause * (1 - retry.jitter * spread), asked or 0.0)
