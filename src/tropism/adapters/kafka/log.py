"""The log on a Kafka cluster."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from uuid import uuid4

from confluent_kafka import Consumer, KafkaException, Producer

from tropism.adapters.confluent.formatted_log import FormattedLog
from tropism.adapters.confluent.registry import SchemaRegistry
from tropism.adapters.confluent.topics import formats_of
from tropism.adapters.ends import Ends
from tropism.adapters.kafka.address import Address, parse_address
from tropism.adapters.kafka.appending import Appender, Outgoing
from tropism.adapters.kafka.changes import TOPIC
from tropism.adapters.kafka.errors import LOGGER, Complaints, error_of, translated
from tropism.adapters.kafka.messages import encoded, may_exceed, size_of
from tropism.adapters.kafka.reader import Reader
from tropism.adapters.kafka.readers import Readers
from tropism.adapters.kafka.state import KafkaState
from tropism.adapters.kafka.topics import Topics
from tropism.adapters.kafka.transactions import Transactions
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.records import check_records, place
from tropism.core.envelope import Record, Stored
from tropism.core.errors import InvalidInputError, NotSupportedError
from tropism.ports.capabilities import Capabilities
from tropism.ports.log import Cursors, Partition

DURABILITY = (
    "Kafka, acknowledged by all replicas in sync (acks=all): what was acknowledged survives the loss of all "
    "but one of them, and power loss as the brokers flush. A failed append may have stored some of its "
    "records, and repeated, stores them twice."
)
DURABILITY_TRANSACTIONS = (
    "Kafka, acknowledged by all replicas in sync (acks=all), a transaction for every append: what was "
    "acknowledged survives the loss of all but one of them, and power loss as the brokers flush. A failed "
    "append stored nothing, unless the answer to its commit was lost."
)

MESSAGE_BYTES_MAX = 1_000_000
"""What brokers take unless told otherwise, in librdkafka's count."""

_QUIET = {"log_level": "2"}
"""What goes wrong is told by the errors raised; of every attempt to reconnect, nobody wants to be told."""

_ATTRIBUTES_BYTES = 4096
_LOOK_SECONDS = 1.0
"""How often a topic that is waited on and does not exist yet is looked for."""


class KafkaLog:
    """A ``Log`` of Kafka topics: one idempotent producer, and a consumer for each place that is read at.

    No consumer group: where a service stands is kept by its state, and partitions are assigned by hand.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._complaints = Complaints()
        self._ends = Ends()
        self._message_bytes_max = int(address.settings.get("message.max.bytes", MESSAGE_BYTES_MAX))
        seconds = address.timeout_seconds
        self._topics = Topics(address, self._complaints, self._consumer)
        self._readers = Readers(self._reader)
        appender = Transactions if address.transactions else Appender
        self._appender = appender(self._producer, seconds)
        self._state: KafkaState | None = None
        self._capabilities = Capabilities(
            durability=DURABILITY_TRANSACTIONS if address.transactions else DURABILITY,
            commit_domain=address.name,
            event_time=False,
            dedup_seconds=0.0,
            transactions=address.transactions,
            record_bytes_max=_record_bytes_max(self._message_bytes_max, structured=address.structured),
            url=address.url or None,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What this log can do."""
        return self._capabilities

    async def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics with so many partitions; existing ones stay as they are."""
        await self._topics.create(topics)

    async def append(self, records: Sequence[Record]) -> int:
        """Append records, and return how many: all count as new, for Kafka does not look at ids."""
        if not records:
            return 0
        records = list(records)
        counts = await self._counts(records)
        try:
            ends = await self._appender.append(lambda: self._outgoing(records, counts))
        except KafkaException as error:
            raise self._translated(error, "append to") from error
        self._ends.update(ends)
        return len(records)

    async def read(
        self, cursors: Cursors, *, count_max: int, without: Collection[str] = ()
    ) -> Mapping[Partition, Sequence[Stored]]:
        """Return what lies at the cursors, at most so many records a partition, but for types left out."""
        known = await self._known(cursors)
        if not known or count_max < 1:
            return {}
        split = self._readers.split(known)
        reads = [self._read(reader, part, count_max, set(without)) for reader, part in split.items()]
        try:
            found = await asyncio.gather(*reads) if len(reads) > 1 else [await reads[0]]
        except KafkaException as error:
            raise self._translated(
                error, f"read topics {sorted({topic for topic, _ in known})} of"
            ) from error
        return {partition: page for pages in found for partition, page in pages.items()}

    async def ends(self, topics: Iterable[str]) -> Mapping[Partition, int]:
        """Return the offsets up to which every partition of the topics that exist can be read."""
        return await self._topics.ends(topics)

    async def wait_beyond(self, ends: Cursors) -> None:
        """Return as soon as any of the partitions has a record beyond its given end."""
        ends = dict(ends)
        while not self._ends.are_beyond(ends):
            known = await self._known(ends)
            with suppress(TimeoutError):
                await self._listen(known, ends, None if len(known) == len(ends) else _LOOK_SECONDS)

    @property
    def state(self) -> KafkaState:
        """State that commits together with this log. Raises: NotSupportedError without transactions."""
        if not self._address.transactions:
            raise NotSupportedError(
                f"Cannot use {self._address.name!r} as state: without transactions, outputs and state cannot "
                f"be committed together. Add transactions=true to the URLs of log and state, or keep the "
                f"state in SQLite or PostgreSQL."
            )
        if self._state is None:
            self._state = KafkaState(
                commit_domain=self._address.name,
                topic=self._topics.name(TOPIC),
                clock=SystemClock(),
                prepare=lambda: self._topics.create({TOPIC: 1}, {"cleanup.policy": "compact"}),
                consumer=self._consumer,
                producer=self._producer,
                outgoing=self._messages,
                stored=self._ends.update,
                translated=self._translated,
                timeout_seconds=self._address.timeout_seconds,
            )
        return self._state

    async def close(self) -> None:
        """Wait a while for what is under way, and give all connections back."""
        if self._state is not None:
            await self._state.close()
        await self._appender.close()
        await self._readers.close()
        await self._topics.close()

    async def check(self) -> None:
        """Ask the cluster anything. Raises: UnavailableError if it does not answer, or refuses the login."""
        await self._topics.counts(["tropism"], anew=True)

    async def _read(
        self, reader: Reader, cursors: Cursors, count_max: int, without: Collection[str]
    ) -> dict[Partition, list[Stored]]:
        # What this process appended is there, though the broker may not have noticed that it can be read.
        least = {partition: self._ends.of(partition) for partition in cursors}
        pages = await reader.read(cursors, count_max, without, least)
        reader.at.update({partition: page[-1].offset + 1 for partition, page in pages.items()})
        return pages

    async def _listen(self, known: Cursors, ends: Cursors, seconds: float | None) -> None:
        """Wait until a partition grows, or so long. Raises: TimeoutError."""
        watching = []
        try:
            for reader, part in self._readers.split(known).items():
                watching.append((reader, part))
                await reader.watch(part)
            async with asyncio.timeout(seconds):
                await self._ends.wait_beyond(ends)
        except KafkaException as error:
            raise self._translated(
                error, f"wait for topics {sorted({topic for topic, _ in known})} of"
            ) from error
        finally:
            for reader, part in watching:
                reader.unwatch(part)

    async def _known(self, cursors: Cursors) -> dict[Partition, int]:
        """Return the cursors of partitions that exist."""
        counts = await self._topics.counts({topic for topic, _ in cursors})
        return {
            (topic, number): offset
            for (topic, number), offset in cursors.items()
            if 0 <= number < counts.get(topic, 0)
        }

    async def _counts(self, records: Sequence[Record]) -> Mapping[str, int]:
        check_records(records, self._capabilities.record_bytes_max)
        return await self._topics.needed({record.topic for record in records})

    async def _messages(self, records: Sequence[Record]) -> list[Outgoing]:
        return self._outgoing(records, await self._counts(records))

    def _outgoing(self, records: Sequence[Record], counts: Mapping[str, int]) -> list[Outgoing]:
        found, whole = [], self._address.structured
        for record in records:
            message = encoded(record, structured=whole)
            size = size_of(message) if whole or may_exceed(record, self._message_bytes_max) else 0
            if size > self._message_bytes_max:
                raise InvalidInputError(
                    f"Cannot append event {record.id!r}: with its attributes it has {size} bytes, more than "
                    f"{self._message_bytes_max}. Put what is large into Blobs and its name into the event."
                )
            where = record.topic, place(record, counts[record.topic])
            found.append(Outgoing(self._topics.name(record.topic), where, message))
        return found

    def _translated(self, error: KafkaException, what: str) -> Exception:
        return translated(error_of(error), what, self._address.name, self._complaints)

    # -- clients ----------------------------------------------------------------------------------

    def _reader(self) -> Reader:
        return Reader(
            self._consumer,
            self._topics.name,
            self._ends.update,
            self._complaints,
            self._address.timeout_seconds,
        )

    def _consumer(self, isolation: str = "read_committed") -> Consumer:
        return Consumer(
            {
                # Whoever waits at the end of one partition must not hold up those who go elsewhere.
                "fetch.wait.max.ms": "100",
                "fetch.error.backoff.ms": "50",
                "queued.max.messages.kbytes": "16384",
                "group.id": "tropism",
                **_QUIET,
                **self._address.consumer_settings(),
                "bootstrap.servers": self._address.servers,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "enable.partition.eof": True,
                "isolation.level": isolation,
                "allow.auto.create.topics": False,
                "error_cb": self._complaints.note,
            },
            logger=LOGGER,
        )

    def _producer(self, consumer: str | None = None) -> Producer:
        milliseconds = int(self._address.timeout_seconds * 1000)
        settings: dict[str, object] = {
            "message.timeout.ms": milliseconds,
            # Whoever dies in a transaction holds up those who read what is committed, for so long.
            "transaction.timeout.ms": max(milliseconds, 1000),
            "linger.ms": 5,
            **_QUIET,
            **self._address.producer_settings(),
            "bootstrap.servers": self._address.servers,
            "acks": "all",
            "enable.idempotence": True,
            "error_cb": self._complaints.note,
        }
        if self._address.transactions:
            # Whoever writes for a consumer has its name, so that Kafka lets the last of them write alone.
            name = f"tropism-{uuid4().hex}" if consumer is None else f"tropism/{consumer}"
            settings["transactional.id"] = self._address.prefix + name
        return Producer(settings, logger=LOGGER)


async def open_kafka(url: str) -> KafkaLog | FormattedLog:
    """Open a log on a Kafka cluster; where the URL names topics in other formats than JSON, through these.

    Raises: InvalidInputError if the URL says nothing usable; UnavailableError if no broker answers.
    """
    address = parse_address(url)
    formats = formats_of(address.formats)
    registry = SchemaRegistry(address.registry, address.timeout_seconds) if formats else None
    try:
        plain = KafkaLog(address)
    except KafkaException as error:
        raise _unusable(address, error) from error
    log = plain if registry is None else FormattedLog(plain, address.formats, formats, registry)
    try:
        await log.check()
    except BaseException:
        await log.close()
        raise
    return log


def _unusable(address: Address, error: KafkaException) -> InvalidInputError:
    # librdkafka's own words repeat values, which may be secret: only names are told.
    found = error_of(error)
    told = "" if found is None else found.str()
    names = [name for name in address.settings if f'"{name}"' in told] or sorted(address.settings)
    return InvalidInputError(
        f"Cannot open {address.name!r}: librdkafka knows no such setting, or not that value of it: {names}. "
        f"Mend the URL after librdkafka's list of settings."
    )


def _record_bytes_max(message_bytes_max: int, *, structured: bool) -> int:
    left = message_bytes_max - _ATTRIBUTES_BYTES
    # In a document, data that is no JSON stands as base 64.
    return left // 4 * 3 if structured else left
