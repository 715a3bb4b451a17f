"""A Kafka broker that comes back without its memory: the log says so, and goes on."""

import asyncio
import signal
from pathlib import Path

from tests.kafka_servers import Noida

from tropism.adapters.kafka import open_kafka
from tropism.adapters.local.clock import SystemClock
from tropism.runtime.patience import patiently
from tropism.testing.log import record


def test_a_producer_that_gave_up_for_good_is_replaced(tmp_path):
    """Where the broker no longer knows what was sent before, appends fail for a while, and then go on."""
    broker = Noida(Path(tmp_path))

    async def check():
        url = broker.url(timeout_seconds=2)
        log = await open_kafka(url)
        await log.append([record(f"a{n}", f"k{n}") for n in range(20)])
        # What this broker keeps, it keeps in memory until it is told to stop.
        broker.stop(signal.SIGKILL)
        broker.start()
        other = await open_kafka(url)
        await patiently(SystemClock(), lambda: other.create_topics({"orders": 4}))
        await other.close()
        async with asyncio.timeout(60):
            for n in range(20):
                await patiently(SystemClock(), lambda n=n: log.append([record(f"b{n}", f"k{n}")]))
        await log.close()

    try:
        asyncio.run(check())
    finally:
        broker.stop(signal.SIGKILL)
