"""Order per key, concurrency across keys."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tropism.core.errors import UnavailableError
from tropism.ports.clock import Clock
from tropism.runtime.handler import Handler
from tropism.runtime.retry import delay_seconds
from tropism.runtime.work import Delivery

Call = Callable[[Handler, Sequence[Delivery]], Awaitable[None]]


class Lanes:
    """A lane a key: its deliveries go one after another, those of different lanes at the same time.

    A handler of batches takes the front of every lane that waits for it, one batch at a time: it starts
    at once when idle, and collects while it is busy. A batch that fails is halved until the failing row
    stands alone; only that row is charged an attempt, and only its lane waits for the next one.
    """

    def __init__(
        self,
        call: Call,
        clock: Clock,
        *,
        finished: Callable[[Sequence[Delivery]], None],
        failed: Callable[[Delivery, Exception], None],
        given_up: Callable[[Delivery, Exception], None],
    ) -> None:
        self._call = call
        self._clock = clock
        self._finished = finished
        self._failed = failed
        self._given_up = given_up
        self._lanes: dict[str, list[Delivery]] = {}
        self._ready: dict[Handler, dict[str, None]] = {}
        self._batching: set[Handler] = set()
        self._limits: dict[Handler, int] = {}
        self._tasks: dict[asyncio.Task[None], tuple[float, Handler]] = {}
        self._overdue: set[asyncio.Task[None]] = set()
        self._pauses: set[asyncio.Task[None]] = set()
        self._excused = float("-inf")
        self.started = asyncio.Event()
        """Set whenever a call starts."""

    @property
    def running(self) -> int:
        """How many calls are under way."""
        return len(self._tasks)

    def add(self, deliveries: Sequence[Delivery]) -> None:
        """Put deliveries behind those of their lanes, and start what can start."""
        lanes = self._lanes
        for delivery in deliveries:
            lane = lanes.get(delivery.lane)
            if lane is None:
                lanes[delivery.lane] = [delivery]
                self._offer(delivery)
            else:
                lane.append(delivery)
        self._start_batches()

    def _offer(self, head: Delivery) -> None:
        handler = head.handler
        if not handler.many:
            self._start(handler, (head,))
        elif handler in self._ready:
            self._ready[handler][head.lane] = None
        else:
            self._ready[handler] = {head.lane: None}

    def _start_batches(self) -> None:
        for handler, ready in self._ready.items():
            if ready and handler not in self._batching:
                self._batching.add(handler)
                self._start(handler, self._front(handler, ready))

    def _front(self, handler: Handler, ready: dict[str, None]) -> Sequence[Delivery]:
        """Take, lane by lane, the deliveries in front that are for this handler, in order of arrival."""
        limit = self._limits.get(handler, handler.batch_count_max)
        batch: list[Delivery] = []
        for key in list(ready):
            room = limit - len(batch)
            if not room:
                break
            for delivery in self._lanes[key]:
                if delivery.handler is not handler or not room:
                    break
                batch.append(delivery)
                room -= 1
            del ready[key]
        batch.sort(key=lambda delivery: delivery.item.sequence)
        return batch

    def _start(self, handler: Handler, deliveries: Sequence[Delivery]) -> None:
        task = asyncio.get_running_loop().create_task(self._run(handler, deliveries))
        self._tasks[task] = (self._clock.monotonic(), handler)
        task.add_done_callback(self._ended)
        self.started.set()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        self._overdue.discard(task)

    async def _run(self, handler: Handler, deliveries: Sequence[Delivery]) -> None:
        try:
            await self._call(handler, deliveries)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task in self._overdue:
                self._after_failure(handler, deliveries, _hung(handler))
            elif task is not None and task.cancelling():
                raise
            else:
                # Nobody cancelled this call: what it waited for was.
                self._after_failure(handler, deliveries, _cancelled(handler))
        except Exception as error:  # noqa: BLE001 (a handler may raise anything; it is recorded)
            self._after_failure(handler, deliveries, error)
        else:
            self._after_success(handler, deliveries)

    def _after_success(self, handler: Handler, deliveries: Sequence[Delivery]) -> None:
        if handler.many:
            self._batching.discard(handler)
            limit = self._limits.get(handler)
            if limit is not None:
                self._widen(handler, limit)
        self._finished(deliveries)
        self._advance(deliveries)

    def _widen(self, handler: Handler, limit: int) -> None:
        if limit * 2 >= handler.batch_count_max:
            del self._limits[handler]
        else:
            self._limits[handler] = limit * 2

    def _advance(self, deliveries: Sequence[Delivery]) -> None:
        """Take finished deliveries off their lanes, and offer what stands behind them."""
        lanes = self._lanes
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
        self._start_batches()

    def _after_failure(self, handler: Handler, deliveries: Sequence[Delivery], error: Exception) -> None:
        self._batching.discard(handler)
        if len(deliveries) > 1:
            self._limits[handler] = max(1, len(deliveries) // 2)
            for key in dict.fromkeys(delivery.lane for delivery in deliveries):
                self._offer(self._lanes[key][0])
            self._start_batches()
            return
        (delivery,) = deliveries
        if delivery.charged:
            # It was counted before it was made; now it is known how it ended.
            delivery.errors.pop()
        delivery.charged = False
        delivery.errors.append(_told(error))
        pause = None
        if not delivery.once:
            pause = delay_seconds(handler.retry, delivery.attempts, error, delivery.item.envelope.id)
        if pause is None:
            self._given_up(delivery, error)
            self._advance(deliveries)
            return
        self._failed(delivery, error)
        task = asyncio.get_running_loop().create_task(self._again(delivery, pause))
        self._pauses.add(task)
        task.add_done_callback(self._pauses.discard)
        self._start_batches()

    async def _again(self, delivery: Delivery, pause: float) -> None:
        await self._clock.sleep(pause)
        self._offer(delivery)
        self._start_batches()

    def excuse(self) -> None:
        """Begin anew the time of all calls under way: they wait for a store, and that is not their fault."""
        self._excused = self._clock.monotonic()

    def cancel_overdue(self) -> None:
        """Cancel calls that run longer than their handler allows."""
        now = self._clock.monotonic()
        for task, (started, handler) in list(self._tasks.items()):
            if now - max(started, self._excused) > handler.timeout_seconds:
                self._overdue.add(task)
                task.cancel()

    async def abandon(self) -> None:
        """Cancel all calls and pauses; none of them is acknowledged."""
        tasks = [*self._tasks, *self._pauses]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _hung(handler: Handler) -> UnavailableError:
    return UnavailableError(
        f"Cannot finish handler {handler.name!r}: it took longer than {handler.timeout_seconds:g} s. "
        f"Make it faster, or raise timeout_seconds."
    )


def _cancelled(handler: Handler) -> UnavailableError:
    return UnavailableError(
        f"Cannot finish handler {handler.name!r}: something that it waited for was cancelled. "
        f"Catch the cancellation where it happens."
    )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:500]
