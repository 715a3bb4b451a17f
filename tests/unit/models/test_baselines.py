"""What simpler ways to decide would have done, and that none of them looks ahead, but the one that should."""

from dataclasses import dataclass

import numpy as np
import pytest

from tropism.core.errors import InvalidInputError
from tropism.models.baselines import (
    after_outcomes,
    every_share,
    every_us,
    hindsight,
    no_change,
    prequential,
)
from tropism.models.rows import Rows, TrainingRows


@dataclass
class Share:
    """Answers every row with the share of positives it was trained on."""

    share: float

    def predict(self, rows: Rows) -> list[float]:
        return [self.share] * len(rows)


def train_share(rows: TrainingRows, seed: int) -> Share:
    """The least model: it knows nothing of features."""
    return Share(float(np.mean(rows.outcomes)))


@dataclass
class Seen:
    """Answers 1 to rows whose first feature it was trained on: a memory."""

    known: set

    def predict(self, rows: Rows) -> list[float]:
        return [1.0 if value in self.known else 0.0 for value in rows.columns[0]]


def train_memory(rows: TrainingRows, seed: int) -> Seen:
    """Learn which rows there were."""
    return Seen(set(rows.columns[0]))


def table(outcomes: list[float], *, delay: int = 3, shuffled: bool = False) -> TrainingRows:
    """A row a microsecond, its outcome so much later; nan never comes."""
    count = len(outcomes)
    values = np.array(outcomes, dtype=float)
    decided = np.arange(count, dtype=np.int64)
    known = np.where(np.isnan(values), 0, decided + delay)
    order = np.random.default_rng(7).permutation(count)
    taken = [[int(i) for i in order]]
    if not shuffled:
        order = np.arange(count)
    return TrainingRows(("x",), taken, values[order], decided[order], known[order])


def test_no_change_repeats_the_last_outcome_known_strictly_before() -> None:
    rows = table([1, 0, 0, 1, 1, 0, 1, 0], delay=3)
    outputs, trainings = no_change(rows)
    # Row 3 is decided at the instant at which row 0 becomes known: not before.
    assert np.isnan(outputs[:4]).all()
    assert outputs[4:].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert trainings == 0


def test_no_change_of_nothing_known_is_absent() -> None:
    rows = table([float("nan")] * 3)
    assert np.isnan(no_change(rows).outputs).all()


def test_a_row_is_decided_by_what_was_known_before_it() -> None:
    rows = table([0, 1, 1, 1, 0, 0, 0, 0, 0, 0], delay=2)
    outputs, trainings = prequential(rows, train_share, [4, 7], seed=0)
    # At 4, rows 0 to 2 are known; they decide 5, 6, 7. At 7, rows 0 to 5 are.
    assert np.isnan(outputs[:5]).all()
    assert outputs[5:8].tolist() == pytest.approx([2 / 3] * 3)
    assert outputs[8:].tolist() == pytest.approx([3 / 6] * 2)
    assert trainings == 2


def test_no_model_decides_a_row_it_learned_from() -> None:
    rows = table([0, 1] * 50, delay=2)
    assert np.nanmax(prequential(rows, train_memory, [10, 20, 50], seed=0).outputs) == 0.0
    assert np.nanmax(hindsight(rows, train_memory, [10, 20, 50], seed=0).outputs) == 0.0


def test_an_instant_with_one_outcome_known_trains_nothing() -> None:
    rows = table([0, 0, 0, 0, 1, 0, 1, 0], delay=1)
    outputs, trainings = prequential(rows, train_share, [2, 5], seed=0)
    assert trainings == 1
    assert np.isnan(outputs[:6]).all()
    assert outputs[6:].tolist() == pytest.approx([0.2, 0.2])


def test_outcomes_that_never_come_are_decided_and_not_learned() -> None:
    rows = table([0, 1, float("nan"), 1, float("nan"), 0], delay=1)
    outputs = prequential(rows, train_share, [2], seed=0).outputs
    by_time = dict(zip(rows.decided_us.tolist(), outputs.tolist(), strict=True))
    assert by_time[4] == 0.5
    assert by_time[5] == 0.5


def test_a_window_forgets() -> None:
    rows = table([0, 0, 0, 0, 1, 1, 0, 1, 0, 0], delay=1)
    outputs = prequential(rows, train_share, [8], seed=0, window_us=4).outputs
    assert outputs[-1] == pytest.approx(3 / 4)


def test_workers_change_nothing() -> None:
    rows = table([0, 1, 1, 0, 1, 0] * 20, delay=2)
    here = prequential(rows, train_share, [10, 50, 90], seed=0)
    there = prequential(rows, train_share, [10, 50, 90], seed=0, workers=1)
    np.testing.assert_array_equal(here.outputs, there.outputs)


def test_hindsight_knows_what_is_to_come() -> None:
    rows = table([0, 1] * 20 + [1] * 60, delay=2)
    schedule = [20, 45, 60, 80]
    known = prequential(rows, train_share, schedule, seed=0).outputs
    best = hindsight(rows, train_share, schedule, seed=0, others=[known]).outputs
    late = rows.decided_us > 45
    assert np.mean(best[late]) > np.mean(known[late])
    assert np.isnan(best[rows.decided_us <= 20]).all()


def test_hindsight_is_never_worse_than_the_others_it_chooses_from() -> None:
    rows = table([0, 1, 1, 0, 1, 0] * 20, delay=2)
    perfect = rows.outcomes.copy()
    best = hindsight(rows, train_share, [30, 60], seed=0, others=[perfect]).outputs
    after = rows.decided_us > 30
    np.testing.assert_array_equal(best[after], perfect[after])


def test_schedules() -> None:
    rows = table([0, 1] * 50, delay=3)
    assert after_outcomes(rows, 10) == 12
    assert after_outcomes(rows, 101) is None
    assert every_us(5, 10, 26) == [5, 15, 25]
    assert every_share(rows, 0.25) == [27, 52, 77]


def test_the_order_of_the_rows_changes_nothing() -> None:
    outcomes = [0, 1, 1, 0, 1, float("nan")] * 20
    rows, shuffled = table(outcomes), table(outcomes, shuffled=True)
    for way in (
        no_change,
        lambda r: prequential(r, train_share, [10, 60], 0),
        lambda r: hindsight(r, train_share, [10, 60], 0),
    ):
        ordered, turned = way(rows).outputs, way(shuffled).outputs
        np.testing.assert_array_equal(ordered[shuffled.columns[0]], turned)
    assert after_outcomes(rows, 20) == after_outcomes(shuffled, 20)


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="Choose 0 < share < 1"):
        every_share(table([0, 1]), 1.5)
