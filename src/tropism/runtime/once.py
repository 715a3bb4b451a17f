"""Calls that are made at most once."""

import asyncio
from collections.abc import Callable, Sequence

from tropism.core.errors import BusyError
from tropism.runtime.call import Caller
from tropism.runtime.commit import Committer
from tropism.runtime.handler import Handler
from tropism.runtime.lanes import Lanes
from tropism.runtime.service import Service
from tropism.runtime.work import Delivery


class OnceCaller:
    """Calls handlers as another caller does; what is handled at most once, when its event is passed for good.

    Whatever becomes of the call then, it is not repeated. They go one at a time, so that a crash takes one of
    them with it; nothing else waits for them.
    """

    def __init__(self, caller: Caller, committer: Committer, lanes: Callable[[], Lanes]) -> None:
        self._caller = caller
        self._committer = committer
        self._lanes = lanes
        self._turn = asyncio.Lock()

    async def call(self, handler: Handler, deliveries: Sequence[Delivery]) -> None:
        """Pass what is handled at most once, then call."""
        if handler.guarantee != "at_most_once":
            await self._caller.call(handler, deliveries)
            return
        rest = self._lanes().rests.begin()
        with rest:
            await self._turn.acquire()
        try:
            if self._lanes().are_closed() and not any(delivery.once for delivery in deliveries):
                # Nothing is passed that the drain may cut short: it is left for the next start.
                raise BusyError(
                    f"Cannot call {handler.name!r}: the service is stopping. Start it again.", 1.0
                )
            for delivery in deliveries:
                delivery.once = True
                with rest:
                    await self._committer.pass_by(delivery.item)
            await self._caller.call(handler, deliveries)
        finally:
            self._turn.release()


def once(
    caller: Caller, service: Service, committer: Committer, lanes: Callable[[], Lanes]
) -> Caller | OnceCaller:
    """Return what calls the handlers of a service; its lanes are there only when it does."""
    if all(handler.guarantee != "at_most_once" for handler in service.handlers):
        return caller
    return OnceCaller(caller, committer, lanes)
