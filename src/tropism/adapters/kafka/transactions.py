"""Batches that are stored wholly or not at all: one transaction for as many as wait."""

import asyncio
import queue
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread

from confluent_kafka import KafkaError, KafkaException, Producer

from tropism.adapters.kafka import codes
from tropism.adapters.kafka.appending import IDLE_SECONDS, Batch, Outgoing, Prepare, batch_of, produce, settle
from tropism.ports.log import Partition

BATCHES_MAX = 64


class Transactions:
    """A transactional producer in a thread of its own."""

    def __init__(self, make: Callable[[], Producer], timeout_seconds: float) -> None:
        self._make = make
        self._producer: Producer | None = None
        self._timeout_seconds = timeout_seconds
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = Thread(target=self._run, name="tropism-kafka-transactions", daemon=True)
        self._thread.start()

    async def append(self, prepare: Prepare) -> dict[Partition, int]:
        """Append what ``prepare`` returns, called in a thread; return how far the partitions reach now.

        Raises: KafkaException; what ``prepare`` raises. Then nothing was stored, unless the answer to the
        transaction's last word was lost.
        """
        job = _Job(prepare)
        self._jobs.put(job)
        return await job.future

    async def close(self) -> None:
        """Give the connections back."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        closing = False
        while not closing:
            jobs: list[_Job | None] = []
            with suppress(queue.Empty):
                jobs.append(self._jobs.get(timeout=IDLE_SECONDS))
                while len(jobs) < BATCHES_MAX:
                    jobs.append(self._jobs.get_nowait())
            closing = None in jobs
            self._append([job for job in jobs if job is not None and job.is_prepared()])
            if not jobs and self._producer is not None:
                self._producer.poll(0)

    def _append(self, jobs: "Sequence[_Job]") -> None:
        if not jobs:
            return
        try:
            ends = self._commit([each for job in jobs for each in job.outgoing])
        except KafkaException as error:
            for job in jobs:
                job.fail(error)
        else:
            for job in jobs:
                job.succeed({where: end for where, end in ends.items() if where in job.places()})

    def _commit(self, outgoing: Sequence[Outgoing]) -> dict[Partition, int]:
        deadline = time.monotonic() + self._timeout_seconds
        if self._producer is None:
            producer = self._make()
            producer.init_transactions(self._timeout_seconds)
            self._producer = producer
        producer = self._producer
        batch = batch_of(outgoing, lambda _: None)
        try:
            producer.begin_transaction()
            self._fill(producer, batch, outgoing, deadline)
            self._finish(producer, deadline)
        except KafkaException as error:
            self._give_up(producer, batch, error)
            raise
        return batch.ends

    def _fill(self, producer: Producer, batch: Batch, outgoing: Sequence[Outgoing], deadline: float) -> None:
        for each, heard in batch.heard(outgoing):
            while True:
                try:
                    produce(producer, each, heard)
                    break
                except BufferError as error:
                    if time.monotonic() >= deadline:
                        raise KafkaException(KafkaError(codes.QUEUE_FULL)) from error
                    producer.flush(0.1)
        producer.flush(max(0.1, deadline - time.monotonic()))

    def _finish(self, producer: Producer, deadline: float) -> None:
        while True:
            try:
                producer.commit_transaction(max(0.1, deadline - time.monotonic()))
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() >= deadline:
                    raise
            else:
                return

    def _give_up(self, producer: Producer, batch: Batch, error: KafkaException) -> None:
        """Undo a transaction; where that fails, the next begins with another producer, which undoes it."""
        if batch.error is not None:
            error.add_note(f"First: {batch.error.name()}.")
        try:
            if error.args[0].fatal():
                raise error
            producer.abort_transaction(self._timeout_seconds)
        except KafkaException:
            self._producer = None


class _Job:
    """A batch to append, and who waits for it."""

    def __init__(self, prepare: Prepare) -> None:
        self._loop = asyncio.get_running_loop()
        self._prepare = prepare
        self.future: asyncio.Future[dict[Partition, int]] = self._loop.create_future()
        self.outgoing: Sequence[Outgoing] = ()

    def is_prepared(self) -> bool:
        """Prepare it, and say whether there is something to append and somebody who waits for it."""
        if self.future.cancelled():
            return False
        try:
            self.outgoing = self._prepare()
        except Exception as error:  # noqa: BLE001 (it is raised where the call was made)
            self.fail(error)
            return False
        return True

    def places(self) -> set[Partition]:
        """Return where its messages go."""
        return {each.where for each in self.outgoing}

    def succeed(self, ends: dict[Partition, int]) -> None:
        """Tell that it is stored."""
        self._tell(ends)

    def fail(self, error: BaseException) -> None:
        """Tell that it is not."""
        self._tell(error)

    def _tell(self, result: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle, self.future, result)
