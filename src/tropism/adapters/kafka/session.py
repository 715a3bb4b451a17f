"""The transactions of one lease: a producer that fences those before it."""

import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaException, Producer

from tropism.adapters.kafka.appending import Outgoing, batch_of, produce
from tropism.ports.log import Partition


class UnknownOutcomeError(Exception):
    """A transaction's last word got no answer: it was committed or not."""


class Session:
    """A transactional producer named after a consumer. Its calls block, and come one at a time."""

    def __init__(self, make: Callable[[], Producer], seconds: float) -> None:
        """Fence whoever had that name, and end what it left open. Raises: KafkaException."""
        self._make = make
        self._seconds = seconds
        self._producer = self._open()
        self.is_unclear = False
        """Whether its last transaction was left open: then it must be opened anew."""

    def _open(self) -> Producer:
        producer = self._make()
        producer.init_transactions(self._seconds)
        return producer

    def open_anew(self) -> None:
        """Go on with another producer: what the last one left open is ended first. Raises: KafkaException."""
        self._producer = self._open()
        self.is_unclear = False

    def apply(self, outgoing: Sequence[Outgoing]) -> dict[Partition, int]:
        """Store messages in one transaction; return how far the partitions reach then.

        Raises: KafkaException, and nothing is stored; UnknownOutcomeError.
        """
        producer, deadline = self._producer, time.monotonic() + self._seconds
        batch = batch_of(outgoing, lambda _: None)
        try:
            producer.begin_transaction()
            for each, heard in batch.heard(outgoing):
                while True:
                    try:
                        produce(producer, each, heard)
                        break
                    except BufferError:
                        producer.flush(0.1)
                        if time.monotonic() >= deadline:
                            raise
            producer.flush(max(0.1, deadline - time.monotonic()))
        except (KafkaException, BufferError) as error:
            self._abort(error)
            raise
        self._finish(producer, deadline)
        return batch.ends

    def _finish(self, producer: Producer, deadline: float) -> None:
        while True:
            try:
                producer.commit_transaction(max(0.1, deadline - time.monotonic()))
            except KafkaException as raised:
                error = raised.args[0]
                if error.retriable() and time.monotonic() < deadline:
                    continue
                if error.txn_requires_abort():
                    self._abort(raised)
                    raise
                if error.fatal():
                    raise
                self.is_unclear = True
                raise UnknownOutcomeError from raised
            else:
                return

    def _abort(self, error: Exception) -> None:
        known = error.args[0] if isinstance(error, KafkaException) else None
        if known is not None and known.fatal():
            return
        try:
            self._producer.abort_transaction(self._seconds)
        except KafkaException:
            # It was not committed, and is undone when the next producer of that name begins.
            self.is_unclear = True
