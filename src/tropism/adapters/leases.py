"""Who may commit for a consumer: the rules, apart from where they are stored."""

from collections.abc import Callable
from dataclasses import dataclass

from tropism.core.errors import ConflictError, FencedError
from tropism.ports.state import Lease


@dataclass(slots=True)
class Holding:
    """The newest lease of a consumer.

    ``clean`` says that it was given back. It keeps others out only while ``connection`` is set (its
    holder is there) and ``until`` has not passed; the fence is the token alone.
    """

    token: int
    holder: str
    seconds: float
    clean: bool
    connection: int | None = None
    until: float = 0.0


class Leases:
    """The newest lease of every consumer, on a monotonic clock."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.holdings: dict[str, Holding] = {}

    def acquire(self, consumer: str, holder: str, seconds: float, connection: int = 0) -> Lease:
        """Give a consumer to a holder. Raises: ConflictError if another holds it still."""
        before = self.holdings.get(consumer)
        if before is not None and self._kept(before) and before.holder != holder:
            raise held_error(consumer, holder, before.holder, before.seconds)
        clean = before is None or before.clean
        token = 1 if before is None else before.token + 1
        now = self._monotonic()
        self.holdings[consumer] = Holding(token, holder, seconds, False, connection, now + seconds)
        return Lease(consumer, token, clean)

    def check(self, lease: Lease) -> Holding:
        """Return what a lease holds. Raises: FencedError if it is not the newest, or was given back."""
        holding = self.holdings.get(lease.consumer)
        if holding is None or holding.token != lease.token or holding.clean:
            newest = 0 if holding is None else holding.token
            raise lost_error(lease, newest)
        return holding

    def keep(self, lease: Lease, seconds: float | None = None, connection: int = 0) -> None:
        """Renew a lease, for as long as before unless said otherwise. Raises: FencedError."""
        holding = self.check(lease)
        holding.seconds = holding.seconds if seconds is None else seconds
        holding.connection, holding.until = connection, self._monotonic() + holding.seconds

    def release(self, lease: Lease) -> bool:
        """Give a lease back, and return whether it was still held."""
        holding = self.holdings.get(lease.consumer)
        if holding is None or holding.token != lease.token or holding.clean:
            return False
        holding.clean, holding.connection = True, None
        return True

    def drop(self, connection: int) -> None:
        """Stop protecting what a lost connection held: its holder is presumed dead."""
        for holding in self.holdings.values():
            if holding.connection == connection:
                holding.connection = None

    def _kept(self, holding: Holding) -> bool:
        return holding.connection is not None and self._monotonic() < holding.until


def held_error(consumer: str, holder: str, held_by: str, seconds: float) -> ConflictError:
    """Return what acquiring raises while another holds the lease."""
    return ConflictError(
        f"Cannot acquire consumer {consumer!r} for {holder!r}: {held_by!r} holds it. "
        f"Wait up to {seconds:g} seconds, or stop that worker."
    )


def lost_error(lease: Lease, newest: int) -> FencedError:
    """Return what using a lease raises that is not the newest, or was given back."""
    return FencedError(
        f"Cannot commit for consumer {lease.consumer!r}: lease {lease.token} was lost, "
        f"the newest is {newest}. Stop this worker, or acquire again and read the position anew."
    )
