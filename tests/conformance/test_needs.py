"""How every adapter's log meets what apps need: the table that the docs promise, read from the logs."""

import asyncio

import pytest
from tests.conformance import matrix

from tropism.core.errors import NotSupportedError
from tropism.runtime.needs import Site, check_needs, findings, needs_of

EVENT_TIME = {
    "MemoryLog": True,
    "SqliteLog": True,
    "PostgresLog": True,
    "NatsLog": True,
    "KafkaLog": False,
    "FormattedLog": False,
}


@pytest.mark.parametrize("name", sorted(matrix.LOGS))
def test_each_log_meets_or_refuses_event_time_and_says_how_ids_are_known(name):
    """Event time is native or refused with a remedy; ids are known by the log, or remembered by name."""

    async def main():
        async with matrix.LOGS[name]() as log:
            kind = type(log).__name__
            site = Site(log.capabilities, "elsewhere", 3600.0)
            needs = needs_of([], live=False)
            if EVENT_TIME[kind]:
                assert {each.how for each in check_needs(needs, site)} == {"emulated", "native"}
            else:
                with pytest.raises(NotSupportedError, match="Run live, or choose a log"):
                    check_needs(needs, site)
            (commit,) = findings(needs_of([]), site)
            assert commit.words.startswith("outbox and relay: ")
            return kind

    assert asyncio.run(main()) in EVENT_TIME
