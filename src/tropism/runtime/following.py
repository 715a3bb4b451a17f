"""Event time across processes: each service says in the log how far it has come, and others listen.

What it says lies behind all that it added up to then, in one commit with it; so whoever has read it can
read all of that.
"""

import msgspec

from tropism.core.codec import record_of
from tropism.core.envelope import Record
from tropism.core.event import Event
from tropism.ports.log import Log
from tropism.runtime.watermarks import Watermarks

PAGE = 1000


class WatermarkReached(Event, type="watermarks.reached.v1", key="service"):
    """A service has handled everything up to the time of this event."""

    service: str


TOPIC = WatermarkReached.event_topic


def reached(service: str, time_us: int) -> Record:
    """Return the record by which a service says how far it has come."""
    event = WatermarkReached(service=service)
    data = msgspec.json.encode(event)
    return record_of(event, data, id=f"{service}/{time_us}", time_us=time_us, source=service)


async def follow(log: Log, watermarks: Watermarks, services: frozenset[str]) -> None:
    """Learn how far services of other processes have come, until cancelled."""
    offset = 0
    while True:
        page = (await log.read({(TOPIC, 0): offset}, count_max=PAGE)).get((TOPIC, 0), ())
        # Each service's last word holds for all before it.
        told = {stored.record.source: stored.record.time_us for stored in page}
        for service in services & told.keys():
            watermarks.advance(service, told[service])
        if page:
            offset = page[-1].offset + 1
        if len(page) < PAGE:
            await log.wait_beyond({(TOPIC, 0): offset})
