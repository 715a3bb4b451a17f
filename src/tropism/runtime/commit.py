"""Moving a worker forward: what is finished becomes durable, all together."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from operator import attrgetter

import msgspec

from tropism.core.codec import Codec, record_of
from tropism.core.envelope import Record
from tropism.core.event import Event
from tropism.ports.platform import Platform
from tropism.ports.state import Commit, Lease, Position, Write
from tropism.runtime.call import namespace_of
from tropism.runtime.cursor import Cursor, Progress, places_of
from tropism.runtime.delays import Delays
from tropism.runtime.following import reached
from tropism.runtime.handler import Expired
from tropism.runtime.inject import Opened
from tropism.runtime.outbox import Outbox
from tropism.runtime.patience import patiently
from tropism.runtime.streams import Stream
from tropism.runtime.values import Values
from tropism.runtime.waiting import all_of
from tropism.runtime.work import Item, passed_of

HELD_MAX = 256
"""With so many items at hand a commit waits for no more: who reads its outputs begins meanwhile."""

PASSED_SECONDS = 0.5
"""How long to wait for a step that says so, too, before events that nobody wanted are said to be passed."""


@dataclass
class Step:
    """What one commit contains."""

    items: list[Item] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    outputs: list[Record] = field(default_factory=list)
    frontier_us: int = 0


class Committer:
    """Commits finished items, as many at a time as finished while the last commit ran.

    In event time, items commit in order, so outputs lie in the log in order of time, whatever took long
    in between; and while a worker has more at hand, it ``holds`` commits until they are worth their sync.
    Live, they commit as they finish, and the cursor remembers the gaps.
    """

    def __init__(
        self,
        service: str,
        consumer: str,
        lease: Lease,
        *,
        platform: Platform,
        codec: Codec,
        cursor: Cursor,
        progress: Mapping[Stream, Progress],
        views: Callable[[int], list[Write]],
        values: Values,
        opened: Mapping[str, Opened],
        advance: Callable[[int], None],
        live: bool,
        start_us: int,
        announces: bool,
        outbox: Outbox | None,
        delays: Delays,
    ) -> None:
        self._service = service
        self._consumer = consumer
        self._lease = lease
        self._platform = platform
        self._codec = codec
        self._cursor = cursor
        self._progress = progress
        self._views = views
        self._values = values
        self._opened = opened
        self._advance = advance
        self._live = live
        self._queue: deque[Item] = deque()
        self._ready: list[Item] = []
        self._gone = 0
        """How many items of the queue have left it, though others are in front of them."""
        self._outbox = outbox
        self._delays = delays
        self._committing = 0
        self._expiring: set[tuple[str, str]] = set()
        self._passing: list[tuple[Item, asyncio.Future[None]]] = []
        self._admitted_us = start_us
        self._announced_us = start_us if announces else None
        self.committed_us = start_us
        """Up to when everything is in the store."""
        self._dirty, self._passed = asyncio.Event(), asyncio.Event()
        self._touched = self._stale = False
        self._held = self._urgent = False
        self._settled = asyncio.Event()
        self._settled.set()

    @property
    def in_flight(self) -> int:
        """How many items are admitted and not committed."""
        return len(self._queue) - self._gone + self._committing

    def admit(self, items: list[Item], until_us: int, *, touched: bool) -> None:
        """Take note of items, in order, and of the moment up to which that is all."""
        self._queue.extend(items)
        if self._live:
            self._ready += [item for item in items if not item.open_calls]
        self._expiring.update(self._expiries(items))
        self._admitted_us = max(self._admitted_us, until_us)
        # What was only passed over is passed over again after a crash: it is stored with the next step, and
        # live, where others see how far a service is behind, in a while.
        self._stale = self._stale or touched
        if self._live and touched and not items:
            self._passed.set()
        self.poke()

    @property
    def expiring(self) -> frozenset[tuple[str, str]]:
        """The values whose expiry is admitted and not committed."""
        return frozenset(self._expiring)

    def expires(self, namespace: str, key: str) -> bool:
        """Say whether the expiry of a value is admitted and not committed."""
        return (namespace, key) in self._expiring

    def finished(self, items: Sequence[Item]) -> None:
        """Say that no call of these items is open any more."""
        if self._live:
            self._ready += items
        self.poke()

    def poke(self) -> None:
        """Say that something finished, or that attempts changed."""
        self._settled.clear()
        self._dirty.set()

    def touch(self) -> None:
        """Say that the cursor changed and must be stored."""
        self._touched = True
        self.poke()

    def hold(self) -> None:
        """Let commits wait: more comes at once."""
        self._held = not self._live

    def release(self) -> None:
        """Let commits go on."""
        if self._held:
            self._held = False
            self._dirty.set()

    async def wait_settled(self) -> None:
        """Return when everything admitted is committed."""
        while not self._settled.is_set():
            self._urgent = True
            self._dirty.set()
            await self._settled.wait()

    async def run(self) -> None:
        """Commit whenever something finished, until cancelled. Raises: FencedError."""
        await all_of(self._run(), self._store_passed())

    async def _run(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if not self._held or self._urgent or self._touched or len(self._queue) >= HELD_MAX:
                await self.commit()

    async def pass_by(self, item: Item) -> None:
        """Commit that an input is done with, before what may come of it. Live only; once an item."""
        if item.stream is None and item.tick is None:
            return
        passed, stored = passed_of(item), asyncio.get_running_loop().create_future()
        self._passing.append((passed, stored))
        self.admit([passed], self._admitted_us, touched=True)
        await stored

    def _tell_passed(self) -> None:
        for passed, stored in self._passing:
            if passed.left and not stored.done():
                stored.set_result(None)
        self._passing = [each for each in self._passing if not each[1].done()]

    async def _store_passed(self) -> None:
        """Have stored, in a while, that events were passed over."""
        while True:
            await self._passed.wait()
            await self._platform.clock.sleep(PASSED_SECONDS)
            self._passed.clear()
            if self._stale:
                self.touch()

    def withdraw(self) -> None:
        """Let go of what is not finished and will not be: somebody else reads it again."""
        ready, _ = in_order_per_key(sorted(self._ready, key=_sequence))
        self._ready, self._queue, self._gone = ready, deque(ready), 0
        self.poke()

    async def flush(self) -> None:
        """Store how far the cursor is, and return when everything admitted is committed."""
        if self._stale:
            self.touch()
        await self.wait_settled()

    async def commit(self) -> None:
        """Commit what is finished now."""
        step = self._step()
        touched, self._touched = self._touched, False
        step.writes.extend(self._views(step.frontier_us))
        if self._outbox is not None:
            step.writes.extend(self._outbox.writes(step.outputs))
        if step.items or step.writes or step.outputs or touched:
            self._committing = len(step.items)
            self._stale = False
            await self._apply(step)
            self._committing = 0
            if self._passing:
                self._tell_passed()
        self.committed_us = max(self.committed_us, step.frontier_us)
        self._advance(step.frontier_us)
        if not self._queue and not self._dirty.is_set():
            self._urgent = False
            self._settled.set()

    def _step(self) -> Step:
        step = Step(items=self._finished())
        step.frontier_us = self._queue[0].order_us - 1 if self._queue else self._admitted_us
        for item in step.items:
            if item.effects is not None:
                step.writes += item.effects.writes
                step.outputs += item.effects.outputs
        if self._delays.used:
            self._delays.step(step.outputs, step.writes, step.frontier_us)
        self._add_resources(step)
        if not self._live:
            step.outputs.sort(key=lambda record: record.time_us)
        news = step.items or not self._queue
        if news and self._announced_us is not None and step.frontier_us > self._announced_us:
            self._announced_us = step.frontier_us
            step.outputs.append(reached(self._service, step.frontier_us))
        return step

    def _finished(self) -> list[Item]:
        return self._finished_in_any_order() if self._live else self._finished_in_order()

    def _finished_in_order(self) -> list[Item]:
        cut, until = 0, -1
        for index, item in enumerate(self._queue):
            if item.open_calls:
                break
            if item.bond is not None and item.bond.last > until:
                until = item.bond.last
            if until <= item.sequence:
                cut = index + 1
        take = self._queue.popleft
        return [take() for _ in range(cut)]

    def _finished_in_any_order(self) -> list[Item]:
        ready, self._ready = in_order_per_key(sorted(self._ready, key=_sequence))
        for item in ready:
            item.left = True
        self._gone += len(ready)
        queue = self._queue
        while queue and queue[0].left:
            queue.popleft()
            self._gone -= 1
        return ready

    def _add_resources(self, step: Step) -> None:
        enlisted: dict[str, list[Event]] = {name: [] for name in self._opened}
        for item in step.items:
            if item.effects is not None:
                for resource, event in item.effects.enlisted:
                    enlisted[resource].append(event)
        for name, opened in self._opened.items():
            frontier_us = None if self._live else step.frontier_us
            stored, events = opened.commit(enlisted[name], frontier_us)
            namespace = resource_namespace(self._consumer, name)
            step.writes.extend(Write(namespace, key, value) for key, value in stored.items())
            step.outputs.extend(self._output(name, time_us, event) for time_us, event in events)

    def _output(self, resource: str, time_us: int, event: Event) -> Record:
        data = self._codec.encode(event)
        id = blake2b(f"{self._service}\n{resource}\n{time_us}\n".encode() + data, digest_size=16).hexdigest()
        return record_of(event, data, id=id, time_us=time_us, source=self._service)

    async def _apply(self, step: Step) -> None:
        self._account(step.items)
        self._cursor.places = places_of(self._progress)
        position = Position(msgspec.msgpack.encode(self._cursor), step.frontier_us)
        commit = Commit(self._lease, position, step.writes, step.outputs if self._outbox is None else ())
        # Where the store cannot take it, nothing was applied, so nothing is lost: hold it, and try again.
        await patiently(self._platform.clock, lambda: self._platform.state.commit(commit))
        self._expiring.difference_update(self._expiries(step.items))
        self._values.committed(_state_writes(step.items))
        if self._outbox is not None and await self._outbox.publish():
            # What is published is to be taken out of the outbox by the next commit, even if nothing comes.
            self.poke()

    def _expiries(self, items: Sequence[Item]) -> list[tuple[str, str]]:
        events = [item.data for item in items if item.stream is None]
        return [(namespace_of(self._service, e.state), e.key) for e in events if isinstance(e, Expired)]

    def _account(self, items: Sequence[Item]) -> None:
        finished: dict[Stream, list[int]] = {stream: [] for stream in self._progress}
        for item in items:
            item.bond = None
            stream = item.stream
            if stream is not None:
                finished[stream].append(item.offset)
                if self._cursor.failures:
                    prefix = f"{stream.name}/{item.offset}/"
                    for name in [name for name in self._cursor.failures if name.startswith(prefix)]:
                        del self._cursor.failures[name]
            elif item.tick is not None:
                name, time_us = item.tick
                self._cursor.ticks[name] = time_us
            elif item.committed is not None:
                item.committed()
        for stream, offsets in finished.items():
            self._progress[stream].finish(offsets)


_sequence = attrgetter("sequence")


def in_order_per_key(items: list[Item]) -> tuple[list[Item], list[Item]]:
    """Split finished items, given in order: those that may commit, and those tied to others or behind such.

    What is tied to something unfinished waits with it; a later event of its key saw its state, and must not
    be stored before it.
    """
    if all(map(_is_finished, items)):
        return items, []
    late: set[int] = set()
    before = -1
    while len(late) > before:
        before = len(late)
        keys: set[str] = set()
        for item in items:
            mates = () if item.bond is None else item.bond.items
            behind = item.subject in keys or not _is_finished(item)
            if behind or item.sequence in late or any(mate.sequence in late for mate in mates):
                late.add(item.sequence)
                keys.add(item.subject)
    return (
        [item for item in items if item.sequence not in late],
        [item for item in items if item.sequence in late],
    )


def _is_finished(item: Item) -> bool:
    return not item.open_calls and (item.bond is None or item.bond.is_finished)


def resource_namespace(consumer: str, resource: str) -> str:
    """Return where a worker keeps what a resource has stored."""
    return f"{consumer}/resource/{resource}"


def _state_writes(items: Sequence[Item]) -> list[Write]:
    written = (item.effects.writes for item in items if item.effects is not None)
    return [write for writes in written for write in writes if "/state/" in write.namespace]
