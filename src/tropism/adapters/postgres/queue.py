"""Queues in a PostgreSQL database."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from tropism.adapters.messages import (
    BATCH_COUNT_MAX,
    DELAY_SECONDS_MAX,
    check_delay,
    check_loan,
    check_messages,
)
from tropism.adapters.postgres.address import Address
from tropism.adapters.postgres.listener import Announcer
from tropism.adapters.postgres.packing import blobs, encoded_texts, int4s, int8s, texts
from tropism.adapters.postgres.reader import Reader
from tropism.adapters.postgres.schema import Facts
from tropism.adapters.postgres.texts import check_indexed, encoded, plain
from tropism.adapters.postgres.writer import Operation, Row, Writer
from tropism.adapters.records import RECORD_BYTES_MAX
from tropism.adapters.stirs import Stirs
from tropism.core.errors import InvalidInputError
from tropism.ports.capabilities import Capabilities
from tropism.ports.queue import Dead, Depth, Message, Received

T = TypeVar("T")

DEDUP_SECONDS = 7 * 86_400.0

LOOK_SECONDS = 1.0
"""How often one who waits for a message looks by itself: a delay or a loan may have ended."""

_DEPTH = (
    "SELECT count(*) FILTER (WHERE due <= clock_timestamp()), "
    "count(*) FILTER (WHERE due > clock_timestamp() AND NOT leased), "
    "count(*) FILTER (WHERE due > clock_timestamp() AND leased), "
    "(SELECT count(*) FROM {0}.dead d WHERE d.queue_id = (SELECT id FROM {0}.queues WHERE name = %b)) "
    "FROM {0}.messages m WHERE m.queue_id = (SELECT id FROM {0}.queues WHERE name = %b)"
)
_DEAD = (
    "SELECT d.id, d.key, d.body, d.attributes, d.cause, d.attempts, d.died_us FROM {0}.dead d "
    "WHERE d.queue_id = (SELECT id FROM {0}.queues WHERE name = %b) AND d.id > %b::text "
    "ORDER BY d.id LIMIT %b"
)

_attributes = msgspec.json.Decoder(dict[str, str])
_INT64_MAX = 2**63 - 1


class PostgresQueue:
    """A ``Queue`` of one table: consumers take what no other has locked."""

    def __init__(
        self,
        address: Address,
        facts: Facts,
        writer: Writer,
        reader: Reader,
        *,
        announcer: Announcer,
        stirs: Stirs,
    ) -> None:
        self._schema = address.schema
        self._writer = writer
        self._reader = reader
        self._announcer = announcer
        self._stirs = stirs
        self._capabilities = Capabilities(
            durability=facts.durability,
            commit_domain=facts.domain,
            ordering="key",
            dedup_seconds=DEDUP_SECONDS,
            delay_seconds_max=DELAY_SECONDS_MAX,
            transactions=False,
            batch_count_max=BATCH_COUNT_MAX,
            dead_letters="native",
            replay=False,
            record_bytes_max=RECORD_BYTES_MAX,
            url=address.url,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What this queue can do."""
        return self._capabilities

    async def send(self, queue: str, messages: Sequence[Message], *, delay_seconds: float = 0.0) -> int:
        """Add messages, to be received after a delay at the earliest; return how many were new.

        Where the connection was lost meanwhile, messages of this very call may count as not new.
        """
        check_indexed(encoded([queue]), "a queue's name")
        check_messages(queue, messages, bytes_max=RECORD_BYTES_MAX, count_max=BATCH_COUNT_MAX)
        check_delay(queue, delay_seconds)
        if not messages:
            return 0
        ids, keys = encoded([m.id for m in messages]), encoded([m.key for m in messages])
        check_indexed(ids, "a message id")
        check_indexed(keys, "a message's key")
        values = (
            *(_text(queue), float(delay_seconds), DEDUP_SECONDS),
            *(encoded_texts(ids), encoded_texts(keys)),
            blobs([m.body for m in messages]),
            encoded_texts([_packed(m) for m in messages]),
        )
        added = await self._do("send", values, _only, queues=[queue], rows=len(messages))
        self._stir({queue})
        return int(added)

    async def receive(
        self, queue: str, *, count_max: int, lease_seconds: float, wait_seconds: float = 0.0
    ) -> Sequence[Received]:
        """Borrow up to so many messages; wait up to so long for the first one."""
        check_loan(queue, lease_seconds, count_max)
        values = _text(queue), min(count_max, 2**31 - 1), lease_seconds

        async def take() -> tuple[Sequence[Received], float]:
            return await self._receive(queue, values), LOOK_SECONDS

        return await self._stirs.receive(queue, take, wait_seconds)

    async def ack(self, received: Sequence[Received]) -> Sequence[str]:
        """Finish messages for good; return the receipts of loans that had been lost.

        Where the connection was lost meanwhile, loans ended by this very call may count as lost.
        """
        keyed = {one.queue for one in received if one.message.key}
        lost = await self._settle("finish", _loans(received), None, queues=keyed)
        # What waited behind a message of its key may be received now.
        self._stir(keyed)
        return lost

    async def nack(self, received: Sequence[Received], *, delay_seconds: float = 0.0) -> Sequence[str]:
        """Give messages back, to be received after a delay; return the receipts of lost loans."""
        for queue in {one.queue for one in received}:
            check_delay(queue, delay_seconds)
        lost = await self._settle("reschedule", _loans(received), float(delay_seconds), False)
        self._stir({one.queue for one in received})
        return lost

    async def renew(self, received: Sequence[Received], *, lease_seconds: float) -> Sequence[str]:
        """Keep loans for so long from now; return the receipts of lost ones."""
        for queue in {one.queue for one in received}:
            check_loan(queue, lease_seconds)
        return await self._settle("reschedule", _loans(received), lease_seconds, True)

    async def bury(self, received: Mapping[str, str], queue: str) -> Sequence[str]:
        """Move messages to the dead letters, by receipt with its cause; return the lost receipts."""
        loans = [(queue, receipt) for receipt in received]
        lost = await self._settle("finish", loans, texts(list(received.values())), queues={queue})
        self._stir({queue})
        return lost

    async def dead(self, queue: str, *, after: str = "", count_max: int = 100) -> Sequence[Dead]:
        """Return a page of dead letters in order of id, behind an id."""
        count = min(max(count_max, 0), _INT64_MAX)
        rows = await self._reader.run(self._query(_DEAD), (_text(queue), _text(after), count))
        return [
            Dead(_message(id, key, body, more), plain(cause), attempts, died_us)
            for id, key, body, more, cause, attempts, died_us in rows
        ]

    async def redrive(self, queue: str, ids: Sequence[str]) -> int:
        """Send dead letters again, as new; return how many were there."""
        count = await self._do("redrive", (_text(queue), texts(list(ids))), _only, queues=[queue])
        self._stir({queue})
        return int(count)

    async def discard(self, queue: str, ids: Sequence[str]) -> int:
        """Delete dead letters; return how many were there."""
        return int(await self._do("discard", (_text(queue), texts(list(ids))), _only))

    async def depth(self, queue: str) -> Depth:
        """Return how many messages there are; zeros where the queue does not exist."""
        name = _text(queue)
        ((ready, delayed, leased, dead),) = await self._reader.run(self._query(_DEPTH), (name, name))
        return Depth(ready, delayed, leased, dead)

    async def _receive(self, queue: str, values: tuple[Any, ...]) -> list[Received]:
        def read(rows: list[Row]) -> list[Received]:
            return [
                Received(queue, _message(id, key, body, more), f"{place}.{attempt}", attempt)
                for place, id, key, body, more, attempt in sorted(rows)
            ]

        return await self._do("receive", values, read)

    async def _settle(
        self, function: str, loans: Sequence[tuple[str, str]], *more: Any, queues: Collection[str] = ()
    ) -> list[str]:
        """Change messages on loan; return the receipts of loans that were lost."""
        if not loans:
            return []
        places = [_place(receipt) for _, receipt in loans]
        values = (
            texts([queue for queue, _ in loans]),
            int8s([place for place, _ in places]),
            int4s([attempt for _, attempt in places]),
            *more,
        )
        held = set(await self._do(function, values, _only, queues=queues, rows=len(loans)) or ())
        return [receipt for number, (_, receipt) in enumerate(loans, 1) if number not in held]

    def _stir(self, queues: set[str]) -> None:
        for queue in queues:
            self._stirs.stir(queue)
            self._announcer.tell({}, queue)

    async def _do(
        self,
        function: str,
        values: Sequence[Any],
        read: Callable[[list[Row]], T],
        *,
        queues: Collection[str] = (),
        rows: int = 1,
    ) -> T:
        call = f"SELECT * FROM {self._schema}.{function}({', '.join(['%b'] * len(values))})".encode()
        return await self._writer.submit(Operation(call, values, read, queues=list(queues), rows=rows))

    def _query(self, text: str) -> bytes:
        return text.format(self._schema).encode()


def _loans(received: Sequence[Received]) -> list[tuple[str, str]]:
    return [(one.queue, one.receipt) for one in received]


def _packed(message: Message) -> bytes | None:
    if message.attributes is None:
        return None
    try:
        return msgspec.json.encode(message.attributes)
    except (UnicodeEncodeError, msgspec.MsgspecError) as error:
        raise InvalidInputError(
            f"Cannot send message {message.id!r}: its attributes are no valid Unicode. Send valid text."
        ) from error


def _message(id: str, key: str, body: bytes, more: str | None) -> Message:
    attributes = None if more is None else _attributes.decode(more)
    return Message(plain(id), body, plain(key), attributes)


def _place(receipt: str) -> tuple[int, int]:
    """Return the place and the attempt of a receipt; of one that is not ours, such as no loan has."""
    place, _, attempt = receipt.partition(".")
    if not (place.isdecimal() and attempt.isdecimal()) or len(place) > 18 or len(attempt) > 9:
        return -1, -1
    return int(place), int(attempt)


def _text(text: str) -> str:
    return encoded([text])[0].decode()


def _only(rows: list[Row]) -> Any:
    return rows[0][0]
