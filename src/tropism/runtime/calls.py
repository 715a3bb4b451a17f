"""Starting calls: most of them together, some of them alone."""

import asyncio
from collections.abc import Callable, Collection, Sequence

from tropism.ports.clock import Clock
from tropism.runtime.admission import Admitted
from tropism.runtime.attempts import Attempts, spent
from tropism.runtime.call import Caller
from tropism.runtime.commit import Committer
from tropism.runtime.handler import Handler
from tropism.runtime.lanes import Keep, Lanes
from tropism.runtime.once import OnceCaller
from tropism.runtime.paced import PacedCaller
from tropism.runtime.work import Delivery, Item, passed_of

SOON_TURNS = 8
"""In so many turns of the event loop, most calls have ended."""


class Calls:
    """Hands what was let in to the lanes, and what came of it to the committer.

    Ticks in event time go alone, when all calls before them have ended. ``suspects``, and in event time or in
    batches what is handled at most once, go with nothing else in flight. Suspects are the events that follow
    a crash: one of them may have been its cause, and only who is ``alone`` is charged: also beside the other
    services of the process, with which it would die.
    """

    def __init__(
        self,
        caller: Caller | OnceCaller | PacedCaller,
        keep: Keep,
        plain: Collection[Handler],
        committer: Committer,
        attempts: Attempts,
        clock: Clock,
        *,
        live: bool,
        batches: bool,
        suspects: int,
        alone: asyncio.Lock,
        handled: Callable[[int], None],
    ) -> None:
        self._handled = handled
        self.suspects = suspects
        self.lanes = Lanes(
            caller.call,
            clock,
            plain=plain,
            keep=keep,
            batches=batches,
            collect=live,
            finished=self._finished,
            failed=self._failed,
            given_up=self._given_up,
        )
        self._committer = committer
        self._attempts = attempts
        self._live = live
        self._alone = alone
        self._open = 0
        self._ended = asyncio.Event()

    async def start(
        self,
        admitted: Sequence[Admitted],
        until_us: int,
        *,
        touched: bool,
        plain: Sequence[Delivery] | None = None,
    ) -> None:
        """Start the calls of items, in order; they are all there is up to a moment.

        ``plain`` ones, in place of the others, are of items for one handler each that have not failed before.
        Once no more calls start, nothing is taken up: who comes next reads it again.
        """
        if self.lanes.are_closed():
            return
        if plain is not None:
            self._committer.admit([delivery.item for delivery in plain], until_us, touched=touched)
            self._open += len(plain)
            self.lanes.add(plain)
            return
        start = 0
        for index, (item, deliveries) in enumerate(admitted):
            tick = item.tick is not None and not self._live
            once = self._goes_alone(deliveries)
            if not (tick or once or (self.suspects and deliveries)):
                continue
            self._add(admitted[start:index], item.order_us - 1, touched=touched)
            if once or self.suspects:
                await self._committer.wait_settled()
                if self.lanes.are_closed():
                    return
                await self._start_alone(item, deliveries, once=once)
            else:
                await self._wait_ended()
                self._add([(item, deliveries)], item.order_us - 1, touched=True)
                await self._wait_ended()
            start = index + 1
        self._add(admitted[start:], until_us, touched=touched)

    def _goes_alone(self, deliveries: Sequence[Delivery]) -> bool:
        """Say whether something is handled at most once, where that keeps all else waiting."""
        if not any(d.handler.guarantee == "at_most_once" for d in deliveries):
            return False
        # Live, what goes by itself is passed when its turn in its lane has come.
        return not self._live or self.suspects > 0 or any(d.handler.many for d in deliveries)

    async def _wait_ended(self) -> None:
        """Return when no call is open, whether or not what they did is stored."""
        for _ in range(SOON_TURNS):
            if not self._open:
                return
            await asyncio.sleep(0)
        while self._open:
            # What takes long must not keep what has ended from being stored.
            self._committer.release()
            self._ended.clear()
            await self._ended.wait()

    def _add(self, admitted: Sequence[Admitted], until_us: int, *, touched: bool) -> None:
        self._committer.admit([item for item, _ in admitted], until_us, touched=touched)
        deliveries = [delivery for _, some in admitted for delivery in some]
        self._open += len(deliveries)
        lost = [d for d in deliveries if d.failures and self._attempts.is_spent(d)]
        for delivery in lost:
            self._given_up(delivery, spent(delivery))
        self.lanes.add([d for d in deliveries if d not in lost] if lost else deliveries)

    async def _start_alone(self, item: Item, deliveries: tuple[Delivery, ...], *, once: bool) -> None:
        """Handle one item with nothing else in flight, and commit it."""
        if once:
            # At most once: past it first, then the call; whatever becomes of it, it is not repeated.
            self._committer.admit([passed_of(item)], item.order_us - 1, touched=True)
            await self._committer.wait_settled()
            for delivery in deliveries:
                delivery.once = True
        elif self.suspects:
            self.suspects -= 1
            async with self._alone:
                self._attempts.charge(deliveries)
                await self._committer.wait_settled()
                self._add([(item, deliveries)], item.order_us - 1, touched=True)
                await self._wait_returned()
            await self._committer.wait_settled()
            return
        self._add([(item, deliveries)], item.order_us - 1, touched=True)
        await self._committer.wait_settled()

    async def _wait_returned(self) -> None:
        """Return when no call runs: all have ended, or wait for another attempt."""
        while self._open and self.lanes.running:
            self.lanes.returned.clear()
            await self.lanes.returned.wait()

    def _finished(self, deliveries: Sequence[Delivery]) -> None:
        self._handled(len(deliveries))
        self._close(deliveries)

    def _failed(self, delivery: Delivery, _: Exception) -> None:
        self._attempts.failed(delivery)

    def _given_up(self, delivery: Delivery, error: Exception) -> None:
        self._attempts.bury(delivery, error)
        self._close((delivery,))

    def _close(self, deliveries: Sequence[Delivery]) -> None:
        self._open -= len(deliveries)
        if not self._open:
            self._ended.set()
        whole: list[Item] = []
        for delivery in deliveries:
            item = delivery.item
            item.open_calls -= 1
            if not item.open_calls:
                whole.append(item)
        if whole:
            self._committer.finished(whole)
