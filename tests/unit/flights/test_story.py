"""What is told of a run adds up, and nothing is told that the run does not say."""

import msgspec
import numpy as np
import pytest

from tropism.core.time import days, hours, to_us
from tropism.demo.flights.comparing import SCORED_FROM_US, WEEK_US, Way
from tropism.demo.flights.results import Results
from tropism.demo.flights.story import _calibration, drift_of, parts_of, storms_of, summary_of
from tropism.models.rows import TrainingRows
from tropism.models.sketch.features import feature_sketch
from tropism.models.steps import Step

DAY_US = to_us(days(1))
MIDNIGHT_US = SCORED_FROM_US
HOUR_US = to_us(hours(1))


def results(decided_us, outcomes, *, steps=(), windows=()):
    """A run's decisions, each outcome known three hours later."""
    decided, came = np.array(decided_us, dtype=np.int64), np.array(outcomes, dtype=float)
    known = np.where(np.isnan(came), 0, decided + 3 * HOUR_US)
    rows = TrainingRows(("x",), [[0.0] * len(decided)], came, decided, known)
    nothing = np.zeros(len(decided))
    return Results(rows, nothing, nothing.astype(np.int64), nothing, 100, 0, 0, steps, windows, "")


def test_every_second_is_counted_once():
    stages = {"load": 4.0, "run": 25.0, "read back": 1.0, "baselines": 0.0, "training, of run": 9.5}
    parts = parts_of(stages)
    assert dict(parts)["event path"] == 15.5
    assert sum(seconds for _, seconds in parts) == 30.0
    assert [name for name, _ in parts] == ["load", "event path", "training", "read back", "baselines"]


def test_of_a_resumed_run_no_rate_is_told_and_no_time_of_all_its_parts():
    trained = Step(0, "training.trained.v1", {"seconds": 9.0})
    run = results([MIDNIGHT_US], [1.0], steps=(trained,))
    whole = summary_of(run, (), {"load": 1.0, "run": 29.0}, resumed=False)
    assert (whole["seconds"], whole["events_per_second"]) == (30.0, 5.0)
    part = summary_of(run, (), {"load": 0.5, "run": 4.0}, resumed=True)
    assert (part["seconds"], part["events_per_second"]) == (None, None)
    assert parts_of(part["stages"]) == (("load", 0.5), ("run", 4.0))


def test_flights_under_way_when_the_facts_end_are_no_storm():
    """Two days: on the first a fifth is cancelled; on the second, of a run cut short, nothing came any more."""
    first, second = MIDNIGHT_US, MIDNIGHT_US + DAY_US
    decided = [*range(first, second, DAY_US // 200), *range(second, second + DAY_US, DAY_US // 200)]
    outcomes = [*[np.nan, 0.0, 0.0, 1.0, 0.0] * 40, *[np.nan] * 200]
    assert storms_of(results(decided, outcomes)) == ()
    longer = [*decided, MIDNIGHT_US + 4 * DAY_US]
    (storm, other) = storms_of(results(longer, [*outcomes, 1.0]))
    # The day is New York's.
    assert (storm.start_us, storm.end_us, storm.label) == (first, second, "20% never arrived")
    assert other.start_us == second


def test_calibration_is_of_the_decisions_that_are_scored():
    run = results([MIDNIGHT_US - HOUR_US] * 50 + [MIDNIGHT_US + HOUR_US] * 50, [1.0] * 50 + [0.0] * 50)
    found = _calibration(Way("static", np.full(100, 0.25), None, 1), run)
    assert sum(point.count for point in found.points) == 50


@pytest.mark.parametrize("rows", [(90, 10), (10, 90)])
def test_a_week_shows_its_drift_from_the_version_that_decided_most_of_it(rows):
    low, high = np.linspace(0, 1, 100), np.linspace(9, 10, 100)
    references = {1: feature_sketch(("x",), [low]), 2: feature_sketch(("x",), [high])}
    steps = tuple(
        Step(0, "training.trained.v1", {"version": version, "reference": msgspec.to_builtins(sketch)})
        for version, sketch in references.items()
    )
    windows = tuple(
        {
            "start_us": 100 * WEEK_US + version,
            "version": version,
            "features": msgspec.to_builtins(references[version].emptied().observe([low[:count]])),
        }
        for version, count in zip((1, 2), rows, strict=True)
    )
    (row,) = drift_of(results([MIDNIGHT_US], [1.0], steps=steps, windows=windows))
    ((_, psi),) = row.values
    # What the first version learned from is what came; the second learned from something else.
    assert (psi < 1.0) == (rows[0] > rows[1])
