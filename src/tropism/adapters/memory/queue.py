"""Queues in memory."""

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from tropism.adapters.messages import (
    BATCH_COUNT_MAX,
    DEDUP_SECONDS,
    DELAY_SECONDS_MAX,
    check_delay,
    check_loan,
    check_messages,
)
from tropism.adapters.records import RECORD_BYTES_MAX
from tropism.adapters.stirs import Stirs
from tropism.core.time import MICROSECONDS
from tropism.ports.capabilities import Capabilities
from tropism.ports.clock import Clock
from tropism.ports.queue import Dead, Depth, Message, Received


class _Waiting:
    """A message that was neither acknowledged nor buried; ``number`` is its place in the order of sending."""

    __slots__ = ("attempt", "due_us", "leased", "message", "number")

    def __init__(self, number: int, message: Message, due_us: int) -> None:
        self.number = number
        self.message = message
        self.due_us = due_us
        self.attempt = 0
        self.leased = False


class _Queue:
    """One queue. Of each key only the first message may be on loan, and stands among the due."""

    def __init__(self) -> None:
        self.waiting: dict[int, _Waiting] = {}
        self.keys: dict[str, deque[_Waiting]] = {}
        self.taken_us: dict[str, int] = {}
        self.dead: dict[str, Dead] = {}
        self._due: list[tuple[int, int]] = []

    def add(self, item: _Waiting) -> None:
        """Put a message behind all others of its key."""
        self.waiting[item.number] = item
        key = item.message.key
        if key:
            line = self.keys.setdefault(key, deque())
            line.append(item)
            if line[0] is not item:
                return
        self.schedule(item, item.due_us)

    def remove(self, item: _Waiting) -> None:
        """Take out the first message of its key, and let the next one come forward."""
        del self.waiting[item.number]
        key = item.message.key
        if not key:
            return
        line = self.keys[key]
        line.popleft()
        if line:
            self.schedule(line[0], line[0].due_us)
        else:
            del self.keys[key]

    def schedule(self, item: _Waiting, due_us: int) -> None:
        """Let a message be received from an instant on."""
        item.due_us = due_us
        heapq.heappush(self._due, (due_us, item.number))
        if len(self._due) > 2 * len(self.waiting) + 64:
            # What was scheduled anew left its earlier entries behind.
            self._due = [entry for entry in set(self._due) if self._stands(*entry)]
            heapq.heapify(self._due)

    def take(self, now_us: int, count_max: int) -> list[_Waiting]:
        """Return messages that are due, those longest due first."""
        found: list[_Waiting] = []
        while len(found) < count_max and self._next_us() is not None and self._due[0][0] <= now_us:
            found.append(self.waiting[heapq.heappop(self._due)[1]])
            # Off the list until scheduled again: the entry may stand there twice.
            found[-1].due_us = -1
        return found

    def wait_us(self, now_us: int) -> int | None:
        """Return how long it is until a message is due; None if none will be by itself."""
        due_us = self._next_us()
        return None if due_us is None else max(due_us - now_us, 0)

    def forget(self, before_us: int) -> None:
        """Forget ids that were taken before an instant."""
        while self.taken_us:
            id, taken_us = next(iter(self.taken_us.items()))
            if taken_us > before_us:
                return
            del self.taken_us[id]

    def depth(self, now_us: int) -> Depth:
        """Return how many messages there are."""
        kinds = [0, 0, 0]
        for item in self.waiting.values():
            kinds[0 if item.due_us <= now_us else 2 if item.leased else 1] += 1
        return Depth(kinds[0], kinds[1], kinds[2], len(self.dead))

    def _next_us(self) -> int | None:
        while self._due and not self._stands(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def _stands(self, due_us: int, number: int) -> bool:
        item = self.waiting.get(number)
        return item is not None and item.due_us == due_us


class MemoryQueue:
    """A ``Queue`` of dictionaries, on an injected clock."""

    def __init__(
        self,
        clock: Clock,
        commit_domain: str,
        *,
        dedup_seconds: float = DEDUP_SECONDS,
        record_bytes_max: int = RECORD_BYTES_MAX,
    ) -> None:
        self._clock = clock
        self._stirs = Stirs(clock)
        self._numbers = count(1)
        self._queues: dict[str, _Queue] = {}
        self._capabilities = Capabilities(
            durability="In memory: everything is lost when the process ends.",
            commit_domain=commit_domain,
            ordering="key",
            event_time=False,
            dedup_seconds=dedup_seconds,
            delay_seconds_max=DELAY_SECONDS_MAX,
            dead_letters="native",
            replay=False,
            transactions=False,
            batch_count_max=BATCH_COUNT_MAX,
            record_bytes_max=record_bytes_max,
        )

    @property
    def capabilities(self) -> Capabilities:
        """What this queue can do."""
        return self._capabilities

    async def send(self, queue: str, messages: Sequence[Message], *, delay_seconds: float = 0.0) -> int:
        """Add messages, to be received after a delay at the earliest; return how many were new."""
        limits = self._capabilities
        check_delay(queue, delay_seconds)
        check_messages(queue, messages, bytes_max=limits.record_bytes_max, count_max=limits.batch_count_max)
        if not messages:
            return 0
        found, now_us = self._queues.setdefault(queue, _Queue()), self._now_us()
        found.forget(now_us - _us(limits.dedup_seconds))
        new = 0
        for message in messages:
            if message.id not in found.taken_us:
                found.taken_us[message.id] = now_us
                found.add(_Waiting(next(self._numbers), message, now_us + _us(delay_seconds)))
                new += 1
        self._stirs.stir(queue)
        return new

    async def receive(
        self, queue: str, *, count_max: int, lease_seconds: float, wait_seconds: float = 0.0
    ) -> Sequence[Received]:
        """Borrow up to so many messages; wait up to so long for the first one."""
        check_loan(queue, lease_seconds, count_max)
        count_max = min(count_max, self._capabilities.batch_count_max)

        async def take() -> tuple[Sequence[Received], float | None]:
            return self._take(queue, count_max, lease_seconds)

        return await self._stirs.receive(queue, take, wait_seconds)

    async def ack(self, received: Sequence[Received]) -> Sequence[str]:
        """Finish messages for good; return the receipts of loans that had been lost."""
        return self._with_each(received, self._end)

    async def nack(self, received: Sequence[Received], *, delay_seconds: float = 0.0) -> Sequence[str]:
        """Give messages back, to be received after a delay; return the receipts of lost loans."""
        for one in received:
            check_delay(one.queue, delay_seconds)

        def give_back(queue: str, item: _Waiting) -> None:
            item.leased = False
            self._queues[queue].schedule(item, self._now_us() + _us(delay_seconds))
            self._stirs.stir(queue)

        return self._with_each(received, give_back)

    async def renew(self, received: Sequence[Received], *, lease_seconds: float) -> Sequence[str]:
        """Keep loans for so long from now; return the receipts of lost ones."""
        for one in received:
            check_loan(one.queue, lease_seconds)

        def keep(queue: str, item: _Waiting) -> None:
            self._queues[queue].schedule(item, self._now_us() + _us(lease_seconds))

        return self._with_each(received, keep)

    async def bury(self, received: Mapping[str, str], queue: str) -> Sequence[str]:
        """Move messages to the dead letters, by receipt with its cause; return the lost receipts."""
        lost = []
        for receipt, cause in received.items():
            item = self._loan(queue, receipt)
            if item is None:
                lost.append(receipt)
                continue
            letter = Dead(item.message, cause, item.attempt, self._clock.now_us())
            self._queues[queue].dead[item.message.id] = letter
            self._end(queue, item)
        return lost

    async def dead(self, queue: str, *, after: str = "", count_max: int = 100) -> Sequence[Dead]:
        """Return a page of dead letters in order of id, behind an id."""
        found = self._queues.get(queue, _Queue()).dead
        ids = sorted(id for id in found if not after or id > after)
        return [found[id] for id in ids[: max(count_max, 0)]]

    async def redrive(self, queue: str, ids: Sequence[str]) -> int:
        """Send dead letters again, as new; return how many were there."""
        letters = self._bring_out(queue, ids)
        for letter in letters:
            self._queues[queue].add(_Waiting(next(self._numbers), letter.message, self._now_us()))
        self._stirs.stir(queue)
        return len(letters)

    async def discard(self, queue: str, ids: Sequence[str]) -> int:
        """Delete dead letters; return how many were there."""
        return len(self._bring_out(queue, ids))

    async def depth(self, queue: str) -> Depth:
        """Return how many messages there are; zeros where the queue does not exist."""
        found = self._queues.get(queue)
        return Depth(0, 0, 0, 0) if found is None else found.depth(self._now_us())

    def _now_us(self) -> int:
        return _us(self._clock.monotonic())

    def _take(
        self, name: str, count_max: int, lease_seconds: float
    ) -> tuple[Sequence[Received], float | None]:
        queue, now_us = self._queues.get(name), self._now_us()
        if queue is None:
            return [], None
        found = queue.take(now_us, count_max)
        for item in found:
            item.attempt += 1
            item.leased = True
            queue.schedule(item, now_us + _us(lease_seconds))
        if found:
            found.sort(key=lambda item: item.number)
            return [_received(name, item) for item in found], None
        wait_us = queue.wait_us(now_us)
        return [], None if wait_us is None else wait_us / MICROSECONDS

    def _with_each(self, received: Sequence[Received], act: Callable[[str, _Waiting], None]) -> Sequence[str]:
        """Do something with each loan that stands, once, and return the receipts of the others."""
        loans = {one.receipt: (one.queue, self._loan(one.queue, one.receipt)) for one in received}
        for queue, item in loans.values():
            if item is not None:
                act(queue, item)
        return [one.receipt for one in received if loans[one.receipt][1] is None]

    def _loan(self, queue: str, receipt: str) -> _Waiting | None:
        number, _, attempt = receipt.partition(".")
        found = self._queues.get(queue)
        item = found.waiting.get(int(number)) if found and number.isdecimal() else None
        return item if item and item.leased and attempt == str(item.attempt) else None

    def _end(self, queue: str, item: _Waiting) -> None:
        self._queues[queue].remove(item)
        if item.message.key:
            self._stirs.stir(queue)

    def _bring_out(self, queue: str, ids: Sequence[str]) -> list[Dead]:
        letters = self._queues.get(queue, _Queue()).dead
        return [letters.pop(id) for id in dict.fromkeys(ids) if id in letters]


def _received(queue: str, item: _Waiting) -> Received:
    return Received(queue, item.message, f"{item.number}.{item.attempt}", item.attempt)


def _us(seconds: float) -> int:
    return round(seconds * MICROSECONDS)
