"""Messages on their way to the brokers, wholly queued and then acknowledged, batch by batch."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from tropism.adapters.kafka import codes
from tropism.adapters.kafka.messages import Encoded
from tropism.ports.log import Partition

HEAR_SECONDS = 0.1
FULL_SECONDS, IDLE_SECONDS = 0.002, 1.0

Heard = Callable[[KafkaError | None, Message], None]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message and where it goes; ``where`` is that place by the topic's own name."""

    topic: str
    where: Partition
    message: Encoded


Prepare = Callable[[], Sequence[Outgoing]]


@dataclass(slots=True)
class Batch:
    """What is known of a batch: how many messages are under way, how far they reach, what failed."""

    done: Callable[["Batch"], None]
    left: int
    places: dict[tuple[str, int], Partition]
    lasts: set[int]
    ends: dict[Partition, int] = field(default_factory=dict)
    error: KafkaError | None = None
    lock: Lock = field(default_factory=Lock)

    def heard(self, outgoing: Sequence[Outgoing]) -> Iterator[tuple[Outgoing, Heard]]:
        """Yield messages, each with what is to hear of its fate."""
        for at, each in enumerate(outgoing):
            yield each, self.delivered_last if at in self.lasts else self.delivered

    def delivered(self, error: KafkaError | None, _: Message) -> None:
        """Count a message as delivered or lost."""
        if error is not None:
            self.error = error
        self.settle(1)

    def delivered_last(self, error: KafkaError | None, message: Message) -> None:
        """Count the last message of a partition: those before it lie in front of it."""
        if error is None:
            where = self.places[message.topic() or "", message.partition() or 0]
            self.ends[where] = (message.offset() or 0) + 1
        self.delivered(error, message)

    def settle(self, count: int) -> None:
        """Count messages as no longer under way."""
        with self.lock:
            self.left -= count
            last = not self.left
        if last:
            self.done(self)


def batch_of(outgoing: Sequence[Outgoing], done: Callable[[Batch], None]) -> Batch:
    """Return what counts a batch's messages."""
    lasts = {(each.topic, each.where[1]): at for at, each in enumerate(outgoing)}
    return Batch(
        done, len(outgoing), {place: outgoing[at].where for place, at in lasts.items()}, set(lasts.values())
    )


def produce(producer: Producer, each: Outgoing, heard: Heard) -> None:
    """Queue a message. Raises: BufferError if the queue is full; KafkaException."""
    key, value, headers = each.message
    # Lists being invariant, one of bytes alone is not what it declares; it takes it as it is, uncopied.
    producer.produce(each.topic, value, key, each.where[1], on_delivery=heard, headers=headers)  # type: ignore[arg-type]


def settle(future: "asyncio.Future[Any]", result: object) -> None:
    """Give a future its result, or the error that is its result, unless nobody waits for it any more."""
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)


def _gave_up(error: KafkaError | None) -> bool:
    """Say whether a producer will never send again: the error that ended it, or what it says ever after."""
    return error is not None and (error.fatal() or error.code() == codes.FATAL)


class Appender:
    """An idempotent producer: what it is given arrives in order and once, unless it gives up in the middle.

    One thread queues batches, in order; another hears of their fate. A batch costs the event loop one call.
    """

    def __init__(self, make: Callable[[], Producer], timeout_seconds: float) -> None:
        self._make = make
        self._producer = make()
        self._timeout_seconds = timeout_seconds
        self._queueing = ThreadPoolExecutor(1, "tropism-kafka-append")
        self._under_way = Event()
        self._lock = Lock()
        self._open = 0
        self._broken = self._closed = False
        self._thread = Thread(target=self._hear, name="tropism-kafka-delivery", daemon=True)
        self._thread.start()

    async def append(self, prepare: Prepare) -> dict[Partition, int]:
        """Append what ``prepare`` returns, called in a thread; return how far the partitions reach now.

        Raises: KafkaException; what ``prepare`` raises, and then nothing was sent.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Batch] = loop.create_future()

        def done(batch: Batch) -> None:
            with self._lock:
                self._open -= 1
                self._broken = self._broken or _gave_up(batch.error)
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, future, batch)

        await loop.run_in_executor(self._queueing, self._queue, prepare, done)
        batch = await future
        if batch.error is not None:
            raise KafkaException(batch.error)
        return batch.ends

    async def close(self) -> None:
        """Wait a while for what is under way, and give the connections back."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._queueing.shutdown()
        with suppress(KafkaException):
            self._producer.flush(self._timeout_seconds)
        self._closed = True
        self._under_way.set()
        self._thread.join()

    def _queue(self, prepare: Prepare, done: Callable[[Batch], None]) -> None:
        outgoing = prepare()
        batch = batch_of(outgoing, done)
        with self._lock:
            self._open += 1
            producer = self._producer
        deadline = time.monotonic() + self._timeout_seconds
        for at, (each, heard) in enumerate(batch.heard(outgoing)):
            try:
                self._produce(producer, each, heard, deadline)
            except KafkaException as error:
                batch.error = error.args[0]
                # Of what was queued before it, the fate is still to be heard.
                batch.settle(len(outgoing) - at)
                break
        # Only now, for then the whole batch leaves at once instead of in pieces.
        self._under_way.set()

    def _produce(self, producer: Producer, each: Outgoing, heard: Heard, deadline: float) -> None:
        while True:
            try:
                produce(producer, each, heard)
            except BufferError as error:
                if time.monotonic() >= deadline:
                    raise KafkaException(KafkaError(codes.QUEUE_FULL)) from error
                self._under_way.set()
                # In this thread of its own: what hears of deliveries makes room, and gives no sign of it.
                time.sleep(FULL_SECONDS)
            else:
                return

    def _flush(self) -> None:
        """Hear of deliveries; asked to flush, it does not linger for more."""
        try:
            self._producer.flush(HEAR_SECONDS)
        except KafkaException:
            # It gave up for good, and refuses to flush; of the fate of its messages it still tells.
            with suppress(KafkaException):
                self._producer.poll(HEAR_SECONDS)

    def _hear(self) -> None:
        while not self._closed:
            if not self._under_way.wait(IDLE_SECONDS):
                # The client does its chores, such as renewing a token, when it is asked for news.
                self._producer.poll(0)
            self._under_way.clear()
            while len(self._producer) and not self._closed:
                self._flush()
            with self._lock:
                if self._broken and not self._open:
                    # It gave up for good, as when the brokers forgot what it had sent.
                    self._producer, self._broken = self._make(), False
