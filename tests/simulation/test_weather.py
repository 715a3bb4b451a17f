"""Systems of several processes in seeded weather: nothing is lost, and whoever loses something is found out."""

import asyncio
import json

import pytest
from tests.simulation.saboteurs import RUNTIMES, STORES

from tropism.testing import simulate
from tropism.testing.cluster import Cluster, Stores, run_seed
from tropism.testing.plan import plan_of
from tropism.testing.telling import tell
from tropism.testing.weather import KINDS

SEEDS = 24
FOUND_WITHIN = 80
"""A broken part must show within so many seeds."""


@pytest.mark.parametrize("first", range(0, SEEDS, 6))
def test_nothing_is_lost_doubled_or_out_of_order_in_any_weather(first):
    """Whatever fails, comes late or twice, dies or stands still: every law of histories holds."""
    for seed in range(first, first + 6):
        result = run_seed(seed)
        assert not result.violations, tell(run_seed(seed, records=True))


def test_a_few_seeds_meet_every_kind_of_fault_in_every_kind_of_system():
    """Nothing that can go wrong is left out by chance."""
    plans = [plan_of(seed) for seed in range(100)]
    assert {plan.mode for plan in plans} == {"one", "standby", "spread", "shares"}
    assert {(plan.live, plan.apart) for plan in plans} == {
        (a, b) for a in (True, False) for b in (True, False)
    }
    met = set().union(*(run_seed(seed).faults for seed in range(16)))
    assert met >= {*KINDS, "raised", "slow", "poison", "stopped"}


@pytest.mark.parametrize("seed", range(6))
def test_who_crashed_is_due_to_come_back_at_once(seed):
    """When nothing else is due, a simulation waits for those who come back, and does not call that an end."""

    async def scene():
        cluster = Cluster(plan_of(seed), Stores(), records=False)
        dead = cluster.nodes[0]
        dead.start()
        dead.seat.struck = True
        await cluster._settle()
        assert cluster.clock.next_wakeup_us() is not None or not dead.is_dead
        await cluster.close()

    asyncio.run(scene())


@pytest.mark.parametrize("seed", [4, 11])
def test_a_seed_repeats_to_the_last_fault(seed):
    """The same seed gives the same faults at the same moments, and leaves the same behind."""
    one, other = (run_seed(seed, records=True) for _ in range(2))
    assert [repr(each)[:200] for each in one.timeline] == [repr(each)[:200] for each in other.timeline]
    assert one.history == other.history


@pytest.mark.parametrize("name", STORES)
def test_a_store_that_breaks_a_promise_is_found_out(name):
    """A log or state that loses, doubles, reorders, or acknowledges early breaks a law within a few seeds."""
    stores = Stores(STORES[name])
    assert any(run_seed(seed, stores=stores).violations for seed in range(FOUND_WITHIN))


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_that_breaks_a_promise_is_found_out(name, monkeypatch):
    """A runtime that forgets, overtakes, or gives up early breaks a law within a few seeds."""
    RUNTIMES[name](monkeypatch)
    assert any(run_seed(seed).violations for seed in range(FOUND_WITHIN))


def test_a_failing_seed_says_how_to_repeat_it_and_what_bears_on_it(monkeypatch, capsys):
    """What is printed holds the law, where the event lies, the faults that met it, and one command."""
    RUNTIMES["gives_up_early"](monkeypatch)
    assert simulate.main(["--seed", "0"]) == 1
    told = capsys.readouterr().out
    assert "nothing is given up early" in told
    assert "dead letter of books" in told
    assert told.endswith("Repeat it with: python -m tropism.testing.simulate --seed 0\n")
    assert len(told.splitlines()) < 100
    assert simulate.main(["--seeds", "2", "--processes", "1", "--json"]) == 1
    captured = capsys.readouterr()
    assert 0 in json.loads(captured.out)["failed"]
    assert "Look at it with: python -m tropism.testing.simulate --seed 0" in captured.err


def test_the_command_says_what_it_met(capsys):
    """A seed that holds says so; many are counted; without an end to work towards it refuses to begin."""
    assert simulate.main(["--seed", "7"]) == 0
    assert capsys.readouterr().out.startswith("Seed 7 holds: ")
    assert simulate.main(["--faults", "50", "--first", "3", "--processes", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["faults"] >= 50
    assert found["failed"] == []
    with pytest.raises(SystemExit) as left:
        simulate.main([])
    assert left.value.code == 2
