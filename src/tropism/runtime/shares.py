"""One service in several workers: each handles the keys that are its share.

A key's share follows from its partition, so where topics have as many partitions as the service's others, a
worker handles whole partitions, and reads no others but for its views. State lies by key, so nothing moves
when shares change; cursors, which say what of each partition is done, are put together and handed on.
"""

import msgspec

from tropism.core.envelope import Record
from tropism.core.errors import ConflictError, InvalidInputError
from tropism.core.partition import partition_of
from tropism.ports.log import Partition
from tropism.ports.state import State


class Share(msgspec.Struct, frozen=True):
    """One of ``count`` shares of a service whose keys lie in so many partitions.

    ``generation`` counts how often the service was divided anew: who works on an older share is fenced.
    """

    index: int = 0
    count: int = 1
    partitions: int = 1
    generation: int = 0

    def consumer(self, service: str) -> str:
        """Return under which name the lease, the cursor and the views of this share are kept."""
        return service if not self.generation else f"{service}#{self.generation}.{self.index}"

    def owns_key(self, key: str) -> bool:
        """Say whether events, states and ticks of a key are for this share."""
        return self.count == 1 or partition_of(key, self.partitions) % self.count == self.index

    def owns_partition(self, partition: Partition, partitions: int) -> bool | None:
        """Say whether a partition of a topic of so many is for this share; None where it goes by key."""
        if self.count == 1:
            return True
        return partition[1] % self.count == self.index if partitions == self.partitions else None

    def owns(self, record: Record) -> bool:
        """Say whether an event is for this share."""
        return self.owns_key(record.subject or record.id)


ALL_KEYS = Share()


class Plan(msgspec.Struct, frozen=True):
    """How a service is divided now."""

    generation: int = 0
    count: int = 1
    partitions: int = 1

    def shares(self) -> list[Share]:
        """Return its shares, in order."""
        return [Share(n, self.count, self.partitions, self.generation) for n in range(self.count)]


def plan_consumer(service: str) -> str:
    """Return under which name the plan of a service is kept."""
    return f"{service}#plan"


async def plan_of(state: State, service: str) -> Plan:
    """Return how a service is divided: not at all, where nobody ever did."""
    for name, position in await state.positions():
        if name == plan_consumer(service) and position.cursor is not None:
            return msgspec.msgpack.decode(position.cursor, type=Plan)
    return Plan()


async def check_share_of(state: State, service: str, share: Share) -> None:
    """Refuse to work on a share of an older division; to be asked under its lease, which dividing needs.

    Raises: ConflictError.
    """
    plan = await plan_of(state, service)
    if plan.generation != share.generation:
        raise ConflictError(
            f"Cannot work on share {share.index} of {share.count} of service {service!r}: meanwhile it was "
            f"divided into {plan.count}. Take a share of that."
        )


def check_count(service: str, count: int, partitions: int) -> None:
    """Refuse more shares than there are partitions. Raises: InvalidInputError."""
    if not 1 <= count <= partitions:
        raise InvalidInputError(
            f"Cannot run service {service!r} in {count} workers: its events lie in {partitions} partitions. "
            f"Ask for 1 to {partitions}, or publish to topics of more partitions."
        )
