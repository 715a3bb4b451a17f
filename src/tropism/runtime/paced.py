"""Calls of handlers that wait for their provider."""

from collections.abc import Callable, Sequence

from tropism.runtime.call import Caller
from tropism.runtime.gates import Gates
from tropism.runtime.handler import Handler
from tropism.runtime.lanes import Lanes
from tropism.runtime.once import OnceCaller
from tropism.runtime.service import Service
from tropism.runtime.work import Delivery


class PacedCaller:
    """Calls handlers as another caller does, each when its turn with its provider has come."""

    def __init__(self, caller: Caller | OnceCaller, gates: Gates, lanes: Callable[[], Lanes]) -> None:
        self._caller = caller
        self._gates = gates
        self._lanes = lanes

    async def call(self, handler: Handler, deliveries: Sequence[Delivery]) -> None:
        """Wait for the handler's provider, then call."""
        if handler.provider is None:
            await self._caller.call(handler, deliveries)
            return
        async with self._gates.of(handler.provider).turn(self._lanes().rests.begin()):
            await self._caller.call(handler, deliveries)


def paced(
    caller: Caller | OnceCaller, service: Service, gates: Gates, lanes: Callable[[], Lanes]
) -> Caller | OnceCaller | PacedCaller:
    """Return what calls the handlers of a service; its lanes are there only when it does."""
    if all(handler.provider is None for handler in service.handlers):
        return caller
    return PacedCaller(caller, gates, lanes)
