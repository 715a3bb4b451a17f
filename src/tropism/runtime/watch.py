"""What a worker minds while it works: its lease, and calls that hang."""

import asyncio
from contextlib import suppress

from tropism.core.errors import UnavailableError
from tropism.ports.clock import Clock
from tropism.ports.state import Lease, State
from tropism.runtime.lanes import Lanes


async def watch(
    state: State, lease: Lease, clock: Clock, lanes: Lanes, *, lease_seconds: float, timeout_seconds: float
) -> None:
    """Keep a lease, and cancel calls that hang. Raises: FencedError when the lease is lost."""
    await asyncio.gather(
        _keep(state, lease, clock, lease_seconds), _cancel_hanging(lanes, clock, timeout_seconds / 4)
    )


async def _keep(state: State, lease: Lease, clock: Clock, seconds: float) -> None:
    while True:
        await clock.sleep(seconds / 3)
        with suppress(UnavailableError):
            await state.renew(lease, lease_seconds=seconds)


async def _cancel_hanging(lanes: Lanes, clock: Clock, pause: float) -> None:
    while True:
        lanes.started.clear()
        if not lanes.running:
            await lanes.started.wait()
        await clock.sleep(pause)
        lanes.cancel_overdue()
