"""Order per key, concurrency across keys."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from types import CoroutineType
from typing import Any

from tropism.ports.clock import Clock
from tropism.runtime.causes import failure_of, told
from tropism.runtime.handler import Handler
from tropism.runtime.putting_off import put_off_seconds
from tropism.runtime.rests import Rests
from tropism.runtime.retry import delay_seconds
from tropism.runtime.waiting import after, give_up
from tropism.runtime.work import Delivery, Item, front_of

TURN_CALLS, TURN_SECONDS = 256, 0.005
"""After so many calls that waited for nothing, or so long, others have their turn in the event loop."""

Call = Callable[[Handler, Sequence[Delivery]], Awaitable[None]]
Keep = Callable[[Handler, Item, Any], Awaitable[None]]


async def _lost(*_: object) -> None:
    raise AssertionError("Who calls plain handlers keeps what they give.")


class Lanes:
    """A lane a key: its deliveries go one after another, those of different lanes at the same time.

    Handlers of one event are called by a task that goes from front to front, and another one stands by: it
    takes over when a call waits, and only then is the lane of that call noted, for what comes behind it. A
    task or a note for each call would cost more than most calls do; only handlers that were seen to wait
    have a task each, so that their calls wait together. What a handler sets in a context variable, a later
    call may find there.

    A handler of batches takes the front of every lane that waits for it, one batch at a time: it starts
    at once when idle, and collects while it is busy. A batch that fails is halved until the failing row
    stands alone; only that row is charged an attempt, and only its lane waits for the next one. Where there
    are ``batches``, every lane is noted. Where batches ``collect``, one that is not full starts when its
    first event has waited as long as the handler lets it.

    Handlers that are ``plain`` need nothing but the event: they are called at once, and what they give, if
    anything, is kept by ``keep``.
    """

    def __init__(
        self,
        call: Call,
        clock: Clock,
        *,
        plain: Collection[Handler] = (),
        keep: Keep = _lost,
        batches: bool,
        collect: bool,
        finished: Callable[[Sequence[Delivery]], None],
        failed: Callable[[Delivery, Exception], None],
        given_up: Callable[[Delivery, Exception], None],
    ) -> None:
        self._call = call
        self._plain = frozenset(plain)
        self._keep = keep
        self._clock = clock
        self._batches = batches
        self._collect = collect
        self._finished = finished
        self._failed = failed
        self._given_up = given_up
        self._lanes: dict[str, list[Delivery]] = {}
        self._fronts: deque[Delivery] = deque()
        self._at: tuple[Delivery, asyncio.Task[None], float] | None = None
        """The call that is being made; if anyone else's turn comes meanwhile, it waits."""
        self._done: list[Delivery] = []
        self._standby: asyncio.Task[None] | None = None
        self._waiting: set[Handler] = set()
        self._ready: dict[Handler, dict[str, None]] = {}
        self._batching: set[Handler] = set()
        self._due: dict[Handler, float] = {}
        """When a batch is to start, full or not, of handlers that let events wait for each other."""
        self._limits: dict[Handler, int] = {}
        # In order of coming, and no sets: in a simulation, who is cancelled first hangs on no address.
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._calls: dict[asyncio.Task[None], tuple[float, Handler]] = {}
        self._overdue: set[asyncio.Task[None]] = set()
        self._pauses: dict[asyncio.Task[None], None] = {}
        self._finishing = False
        self._excused = float("-inf")
        self.rests = Rests()
        self.started = asyncio.Event()
        """Set whenever a call starts."""
        self.returned = asyncio.Event()
        """Set whenever calls have ended."""

    @property
    def running(self) -> int:
        """How many calls are under way, or about to be."""
        return len(self._calls) + len(self._fronts) + (self._at is not None)

    def are_closed(self) -> bool:
        """Whether no more calls start."""
        return self._finishing

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Put deliveries behind those of their lanes, and start what can start."""
        self._waiting.clear()  # whose calls wait shows anew
        if not self._batches:
            # In front or not shows when their turn comes.
            self._fronts.extend(deliveries)
        else:
            self._note_waiting()
            for delivery in deliveries:
                lane = self._lanes.get(delivery.lane)
                if lane is None:
                    self._lanes[delivery.lane] = [delivery]
                    self._offer(delivery)
                else:
                    lane.append(delivery)
        self._start_all()

    def _offer(self, head: Delivery) -> None:
        handler = head.handler
        if self._finishing:
            return
        if not handler.many:
            self._fronts.append(head)
        elif handler in self._ready:
            self._ready[handler][head.lane] = None
        else:
            self._ready[handler] = {head.lane: None}
        if handler.batch_age_seconds and self._collect and handler not in self._due:
            self._due[handler] = self._clock.monotonic() + handler.batch_age_seconds
            self._pause(handler.batch_age_seconds, self._start_all)

    def _start_all(self) -> None:
        if self._fronts and self._standby is None:
            self._standby = self._start(self._go_on())
        for handler, ready in self._ready.items():
            if ready and handler not in self._batching and self._may_start(handler, ready):
                self._batching.add(handler)
                batch = front_of(self._lanes, ready, handler, self._limit(handler))
                if not ready:
                    self._due.pop(handler, None)
                # Counted as of now: who asks what is under way must not miss what is about to start.
                self._calls[self._start(self._run(handler, batch))] = self._clock.monotonic(), handler

    def _may_start(self, handler: Handler, ready: dict[str, None]) -> bool:
        """Say whether a batch is to start: it may wait no longer, or is full."""
        due = self._due.get(handler)
        # Virtual clocks wake at whole microseconds.
        if due is None or self._clock.monotonic() >= due - 1e-6:
            return True
        waiting = (delivery.handler is handler for key in ready for delivery in self._lanes[key])
        return sum(waiting) >= self._limit(handler)

    def _limit(self, handler: Handler) -> int:
        return self._limits.get(handler, handler.batch_count_max)

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        self.started.set()
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._calls.pop(task, None)
        self._overdue.discard(task)
        self.returned.set()

    def _note_waiting(self) -> None:
        """Note the call that was being made as one that waits: its lane is taken, and it may be overdue."""
        if self._at is not None:
            (delivery, task, started), self._at = self._at, None
            self._waiting.add(delivery.handler)
            self._lanes.setdefault(delivery.lane, [delivery])
            self._calls[task] = started, delivery.handler

    def _tell(self) -> None:
        """Tell of the calls that ended well since the last time."""
        if self._done:
            done, self._done = self._done, []
            self._finished(done)

    async def _go_on(self) -> None:
        """Make the calls at the fronts, one after the other."""
        self._standby = None
        self._note_waiting()
        self._tell()
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (a coroutine of ours runs in a task)
        await self._take_turn(task)
        self._tell()
        self._start_all()

    async def _take_turn(self, task: asyncio.Task[None]) -> None:
        """Make calls until one has waited, or others are to have their turn."""
        lanes, fronts, waiting, plain = self._lanes, self._fronts, self._waiting, self._plain
        monotonic, call = self._clock.monotonic, self._call
        until = monotonic() + TURN_SECONDS
        for _ in range(TURN_CALLS):
            now = monotonic()
            if now > until:
                break
            # Mostly nobody waits, and the next is at hand.
            delivery = fronts.popleft() if fronts and not (lanes or waiting) else self._next()
            if delivery is None:
                break
            if self._standby is None and (fronts or self._done):
                self._standby = self._start(self._go_on())
            self._at = at = delivery, task, now
            handler = delivery.handler
            try:
                is_plain, item = handler in plain, delivery.item
                result = handler.function(item.event) if is_plain else call(handler, (delivery,))
                if type(result) is CoroutineType:
                    result = await result
                if result is not None:
                    await self._keep(handler, item, result)
            except BaseException as error:  # noqa: BLE001 (a handler may raise anything; it is recorded)
                self._left(at, task)
                self._recover(handler, (delivery,), error)
                continue
            self._done.append(delivery)
            if self._at is at and not lanes:
                self._at = None
            elif self._has_waited(at, task):
                break

    def _has_waited(self, at: tuple[Delivery, asyncio.Task[None], float], task: asyncio.Task[None]) -> bool:
        """Note that a call has ended well, and that its lane goes on; say whether it has waited."""
        waited = self._at is not at
        self._left(at, task)
        if at[0].lane in self._lanes:
            self._advance((at[0],))
        return waited

    def _next(self) -> Delivery | None:
        """Return the next delivery that this task is to make the call of, if there is one."""
        fronts, lanes, waiting = self._fronts, self._lanes, self._waiting
        while fronts:
            delivery = fronts.popleft()
            if delivery.lane in lanes and lanes[delivery.lane][0] is not delivery:
                lanes[delivery.lane].append(delivery)
            elif delivery.handler in waiting:
                self._start_alone(delivery)
            else:
                return delivery
        return None

    def _left(self, at: tuple[Delivery, asyncio.Task[None], float], task: asyncio.Task[None]) -> None:
        """Note that a call has ended."""
        if self._at is at:
            self._at = None
            return
        self._note_waiting()
        self._calls.pop(task, None)

    def _start_alone(self, delivery: Delivery) -> None:
        handler = delivery.handler
        self._lanes.setdefault(delivery.lane, [delivery])
        self._calls[self._start(self._run(handler, (delivery,)))] = self._clock.monotonic(), handler

    async def _run(self, handler: Handler, deliveries: Sequence[Delivery]) -> None:
        try:
            await self._call(handler, deliveries)
        except BaseException as error:  # noqa: BLE001 (a handler may raise anything; it is recorded)
            self._recover(handler, deliveries, error)
        else:
            self._after_success(handler, deliveries)

    def _recover(self, handler: Handler, deliveries: Sequence[Delivery], error: BaseException) -> None:
        """Deal with a call that raised. Raises: what is nobody's failure, such as being cancelled."""
        if isinstance(error, Exception):
            self._after_failure(handler, deliveries, error)
            return
        task = asyncio.current_task()
        if task is None:
            raise error
        overdue = task in self._overdue
        failure = failure_of(handler, error, overdue=overdue, leaving=task.cancelling() > 0)
        if failure is None:
            raise error
        if overdue and isinstance(error, asyncio.CancelledError):
            self._overdue.discard(task)
            task.uncancel()
        self._after_failure(handler, deliveries, failure)

    def _after_success(self, handler: Handler, deliveries: Sequence[Delivery]) -> None:
        if handler.many:
            self._batching.discard(handler)
            limit = self._limits.pop(handler, None)
            if limit is not None and limit * 2 < handler.batch_count_max:
                self._limits[handler] = limit * 2
        self._finished(deliveries)
        self._advance(deliveries)

    def _advance(self, deliveries: Sequence[Delivery]) -> None:
        """Take finished deliveries off their lanes, and offer what stands behind them."""
        lanes = self._lanes
        if len(deliveries) == 1:
            lane = lanes.get(deliveries[0].lane)
            if lane is None:
                return
            if len(lane) == 1:
                del lanes[deliveries[0].lane]
            else:
                del lane[0]
                self._offer(lane[0])
            if self._ready or (self._fronts and self._standby is None):
                self._start_all()
            return
        waiting: dict[str, None] = {}
        for delivery in deliveries:
            key = delivery.lane
            lane = lanes[key]
            if len(lane) == 1:
                del lanes[key]
            else:
                del lane[0]
                waiting[key] = None
        for key in waiting:
            if key in lanes:
                self._offer(lanes[key][0])
        self._start_all()

    def _after_failure(self, handler: Handler, deliveries: Sequence[Delivery], error: Exception) -> None:
        self._batching.discard(handler)
        put_off = put_off_seconds(deliveries, error, self._clock.monotonic())
        if put_off is not None:
            self._lanes.setdefault(deliveries[0].lane, [*deliveries])
            self._pause(put_off, lambda: self._again(deliveries))
            self._start_all()
            return
        if len(deliveries) > 1:
            self._limits[handler] = max(1, len(deliveries) // 2)
            self._due[handler] = self._clock.monotonic()
            for key in dict.fromkeys(delivery.lane for delivery in deliveries):
                self._offer(self._lanes[key][0])
            self._start_all()
            return
        (delivery,) = deliveries
        self._lanes.setdefault(delivery.lane, [delivery])
        if delivery.charged:
            # It was counted before it was made; now it is known how it ended.
            delivery.errors.pop()
        delivery.charged = False
        delivery.errors.append(told(error))
        pause = None
        if not delivery.once:
            pause = delay_seconds(handler.retry, delivery.attempts, error, delivery.item.envelope.id)
        if pause is None:
            self._given_up(delivery, error)
            self._advance(deliveries)
            return
        self._failed(delivery, error)
        self._pause(pause, lambda: self._again((delivery,)))
        self._start_all()

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        """Do something in a while."""
        task = asyncio.get_running_loop().create_task(after(self._clock, seconds, then))
        self._pauses[task] = None
        task.add_done_callback(self._pauses.pop)

    def _again(self, deliveries: Sequence[Delivery]) -> None:
        for key in dict.fromkeys(delivery.lane for delivery in deliveries):
            self._offer(self._lanes[key][0])
        self._start_all()

    def excuse(self) -> None:
        """Begin anew the time of all calls under way: they wait for a store, and that is not their fault."""
        self._excused = self._clock.monotonic()

    def cancel_overdue(self) -> None:
        """Cancel calls that run longer than their handler allows."""
        self._note_waiting()
        now = self._clock.monotonic()
        for task, (started, handler) in list(self._calls.items()):
            if self.rests.rests(task):
                self._calls[task] = now, handler
            elif now - max(started, self._excused) > handler.timeout_seconds:
                self._overdue.add(task)
                task.cancel()

    async def finish(self) -> None:
        """Start no more calls, and return when those under way have ended."""
        self._finishing = True
        self._fronts.clear()
        self._ready.clear()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def abandon(self) -> None:
        """Cancel all calls and pauses, and start no more; none of them is acknowledged."""
        self._finishing = True
        self._fronts.clear()
        self._ready.clear()
        await give_up([*self._tasks, *self._pauses])
