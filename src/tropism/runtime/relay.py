"""Publishing what other programs' transactions left to be published.

One relay an outbox is at work, whoever holds its lease. A record is taken out of the outbox when the log has
it: a crash in between publishes it again, under its id. Per key the order is that of the commits.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from tropism.core.errors import ConflictError, FencedError, InvalidInputError, UnavailableError
from tropism.ports.clock import Clock
from tropism.ports.log import Log
from tropism.ports.outgoing import Outgoing, Waiting
from tropism.ports.platform import Platform
from tropism.ports.state import Lease
from tropism.runtime.patience import patiently

PAGE = 500
LEASE_SECONDS = 15.0
STANDBY_SECONDS = 1.0

LOGGER = logging.getLogger("tropism")


async def relay(
    outgoing: Outgoing, platform: Platform, *, holder: str, lease_seconds: float = LEASE_SECONDS
) -> None:
    """Publish what an outbox holds, and what comes into it, until cancelled.

    Where another process does, it waits until that one is gone.
    """
    state, clock = platform.state, platform.clock
    consumer = f"outbox/{outgoing.name}"
    while True:
        try:
            lease, _ = await patiently(
                clock, lambda: state.acquire(consumer, holder, lease_seconds=lease_seconds)
            )
        except ConflictError:
            await clock.sleep(STANDBY_SECONDS)
            continue
        try:
            await _publish_all(outgoing, platform, lease, lease_seconds)
        except FencedError:
            LOGGER.warning("Outbox %r is published by another process now.", outgoing.name)
        finally:
            # If the store does not answer, the lease runs out by itself.
            with suppress(UnavailableError):
                await state.release(lease)


async def publish_once(outgoing: Outgoing, log: Log, clock: Clock | None = None) -> int:
    """Publish what an outbox holds now, and return how many: for a program that does so by itself.

    Nobody else may do so at the same time. Raises: UnavailableError, where no clock says how long to wait.
    """
    published = 0
    while page := await outgoing.waiting(PAGE):
        await _publish(outgoing, log, clock, page)
        published += len(page)
    return published


async def _publish_all(outgoing: Outgoing, platform: Platform, lease: Lease, lease_seconds: float) -> None:
    """Publish for as long as the lease is held. Raises: FencedError when it is lost."""
    clock, renewed = platform.clock, platform.clock.monotonic()
    while True:
        if clock.monotonic() - renewed >= lease_seconds / 3:
            with suppress(UnavailableError):
                await platform.state.renew(lease, lease_seconds=lease_seconds)
                renewed = clock.monotonic()
        page = await patiently(clock, lambda: outgoing.waiting(PAGE))
        if page:
            await _publish(outgoing, platform.log, clock, page)
        else:
            await patiently(clock, lambda: outgoing.wait(lease_seconds / 3))


async def _publish(outgoing: Outgoing, log: Log, clock: Clock | None, page: Sequence[Waiting]) -> None:
    """Publish records in order, then take them out; one that no log takes is put aside by itself."""
    records = [each.record for each in page]
    try:
        await _surely(clock, lambda: log.append(records))
    except InvalidInputError as error:
        if len(page) > 1:
            half = len(page) // 2
            await _publish(outgoing, log, clock, page[:half])
            await _publish(outgoing, log, clock, page[half:])
            return
        cause = str(error)
        LOGGER.warning("Outbox %r puts aside event %r: %s", outgoing.name, page[0].record.id, cause)
        await _surely(clock, lambda: outgoing.refuse(page[0].place, cause))
        return
    await _surely(clock, lambda: outgoing.remove([each.place for each in page]))


async def _surely(clock: Clock | None, call: Callable[[], Awaitable[object]]) -> None:
    await (call() if clock is None else patiently(clock, call))
