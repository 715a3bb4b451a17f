"""Every scenario on every engine on which it can happen."""

import asyncio
import tempfile

import pytest
from tests.faults.scenarios import SCENARIOS
from tests.faults.sites import ENGINES, Servers, opened

PAIRS = [
    (engine, scenario)
    for engine in ENGINES.values()
    for scenario in SCENARIOS.values()
    if scenario.runs_on(engine)
]


@pytest.fixture(scope="module")
def servers():
    with tempfile.TemporaryDirectory(prefix="tropism-servers-") as folder:
        found = Servers(folder)
        yield found
        found.close()


@pytest.mark.parametrize(("engine", "scenario"), PAIRS, ids=lambda each: each.name)
def test_nothing_is_lost_doubled_or_out_of_order(engine, scenario, servers):
    """The scenario's law, and every law of histories, hold on this engine."""

    async def run():
        async with opened(engine, servers, through_proxy=scenario.needs == "network") as site:
            await scenario.run(site)

    asyncio.run(run())
