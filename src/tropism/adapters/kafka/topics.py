"""Topics of a cluster: their names there, how many partitions they have, and how far those reach."""

import asyncio
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tropism.adapters.kafka import codes
from tropism.adapters.kafka.address import Address
from tropism.adapters.kafka.errors import LOGGER, Complaints, error_of, translated
from tropism.adapters.records import check_topics
from tropism.core.errors import ConflictError, InvalidInputError, NotSupportedError, UnavailableError
from tropism.ports.log import Partition

T = TypeVar("T")

AGAIN_SECONDS = 0.05
_NAME_MAX = 249
_LATEST = -1
_ODD = re.compile(r"[^A-Za-z0-9._-]|_(?=x)")
_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, codes.UNKNOWN_TOPIC, codes.UNKNOWN_PARTITION}
_NO_WAY = {KafkaError.UNSUPPORTED_VERSION, codes.UNSUPPORTED_FEATURE, KafkaError.INVALID_CONFIG}


def kafka_name(prefix: str, topic: str) -> str:
    """Return what a topic is called in the cluster: what Kafka allows no character for stands as its code.

    Raises: InvalidInputError if that is too long, or nothing.
    """
    name = prefix + _ODD.sub(lambda found: f"_x{ord(found.group()):X}_", topic)
    if not topic or len(name) > _NAME_MAX or name in {".", ".."}:
        raise InvalidInputError(
            f"Cannot use topic {topic!r}: Kafka would know it as {name!r}, of {len(name)} characters. "
            f"Choose a name of 1 to {_NAME_MAX}."
        )
    return name


def latest_of(
    consumer: Consumer, places: Mapping[tuple[str, int], Partition], seconds: float
) -> dict[Partition, int]:
    """Return the ends of partitions, given by their names there: one question a broker, however many.

    Where transactions are open, these are the ends of what can be read. Raises: KafkaException.
    """
    wanted = [TopicPartition(name, number, _LATEST) for name, number in places]
    deadline = time.monotonic() + seconds
    found: dict[Partition, int] = {}
    while wanted:
        left = max(0.1, deadline - time.monotonic())
        again = []
        for each in consumer.offsets_for_times(wanted, timeout=left):
            if each.error is None:
                found[places[each.topic, each.partition]] = each.offset
            elif each.error.code() not in _GONE:
                again.append(TopicPartition(each.topic, each.partition, _LATEST))
                if time.monotonic() >= deadline:
                    raise KafkaException(each.error)
        if again:
            # A leader is being chosen, say: asked again at once it would not be there yet.
            time.sleep(AGAIN_SECONDS)
        wanted = again
    return found


class Topics:
    """What is known of the topics, and how to make more. Calls that block run in threads of its own."""

    def __init__(self, address: Address, complaints: Complaints, consumer: Callable[[], Consumer]) -> None:
        self._address = address
        self._complaints = complaints
        self._counts: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._threads = ThreadPoolExecutor(4, "tropism-kafka-topics")
        self._consumer = consumer()
        self._admin: AdminClient | None = None

    def name(self, topic: str) -> str:
        """Return what a topic is called in the cluster. Raises: InvalidInputError."""
        name = self._names.get(topic)
        if name is None:
            name = self._names[topic] = kafka_name(self._address.prefix, topic)
        return name

    async def counts(self, topics: Collection[str], *, anew: bool = False) -> dict[str, int]:
        """Return how many partitions topics have, those that exist; ``anew`` asks also for what is known."""
        unknown = [topic for topic in topics if anew or topic not in self._counts]
        if unknown:
            await self._run(f"look up topics {sorted(unknown)} in", self._look_up, unknown)
        return {topic: self._counts[topic] for topic in topics if topic in self._counts}

    async def needed(self, topics: Collection[str]) -> dict[str, int]:
        """Return how many partitions topics have; those that do not exist are created."""
        counts = await self.counts(topics)
        missing = {topic: self._address.partitions for topic in topics if topic not in counts}
        if missing:
            await self._run(f"create topics {sorted(missing)} in", self._make, missing)
            counts = await self.counts(topics)
            lost = sorted(missing.keys() - counts.keys())
            if lost:
                raise UnavailableError(
                    f"Cannot append to topic {lost[0]!r}: {self._address.name!r} created it and does not "
                    f"show it yet. Try again."
                )
        return counts

    async def create(self, topics: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
        """Create topics with so many partitions. Raises: ConflictError, InvalidInputError."""
        check_topics(dict(topics), await self.counts(topics, anew=True))
        missing = {topic: count for topic, count in topics.items() if topic not in self._counts}
        if missing:
            await self._run(f"create topics {sorted(missing)} in", self._make, missing, config)
        # Somebody else may have been faster, or the broker may have its own mind.
        check_topics(dict(topics), await self.counts(topics, anew=True))

    async def ends(self, topics: Iterable[str]) -> dict[Partition, int]:
        """Return the ends of all partitions of the topics that exist."""
        counts = await self.counts(list(dict.fromkeys(topics)), anew=True)
        places = {
            (self.name(topic), number): (topic, number)
            for topic, count in counts.items()
            for number in range(count)
        }
        return await self._run(f"ask how far topics {sorted(counts)} reach in", self._ends, places)

    async def close(self) -> None:
        """Give the connections back."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._consumer.close)
        self._threads.shutdown(wait=False)

    async def _run(self, what: str, call: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(self._threads, call, *arguments)
        except KafkaException as error:
            raise translated(error_of(error), what, self._address.name, self._complaints) from error
        self._complaints.refused = None
        return found

    def _look_up(self, topics: Sequence[str]) -> None:
        for topic in topics:
            name = self.name(topic)
            found = self._consumer_metadata(name)
            if found:
                self._counts[topic] = found
            else:
                self._counts.pop(topic, None)

    def _consumer_metadata(self, name: str) -> int:
        """Return how many partitions a topic has, 0 without it: asked by a consumer, which creates none."""
        try:
            told = self._consumer.list_topics(name, timeout=self._address.timeout_seconds).topics[name]
        finally:
            # Whatever it has to tell, such as why nobody answers, it tells when it is asked for messages.
            self._consumer.poll(0)
        if told.error is not None and told.error.code() not in _GONE:
            raise KafkaException(told.error)
        return len(told.partitions)

    def _ends(self, places: Mapping[tuple[str, int], Partition]) -> dict[Partition, int]:
        return latest_of(self._consumer, places, self._address.timeout_seconds)

    def _make(self, topics: Mapping[str, int], config: Mapping[str, str] | None = None) -> None:
        seconds = self._address.timeout_seconds
        if self._admin is None:
            settings: dict[str, Any] = {
                "log_level": "2",
                **self._address.producer_settings(),
                "bootstrap.servers": self._address.servers,
                "error_cb": self._complaints.note,
            }
            self._admin = AdminClient(settings, logger=LOGGER)
        if not self._address.creates:
            for topic in topics:
                # Asked by what may write, the broker creates it, if it is set to.
                self._admin.list_topics(self.name(topic), timeout=seconds)
            return
        replication = self._address.replication
        wanted = [
            NewTopic(self.name(topic), count, replication, config=dict(config or {}))
            for topic, count in topics.items()
        ]
        made = self._admin.create_topics(wanted, operation_timeout=seconds, request_timeout=seconds)
        for name, result in made.items():
            try:
                result.result(seconds + 1)
            except TimeoutError as error:
                raise UnavailableError(
                    f"Cannot create topic {name!r} at {self._address.name!r}: none did within {seconds:g} s. "
                    f"Create it there, or set create=broker in the URL where brokers create topics."
                ) from error
            except KafkaException as error:
                self._explain(name, error_of(error), error)

    def _explain(self, name: str, error: KafkaError | None, raised: KafkaException) -> None:
        """Raise what is to be told of a topic that was not created, unless somebody else created it."""
        code = error.code() if error is not None else None
        if code == KafkaError.TOPIC_ALREADY_EXISTS:
            return
        where = self._address.name
        if code in _NO_WAY:
            raise NotSupportedError(
                f"Cannot create topic {name!r} at {where!r}: its brokers do not let clients do that. "
                f"Create it there, or set create=broker in the URL where brokers create topics."
            ) from raised
        if code == KafkaError.INVALID_REPLICATION_FACTOR:
            raise InvalidInputError(
                f"Cannot create topic {name!r} at {where!r}: there are fewer than "
                f"{self._address.replication} brokers. Set replication in the URL to what there is."
            ) from raised
        if code == KafkaError.TOPIC_EXCEPTION:
            raise ConflictError(
                f"Cannot create topic {name!r} at {where!r}: its name is taken, or too like another's (Kafka "
                f"tells '.' and '_' not apart in metrics). Choose another."
            ) from raised
        raise translated(error, f"create topic {name!r} in", where, self._complaints) from raised
