"""When to try again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from tropism.core.errors import InvalidInputError, RefusedError, UnavailableError, finite_seconds
from tropism.core.partition import partition_of
from tropism.runtime.hops import LoopError


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and after which pauses, a failing call is tried again.

    The pause before attempt n+1 is ``first * factor**(n-1)``, at most ``longest``, times a jitter
    between ``1 - jitter`` and 1 that depends on the event alone: replay waits alike. Errors that are not
    ``on`` the list, or are ``never`` to be tried again, are the last straw at once.

    ``by_type`` gives errors a policy of their own; that of the nearest class counts. All failures of an
    event count as attempts, whatever their type, and the latest one's policy says how many there may be.

    Who is told to wait (``BusyError``) uses up no attempt, for as long as ``patience``.
    """

    attempts: int = 5
    first: timedelta = timedelta(seconds=0.5)
    factor: float = 2.0
    longest: timedelta = timedelta(minutes=5)
    jitter: float = 0.2
    on: tuple[type[Exception], ...] = (Exception,)
    never: tuple[type[Exception], ...] = ()
    by_type: Mapping[type[Exception], "Retry"] = field(default_factory=dict)
    patience: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        """Refuse what could never work."""
        if self.attempts < 1 or not self.factor >= 1 or not 0 <= self.jitter <= 1:
            raise InvalidInputError(
                f"Cannot retry with {self!r}: attempts and factor start at 1, and jitter lies in 0 to 1. "
                f"Write Retry(attempts=1) for no second try."
            )
        if min(self.first, self.longest, self.patience) < timedelta(0):
            raise InvalidInputError(
                f"Cannot retry with {self!r}: a pause is below 0. Give first, longest and patience above 0."
            )
        if any(retry.by_type for retry in self.by_type.values()):
            raise InvalidInputError(
                f"Cannot retry with {self!r}: a policy in by_type has a by_type. Put all types into one."
            )

    @property
    def attempts_max(self) -> int:
        """How many attempts there are at most, whatever the errors."""
        return max([self.attempts, *(retry.attempts for retry in self.by_type.values())])

    def of(self, error: Exception) -> "Retry":
        """Return the policy for an error."""
        for kind in type(error).__mro__:
            found = self.by_type.get(kind)
            if found is not None:
                return found
        return self


def delay_seconds(retry: Retry, attempts: int, error: Exception, event_id: str) -> float | None:
    """Return how long to wait after so many failed attempts, or None to give up.

    It is never shorter than what the error says that the other side asked for.
    """
    if isinstance(error, RefusedError | LoopError):
        return None
    policy = retry.of(error)
    if attempts >= policy.attempts or not isinstance(error, policy.on) or isinstance(error, policy.never):
        return None
    spread = partition_of(f"{event_id}/{attempts}", 1024) / 1024
    asked = finite_seconds(error.retry_after_seconds) if isinstance(error, UnavailableError) else None
    return max(_pause_seconds(policy, attempts) * (1 - policy.jitter * spread), asked or 0.0)


def _pause_seconds(policy: Retry, attempts: int) -> float:
    longest = policy.longest.total_seconds()
    try:
        return min(policy.first.total_seconds() * policy.factor ** (attempts - 1), longest)
    except OverflowError:
        return longest
