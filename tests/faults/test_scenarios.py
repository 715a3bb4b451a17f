"""Every scenario on every engine on which it can happen."""

import asyncio
import tempfile

import pytest
from tests.faults.scenarios import SCENARIOS
from tests.faults.sites import ENGINES, Servers, opened

QUICK = {
    "memory": {
        "stopped_while_it_works",
        "stopped_between_attempts",
        "one_key_waits",
        "poison",
        "redriven",
        "retried_across_a_crash",
        "published_twice",
    },
    "sqlite": {"frozen_past_its_lease", "killed_by_an_event", "told_twice_to_stop", "server_killed"},
    "postgres": {"server_killed", "answers_lost"},
    "nats": {"server_and_worker_killed", "network_cut"},
    "kafka": {"started_again_and_again"},
}
"""What every run of the tests includes; ``make faults`` runs all of them."""


def pair(engine, scenario):
    quick = scenario.name in QUICK[engine.name]
    marks = () if quick else (pytest.mark.faults,)
    return pytest.param(engine, scenario, marks=marks, id=f"{engine.name}-{scenario.name}")


PAIRS = [
    pair(engine, scenario)
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


@pytest.mark.parametrize(("engine", "scenario"), PAIRS)
def test_nothing_is_lost_doubled_or_out_of_order(engine, scenario, servers):
    """The scenario's law, and every law of histories, hold on this engine."""

    async def run():
        async with opened(engine, servers, through_proxy=scenario.needs == "network") as site:
            await scenario.run(site)

    asyncio.run(run())
