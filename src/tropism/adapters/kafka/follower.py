"""Reading a compacted topic to its end, again and again."""

import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tropism.adapters.kafka import codes
from tropism.adapters.kafka.topics import latest_of
from tropism.core.errors import UnavailableError

PAGE, POLL_SECONDS = 1000, 0.1


class Follower:
    """Tells of every message of a partition, in order. Its calls block, and come one at a time."""

    def __init__(
        self,
        make: Callable[[str], Consumer],
        name: str,
        apply: Callable[[bytes | None, bytes | None], None],
        seconds: float,
    ) -> None:
        self._consumer = make("read_committed")
        # What can be read ends at anybody's open transaction; behind that may lie what was committed.
        self._ends = make("read_uncommitted")
        self._name = name
        self._apply = apply
        self._seconds = seconds
        self._next = 0
        self._assigned = False

    def catch_up(self) -> None:
        """Tell of all that was committed before this call.

        Raises: KafkaException; UnavailableError if that takes too long.
        """
        deadline = time.monotonic() + self._seconds
        place = self._name, 0
        end = latest_of(self._ends, {place: place}, self._seconds).get(place, 0)
        if not self._assigned:
            self._consumer.assign([TopicPartition(self._name, 0, self._next)])
            self._assigned = True
        while self._next < end:
            if time.monotonic() >= deadline:
                raise UnavailableError(
                    f"Cannot read topic {self._name!r}: its end was not reached within "
                    f"{self._seconds:g} s. See that the brokers run, or raise timeout_seconds in the URL."
                )
            self._take(deadline)

    def _take(self, deadline: float) -> None:
        for message in self._consumer.consume(PAGE, POLL_SECONDS):
            error = message.error()
            offset = message.offset() or 0
            if error is None:
                self._apply(message.key(), message.value())
                self._next = offset + 1
            elif error.code() == codes.PARTITION_END:
                # Markers of transactions take offsets, too, and are no messages.
                self._next = max(self._next, offset)
            elif not error.retriable() or time.monotonic() >= deadline:
                raise KafkaException(error)

    def close(self) -> None:
        """Give the connection back."""
        self._consumer.close()
        self._ends.close()
