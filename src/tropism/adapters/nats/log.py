"""A log on NATS JetStream: a stream a partition."""

import asyncio
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

import msgspec
from nats.aio.msg import Msg

from tropism.adapters.nats.address import Address
from tropism.adapters.nats.headers import document_headers_of, headers_of, size, stored
from tropism.adapters.nats.link import Link, Session
from tropism.adapters.nats.streams import ATOMIC_SINCE, Streams
from tropism.adapters.nats.tail import Tail
from tropism.adapters.nats.writer import BATCH_COUNT_MAX, KNOWN_BEFORE_US, Draft, Writer
from tropism.adapters.records import check_records, check_topics, place
from tropism.adapters.structured import document_of
from tropism.core.envelope import Record, Stored
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.ports.capabilities import Capabilities
from tropism.ports.log import Cursors, Partition

HEADERS_BYTES = 16 * 1024
"""What of the server's bound on messages is kept for attributes, and for what a place adds to them."""

PLACE_BYTES = 512
"""What a place in a stream and in a batch adds at most."""

READ_COUNT_MAX = 1000
READ_BYTES_MAX = 4 * 1024 * 1024
"""What one question to a stream brings at most; a page may take several."""

BEHIND_SECONDS, BEHIND_TRIES = 0.01, 100

READS_MAX = 8
"""How many streams are read at a time, so that what is under way stays bounded."""


class NatsLog:
    """A ``Log`` on the streams of a NATS server or cluster."""

    def __init__(self, address: Address, link: Link, session: Session, url: str) -> None:
        self._link = link
        self._address = address
        self._streams = Streams(address, link)
        self._tail = Tail(link, self._streams)
        self._writers: dict[Partition, Writer] = {}
        self._appending: set[asyncio.Task[int]] = set()
        self._abandoned: set[asyncio.Task[int]] = set()
        self._reading = asyncio.Semaphore(READS_MAX)
        self._bytes_max = session.max_payload
        self._capabilities = Capabilities(
            durability=_durability(address, atomic=address.atomic and session.version >= ATOMIC_SINCE),
            commit_domain=f"{address}/{address.prefix}",
            dedup_seconds=address.dedup_seconds,
            dedup_scope="partition",
            transactions=False,
            batch_count_max=BATCH_COUNT_MAX,
            record_bytes_max=_record_bytes_max(address, session),
            url=url,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What this log can do."""
        return self._capabilities

    async def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create topics with so many partitions; existing ones stay as they are."""
        check_topics(dict(topics), {})
        await self._streams.create(topics)

    async def append(self, records: Sequence[Record]) -> int:
        """Append records, and return how many were new."""
        check_records(records, self._capabilities.record_bytes_max)
        drafts = self._drafts(records)
        task = asyncio.create_task(self._append(drafts, set(self._abandoned)))
        self._appending.add(task)
        task.add_done_callback(self._appended)
        try:
            # Whoever stops waiting does not stop what was begun: it happens wholly.
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                self._abandoned.add(task)
            raise

    async def read(
        self, cursors: Cursors, *, count_max: int, without: Collection[str] = ()
    ) -> Mapping[Partition, Sequence[Stored]]:
        """Return what lies at the cursors, at most so many records a partition, but for types left out."""
        session = await self._link.session()
        pages = await asyncio.gather(
            *(self._page(session, where, at, count_max, without) for where, at in cursors.items())
        )
        return {partition: page for partition, page in zip(cursors, pages, strict=True) if page}

    async def ends(self, topics: Iterable[str]) -> Mapping[Partition, int]:
        """Return the offset behind the last record of every partition of the topics that exist."""
        counts = await self._streams.counts(topics)
        partitions = [(topic, number) for topic, count in counts.items() for number in range(count)]
        session = await self._link.session()
        states = await asyncio.gather(*(self._streams.state(session, each) for each in partitions))
        found = zip(partitions, states, strict=True)
        return {each: int(state["last_seq"]) for each, state in found if state is not None}

    async def wait_beyond(self, ends: Cursors) -> None:
        """Return as soon as any of the partitions reaches beyond its given end."""
        await self._tail.wait_beyond(ends)

    async def close(self) -> None:
        """Finish what was begun, and close the connection."""
        if self._appending:
            await asyncio.wait(self._appending)
        await self._link.close()

    def _drafts(self, records: Sequence[Record]) -> list[Draft]:
        """Return records ready to be sent, each id of a topic once. Raises: InvalidInputError."""
        drafts: dict[tuple[str, str], Draft] = {}
        for record in records:
            try:
                draft = self._draft(record)
            except UnicodeEncodeError as error:
                raise InvalidInputError(
                    f"Cannot append event {record.id!r}: an attribute of it is no valid Unicode. "
                    f"Publish valid text."
                ) from error
            bytes_ = len(draft.record.data) + size(draft.headers) + PLACE_BYTES
            if bytes_ > self._bytes_max:
                raise InvalidInputError(
                    f"Cannot append event {record.id!r}: with its attributes it has {bytes_} bytes, more "
                    f"than the server's {self._bytes_max}. Put the payload into Blobs and its name into "
                    f"the event."
                )
            drafts.setdefault((record.topic, record.id), draft)
        return list(drafts.values())

    def _draft(self, record: Record) -> Draft:
        if self._address.mode == "binary":
            return Draft(record, headers_of(record))
        whole = msgspec.structs.replace(record, data=document_of(record))
        return Draft(whole, document_headers_of(record))

    async def _append(self, drafts: list[Draft], abandoned: "set[asyncio.Task[int]]") -> int:
        if abandoned:
            # What nobody waits for any more came first all the same.
            await asyncio.wait(abandoned)
        counts = await self._streams.ensure(dict.fromkeys(draft.record.topic for draft in drafts))
        groups: dict[Partition, list[Draft]] = {}
        for draft in drafts:
            topic = draft.record.topic
            groups.setdefault((topic, place(draft.record, counts[topic])), []).append(draft)
        futures = [self._writer(partition).append(some) for partition, some in groups.items()]
        found = await asyncio.gather(*futures, return_exceptions=True)
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return sum(each for each in found if isinstance(each, int))

    def _appended(self, task: "asyncio.Task[int]") -> None:
        self._appending.discard(task)
        self._abandoned.discard(task)
        # Where nobody waits any more, nobody is told; without this, the event loop would complain.
        if not task.cancelled():
            task.exception()

    def _writer(self, partition: Partition) -> Writer:
        writer = self._writers.get(partition)
        if writer is None:
            writer = self._writers[partition] = Writer(
                self._streams.stream(partition),
                self._link,
                atomic=self._address.atomic,
                timeout_seconds=self._address.timeout_seconds,
                stored=lambda last: self._tail.ends.update({partition: last}),
                gone=partial(self._streams.forget, partition[0]),
            )
        return writer

    async def _page(
        self, session: Session, partition: Partition, offset: int, count_max: int, without: Collection[str]
    ) -> list[Stored]:
        page: list[Stored] = []
        sequence, known_us, more = max(offset, 0) + 1, KNOWN_BEFORE_US, True
        # A replica may answer that has not heard everything from its leader; it is given some time.
        reaches, behind = await self._leader_reaches(session, partition), BEHIND_TRIES
        while more and len(page) < count_max:
            async with self._reading:
                messages, more = await self._ask(session, partition, sequence, count_max - len(page))
            if not more and behind and _reached(messages, sequence - 1) < reaches:
                behind -= 1
                await asyncio.sleep(BEHIND_SECONDS)
                more = True
            for at, message in enumerate(messages, 1):
                found = stored(*partition, message.headers or {}, message.data, known_us=known_us)
                known_us, sequence = found.known_us, found.offset + 2
                is_last = at == len(messages) and not more
                if is_last or not without or found.record.type not in without:
                    page.append(found)
        return page

    async def _leader_reaches(self, session: Session, partition: Partition) -> int:
        """Return what a page must reach if it is not full; a single server knows that by itself."""
        state = await self._streams.state(session, partition) if self._address.replicas > 1 else None
        return 0 if state is None else int(state["last_seq"])

    async def _ask(
        self, session: Session, partition: Partition, sequence: int, count: int
    ) -> tuple[list[Msg], bool]:
        """Return what a stream holds from a sequence on, and whether there is more."""
        question = {"seq": sequence, "batch": min(count, READ_COUNT_MAX), "max_bytes": READ_BYTES_MAX}
        subject = f"$JS.API.DIRECT.GET.{self._streams.stream(partition).name}"
        *messages, last = await session.collect(subject, json.dumps(question).encode(), is_last=_is_status)
        headers = last.headers or {}
        match headers.get("Status"):
            case "204":
                return messages, bool(messages) and int(headers["Nats-Num-Pending"]) > 0
            case "404":
                return [], False
            case "503" if await self._streams.state(session, partition) is None:
                return [], False
            case status:
                raise session.unavailable(f"a read was refused with status {status}")


def _record_bytes_max(address: Address, session: Session) -> int:
    left = session.max_payload - HEADERS_BYTES
    # In a document, data that is no JSON stands as base 64.
    return left if address.mode == "binary" else left // 4 * 3


def _is_status(message: Msg) -> bool:
    """Say whether a reply is no stored message: those have their place, and may have any other header."""
    headers = message.headers or {}
    return "Status" in headers and "Nats-Sequence" not in headers


def _reached(messages: Sequence[Msg], before: int) -> int:
    return int((messages[-1].headers or {})["Nats-Sequence"]) if messages else before


def _durability(address: Address, *, atomic: bool) -> str:
    holders = (
        "the server's disk" if address.replicas == 1 else f"the disks of most of {address.replicas} servers"
    )
    if address.sync == "always":
        kept = (
            f"An acknowledged append is on {holders} and survives power loss: sync=always, as the URL says."
        )
    else:
        kept = (
            "An acknowledged append survives kill -9 of the server. A power loss may take what came in the "
            "server's last sync interval, 2 minutes unless set. Set sync_interval: always in its "
            "configuration, and say sync=always in the URL."
        )
    batch = (
        f"What one append adds to a partition, up to {BATCH_COUNT_MAX} records, is there wholly or not at all"
        if atomic
        else "This server has no atomic batches: a failure may leave the first records of an append"
    )
    return (
        f"{kept} {batch}; over several partitions, a failure may leave some of them, and appending again "
        f"under the same ids within {address.dedup_seconds:g} seconds adds the rest."
    )


async def open_log(address: Address, url: str) -> NatsLog:
    """Connect, and return the log. Raises: UnavailableError; InvalidInputError for refused credentials."""
    link = Link(address)
    try:
        session = await link.session()
        await _check_jetstream(address, session)
    except BaseException:
        await link.close()
        raise
    return NatsLog(address, link, session, url)


async def _check_jetstream(address: Address, session: Session) -> None:
    error = (await session.api("INFO")).get("error")
    if error is not None:
        raise UnavailableError(
            f"Cannot use {str(address)!r} as a log: the server says {error.get('description')!r}. "
            f"Start it with JetStream, as 'nats-server -js' does."
        )
