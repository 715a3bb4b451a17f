"""How many workers there should be."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tropism.runtime.scaling import Learned, Load, Scaling, drain_seconds, learn, wanted

SCALING = Scaling(workers_min=1, workers_max=8, drain_seconds=30.0, rest_seconds=60.0)


def simulate(cost: float, rates: list[float]) -> list[int]:
    """Live through so many events a second, two seconds at a time; return the workers at each look."""
    known, lag, workers, found = Learned(), 0.0, 1, []
    for look, rate in enumerate(rates):
        arrived = rate * 2.0
        handled = min(lag + arrived, workers / cost * 2.0)
        lag += arrived - handled
        known = learn(known, Load(2.0, int(arrived), int(handled), int(lag)), workers)
        better = wanted(SCALING, known, int(lag), workers, now=look * 2.0)
        if better != workers:
            workers = better
            known = Learned(known.cost_seconds, known.arrivals_per_second, look * 2.0)
        found.append(workers)
    return found


def changes(found: list[int]) -> int:
    return sum(a != b for a, b in zip(found, found[1:], strict=False))


def test_a_burst_is_met_in_one_step_and_left_in_few() -> None:
    """Ten minutes of four times what one worker does: up at once, down again afterwards, in few changes."""
    found = simulate(0.01, [20.0] * 60 + [400.0] * 300 + [20.0] * 300)
    assert found[59] == 1
    assert max(found) >= 4
    assert found[-1] == 1
    assert changes(found) <= 6


def test_a_steady_load_changes_nothing() -> None:
    """What one worker does easily needs one, for ever."""
    assert set(simulate(0.01, [50.0] * 500)) == {1}


def test_slow_work_needs_more_workers_than_fast_work() -> None:
    """The same number of events a second, ten times as dear: it is not the count that decides."""
    cheap, dear = simulate(0.001, [300.0] * 100), simulate(0.01, [300.0] * 100)
    assert max(cheap) == 1
    assert max(dear) >= 3


def test_what_is_not_known_is_not_said() -> None:
    """Before any work was seen, nobody knows how long it takes; where more comes than goes, for ever."""
    assert drain_seconds(Learned(), 10, 1) is None
    assert drain_seconds(Learned(), 0, 1) == 0.0
    assert drain_seconds(Learned(0.1, 20.0), 10, 1) == math.inf
    assert drain_seconds(Learned(0.1, 5.0), 10, 1) == 2.0


@given(
    st.floats(1e-6, 1e3),
    st.floats(0, 1e6),
    st.integers(0, 10**9),
    st.integers(1, 20),
    st.integers(1, 10),
    st.integers(0, 20),
)
def test_bounds_are_kept(cost: float, rate: float, lag: int, workers: int, least: int, more: int) -> None:
    """Never fewer than the least, nor more than the most."""
    scaling = Scaling(least, least + more, 30.0, 60.0)
    assert least <= wanted(scaling, Learned(cost, rate), lag, workers, now=0.0) <= least + more
