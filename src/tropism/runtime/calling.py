"""What makes the calls of a worker, put together."""

import asyncio
from collections.abc import Callable, Mapping

from tropism.core.codec import Codec
from tropism.ports.platform import Platform
from tropism.runtime.attempts import Attempts, GaveUp
from tropism.runtime.call import Caller
from tropism.runtime.calls import Calls
from tropism.runtime.carrying import carrying
from tropism.runtime.commit import Committer
from tropism.runtime.cursor import Cursor
from tropism.runtime.gates import Gates
from tropism.runtime.inject import Opened
from tropism.runtime.lanes import Lanes
from tropism.runtime.once import once
from tropism.runtime.options import WorkerOptions
from tropism.runtime.paced import paced
from tropism.runtime.plain import is_plain
from tropism.runtime.service import Service
from tropism.runtime.tables import Tables
from tropism.runtime.values import Values


def open_calls(
    service: Service,
    platform: Platform,
    codec: Codec,
    cursor: Cursor,
    values: Values,
    tables: Tables,
    committer: Committer,
    *,
    opened: Mapping[str, Opened],
    options: WorkerOptions,
    gates: Gates,
    lanes: Callable[[], Lanes],
    now_us: Callable[[], int] | None,
    suspects: int,
    gave_up: GaveUp,
    handled: Callable[[int], None],
) -> Calls:
    """Return what calls the handlers of a service; live, ``now_us`` tells the time."""
    attempts = Attempts(service.name, cursor, codec, platform.clock, touch=committer.touch, gave_up=gave_up)
    limits = platform.log.capabilities
    caller = Caller(
        service.name,
        codec=codec,
        values=values,
        tables=tables.tables,
        opened=opened,
        now_us=now_us,
        record_bytes_max=limits.record_bytes_max,
        carry=carrying(options.guard),
        check=limits.check,
    )
    return Calls(
        paced(once(caller, service, committer, lanes), service, gates, lanes),
        caller.keep,
        [handler for handler in service.handlers if is_plain(handler)],
        committer,
        attempts,
        platform.clock,
        live=now_us is not None,
        batches=any(handler.many for handler in service.handlers),
        suspects=suspects,
        alone=options.alone or asyncio.Lock(),
        handled=handled,
    )
