"""Queues in the database: whose turn it is, written by the one thread that owns the file."""

import sqlite3
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from tropism.adapters.sqlite.many import execute_given, execute_rows
from tropism.adapters.sqlite.wire import (
    QUEUE_NUMBER,
    Bury,
    Discard,
    Extend,
    Finish,
    Lost,
    QueueOperation,
    Redrive,
    Result,
    Return,
    Send,
    Take,
    Taken,
)
from tropism.core.time import MICROSECONDS
from tropism.ports.clock import Clock
from tropism.ports.log import Partition
from tropism.ports.queue import Message, Received

_BYTES_MAX = 64 * 1024 * 1024  # in one reply: large messages come a few at a time
_FORGET_COUNT_MIN = 5_000  # a step that takes milliseconds, so that sends need not wait

_KNOWN = "SELECT id FROM (VALUES {}) CROSS JOIN taken ON id = column1 WHERE queue_id = ? AND taken_us > ?"
# Asked of each key apart: the next of a key is found at once, however many wait behind it.
_BUSY = (
    "SELECT column1 FROM (VALUES {}) WHERE EXISTS "
    "(SELECT 1 FROM turns WHERE queue_id = ? AND key = column1 AND key <> '')"
)
_NEXT = (
    "UPDATE turns SET first = 1 WHERE number IN (SELECT (SELECT number FROM turns WHERE queue_id = ? "
    "AND key = column1 AND key <> '' ORDER BY number LIMIT 1) FROM (VALUES {}))"
)
_DUE = (
    "SELECT number, attempt + 1, id, body, key, attributes FROM turns JOIN messages USING (number) "
    "WHERE queue_id = ? AND first = 1 AND due_us <= ? ORDER BY due_us, number LIMIT ?"
)
_SOON = "SELECT min(due_us) FROM turns WHERE queue_id = ? AND first = 1"
_LEND = (
    "UPDATE turns SET due_us = ?, attempt = attempt + 1, leased = 1 "
    "WHERE number IN (SELECT column1 FROM (VALUES {}))"
)
_PUT_OFF = "UPDATE turns SET due_us = ?, leased = ? WHERE number IN (SELECT column1 FROM (VALUES {}))"
_LOANS = (
    "SELECT number, attempt, queue_id, key FROM (VALUES {}) CROSS JOIN turns ON number = column1 "
    "WHERE leased = 1"
)
_CONTENT = "SELECT number, id, body, attributes FROM (VALUES {}) CROSS JOIN messages ON number = column1"
_DELETE = "DELETE FROM {} WHERE number IN (SELECT column1 FROM (VALUES {{}}))"
_END = _DELETE.format("turns"), _DELETE.format("messages")
_LETTERS = (
    "SELECT id, key, body, attributes FROM (VALUES {}) CROSS JOIN dead ON id = column1 WHERE queue_id = ?"
)
_DISCARD = "DELETE FROM dead WHERE id IN (SELECT column1 FROM (VALUES {})) AND queue_id = ?"
_FORGET = (
    "DELETE FROM taken WHERE number IN (SELECT number FROM taken ORDER BY number LIMIT ?) AND taken_us <= ?"
)

_attributes = msgspec.json.Decoder(dict[str, str])


class _Loan(NamedTuple):
    number: int
    queue_id: int
    key: str


class Turns:
    """Applies what is asked of queues.

    Of each key only the first message is ``first`` and may be on loan. ``due_us`` is when a message may be
    received: its delay, or the end of its loan. After a rollback the caller calls ``load``.
    """

    def __init__(self, connection: sqlite3.Connection, clock: Clock, *, dedup_seconds: float) -> None:
        self._sql = connection
        self._clock = clock
        # Instants are stored as of the wall clock when this began, and then pass steadily: a clock that is
        # set lets no loan run out early while its owner lives.
        self._began_us = clock.now_us() - round(clock.monotonic() * MICROSECONDS)
        self._dedup_us = round(dedup_seconds * MICROSECONDS)
        self.queues: dict[str, int] = {}
        self._number = 0
        self._oldest_us: int | None = None

    def load(self) -> None:
        """Read again what is known in memory."""
        self.queues = dict(self._sql.execute("SELECT name, id FROM queues"))
        row = self._sql.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'").fetchone()
        self._number = row[0] if row else 0
        self._oldest_us = self._oldest()

    def apply(self, operation: QueueOperation, grown: dict[Partition, int]) -> Result:
        """Apply an operation; note in ``grown`` in which queues there may be something to receive."""
        match operation:
            case Send():
                return self._send(operation, grown)
            case Take():
                return self._take(operation)
            case Finish(receipts):
                loans = self._loans(receipts)
                self._end(loans.values(), grown)
                return _lost(receipts, loans)
            case Extend(receipts, lease_us):
                loans = self._loans(receipts)
                self._put_off(loans.values(), lease_us, leased=True)
                return _lost(receipts, loans)
            case Return(receipts, delay_us):
                loans = self._loans(receipts)
                self._put_off(loans.values(), delay_us, leased=False)
                self._stir({loan.queue_id for loan in loans.values()}, grown)
                return _lost(receipts, loans)
            case Bury():
                return self._bury(operation, grown)
            case Redrive():
                return self._redrive(operation, grown)
            case Discard(queue, ids):
                return len(self._bring_out(queue, ids))

    def _now_us(self) -> int:
        return self._began_us + round(self._clock.monotonic() * MICROSECONDS)

    def _send(self, asked: Send, grown: dict[Partition, int]) -> int:
        queue_id, now_us = self._queue(asked.queue), self._now_us()
        since_us = now_us - self._dedup_us
        self._forget(since_us, len(asked.messages))
        given: dict[str, Message] = {}
        for message in asked.messages:
            given.setdefault(message.id, message)
        for (id,) in execute_given(self._sql, _KNOWN, list(given), after=(queue_id, since_us)):
            del given[id]
        if given:
            numbers = self._add(queue_id, list(given.values()), now_us + asked.delay_us)
            rows = [(number, queue_id, id, now_us) for number, id in zip(numbers, given, strict=True)]
            # An id whose window is over may still stand there.
            execute_rows(self._sql, "INSERT OR REPLACE INTO taken VALUES", rows, width=4)
            self._oldest_us = now_us if self._oldest_us is None else self._oldest_us
            grown[asked.queue, QUEUE_NUMBER] = 0
        return len(given)

    def _add(self, queue_id: int, messages: Sequence[Message], due_us: int) -> range:
        """Put messages behind all others of their keys, and return their numbers."""
        numbers = range(self._number + 1, self._number + 1 + len(messages))
        self._number = numbers[-1]
        keys = list({message.key for message in messages if message.key})
        busy = {key for (key,) in execute_given(self._sql, _BUSY, keys, after=(queue_id,))}
        contents, turns = [], []
        for number, message in zip(numbers, messages, strict=True):
            contents.append((number, message.id, message.body, _text_of(message.attributes)))
            turns.append((number, queue_id, message.key, due_us, 0, 0, int(message.key not in busy)))
            if message.key:
                busy.add(message.key)
        execute_rows(self._sql, "INSERT INTO messages VALUES", contents, width=4)
        execute_rows(self._sql, "INSERT INTO turns VALUES", turns, width=7)
        return numbers

    def _take(self, asked: Take) -> Taken:
        queue_id, now_us = self.queues.get(asked.queue), self._now_us()
        if queue_id is None:
            return Taken([])
        found: dict[int, Received] = {}
        size = 0
        for number, attempt, id, body, key, attributes in self._sql.execute(
            _DUE, (queue_id, now_us, asked.count_max)
        ):
            message = Message(id, body, key, _attributes_of(attributes))
            found[number] = Received(asked.queue, message, f"{number}.{attempt}", attempt)
            size += len(body)
            if size > _BYTES_MAX:
                break
        if not found:
            (soon_us,) = self._sql.execute(_SOON, (queue_id,)).fetchone()
            return Taken([], None if soon_us is None else max(soon_us - now_us, 0))
        execute_given(self._sql, _LEND, list(found), now_us + asked.lease_us)
        return Taken([found[number] for number in sorted(found)])

    def _loans(self, receipts: Sequence[str]) -> dict[str, _Loan]:
        """Return the loans that stand, by receipt."""
        numbers = [int(number) for number in (r.partition(".")[0] for r in receipts) if number.isdecimal()]
        rows = execute_given(self._sql, _LOANS, numbers)
        loans = {f"{number}.{attempt}": _Loan(number, *rest) for number, attempt, *rest in rows}
        return {receipt: loans[receipt] for receipt in receipts if receipt in loans}

    def _put_off(self, loans: Iterable[_Loan], us: int, *, leased: bool) -> None:
        numbers = [loan.number for loan in loans]
        execute_given(self._sql, _PUT_OFF, numbers, self._now_us() + us, int(leased))

    def _end(self, loans: Iterable[_Loan], grown: dict[Partition, int]) -> None:
        """Delete messages, and let the next ones of their keys come forward."""
        numbers: list[int] = []
        keys: dict[int, list[str]] = {}
        for loan in loans:
            numbers.append(loan.number)
            if loan.key:
                keys.setdefault(loan.queue_id, []).append(loan.key)
        for statement in _END:
            execute_given(self._sql, statement, numbers)
        for queue_id, freed in keys.items():
            execute_given(self._sql, _NEXT, freed, queue_id)
        self._stir(keys, grown)

    def _bury(self, asked: Bury, grown: dict[Partition, int]) -> Lost:
        queue_id = self.queues.get(asked.queue)
        found = self._loans(list(asked.causes))
        loans = {receipt: loan for receipt, loan in found.items() if loan.queue_id == queue_id}
        rows = execute_given(self._sql, _CONTENT, [loan.number for loan in loans.values()])
        contents = {number: content for number, *content in rows}
        died_us = self._clock.now_us()
        # Two of one id: the later one stays.
        letters = {}
        for receipt, loan in loans.items():
            id, body, attributes = contents[loan.number]
            attempts = int(receipt.partition(".")[2])
            letters[id] = (queue_id, id, loan.key, body, attributes, asked.causes[receipt], attempts, died_us)
        execute_rows(self._sql, "INSERT OR REPLACE INTO dead VALUES", list(letters.values()), width=8)
        self._end(loans.values(), grown)
        return _lost(list(asked.causes), loans)

    def _redrive(self, asked: Redrive, grown: dict[Partition, int]) -> int:
        messages = self._bring_out(asked.queue, asked.ids)
        if messages:
            self._add(self.queues[asked.queue], messages, self._now_us())
            grown[asked.queue, QUEUE_NUMBER] = 0
        return len(messages)

    def _bring_out(self, queue: str, ids: Sequence[str]) -> list[Message]:
        """Delete dead letters, and return their messages in the order asked."""
        queue_id, wanted = self.queues.get(queue, 0), list(dict.fromkeys(ids))
        rows = execute_given(self._sql, _LETTERS, wanted, after=(queue_id,))
        found = {id: Message(id, body, key, _attributes_of(text)) for id, key, body, text in rows}
        execute_given(self._sql, _DISCARD, wanted, after=(queue_id,))
        return [found[id] for id in wanted if id in found]

    def _queue(self, name: str) -> int:
        known = self.queues.get(name)
        if known is None:
            cursor = self._sql.execute("INSERT INTO queues(name) VALUES (?)", (name,))
            known = self.queues[name] = int(cursor.lastrowid or 0)
        return known

    def _stir(self, queue_ids: Container[int], grown: dict[Partition, int]) -> None:
        grown.update(((name, QUEUE_NUMBER), 0) for name, id in self.queues.items() if id in queue_ids)

    def _forget(self, before_us: int, count: int) -> None:
        """Delete a bounded number of ids whose window is over, in larger steps than sends have."""
        if self._oldest_us is not None and self._oldest_us <= before_us - self._dedup_us // 16:
            self._sql.execute(_FORGET, (max(_FORGET_COUNT_MIN, 2 * count), before_us))
            self._oldest_us = self._oldest()

    def _oldest(self) -> int | None:
        row = self._sql.execute("SELECT taken_us FROM taken ORDER BY number LIMIT 1").fetchone()
        return None if row is None else int(row[0])


def _lost(receipts: Sequence[str], loans: Mapping[str, _Loan]) -> Lost:
    return Lost([receipt for receipt in receipts if receipt not in loans])


def _text_of(attributes: dict[str, str] | None) -> str | None:
    return None if attributes is None else msgspec.json.encode(attributes).decode()


def _attributes_of(text: str | None) -> dict[str, str] | None:
    return None if text is None else _attributes.decode(text)
