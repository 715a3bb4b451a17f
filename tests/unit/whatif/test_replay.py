"""The loop lives through a table on the real engine: the same every time, no worse where nothing changes."""

import asyncio
from datetime import timedelta

import numpy as np
import pytest
from tests.unit.whatif.tables import write_stream

from tropism.core.errors import InvalidInputError, TropismError
from tropism.models.rows import TrainingRows
from tropism.whatif.asking import Question, ask
from tropism.whatif.compare import cron_period
from tropism.whatif.policy import policy_for
from tropism.whatif.recency import newest_that_predict
from tropism.whatif.story import card_of, document_of
from tropism.whatif.table import Roles
from tropism.whatif.trainers import trainer

ROLES = Roles("when", "label", "known", key="id")


class Linear:
    """A logistic regression by hand, on the numbers alone: it fits in a millisecond."""

    def __init__(self, weights):
        self.weights = weights

    def predict(self, rows):
        return (1.0 / (1.0 + np.exp(-(_matrix(rows) @ self.weights)))).tolist()


def _matrix(rows):
    numbers = [np.array(column, dtype=float) for column in rows.columns if not isinstance(column[0], str)]
    return np.column_stack([*numbers, np.ones(len(rows))])


def fit(rows, seed):
    """Take a few steps of Newton's method."""
    x, weights = _matrix(rows.rows), np.zeros(len(_matrix(rows.rows)[0]))
    for _ in range(5):
        p = 1.0 / (1.0 + np.exp(-(x @ weights)))
        slope = x.T @ (rows.outcomes - p) - 0.1 * weights
        weights = weights + np.linalg.solve((x.T * (p * (1 - p))) @ x + 0.1 * np.eye(len(weights)), slope)
    return Linear(weights)


def train_line(rows, seed):
    """Fit on the newest rows that predict best, as the named models do."""
    return fit(newest_that_predict(rows, seed, fit), seed)


def train_never(rows, seed):
    raise ValueError("no memory left")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("whatif"), {}

    def answer(name, model="tropism_whatif_tests:train_line", seed=0, roles=ROLES, **kind):
        if name not in found:
            path = write_stream(folder / f"{name}.csv", **kind)
            found[name] = asyncio.run(ask(Question(path, roles, model, seed)))
        return found[name]

    return answer


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """A user's own model is a module's function: this module, under a name that a process can import."""
    import sys

    here = sys.modules[__name__]
    monkeypatch.setitem(sys.modules, "tropism_whatif_tests", here)
    for function in (train_line, train_never):
        monkeypatch.setattr(function, "__module__", "tropism_whatif_tests")
    monkeypatch.setattr(Linear, "__module__", "tropism_whatif_tests")


def test_without_drift_the_loop_loses_at_most_a_point_of_accuracy(answers):
    found = answers("calm", rows=2000).comparison
    static, loop = found.way("static").quality, found.way("tropism").quality
    assert loop.accuracy > static.accuracy - 0.01
    assert loop.log_loss < static.log_loss + 0.01
    assert found.scored > 1700


def test_after_an_abrupt_change_the_loop_gains_clearly(answers):
    answer = answers("abrupt", rows=3000, drift=0.4)
    found = answer.comparison
    static, loop = found.way("static"), found.way("tropism")
    assert loop.quality.accuracy > static.quality.accuracy + 0.2
    assert loop.quality.auc > static.quality.auc + 0.2
    assert loop.promotions >= 2
    assert loop.alarms >= 1
    assert answer.verdict.answer == "yes"


def test_all_ways_are_scored_on_the_same_rows_and_begin_alike(answers):
    answer = answers("calm", rows=2000)
    assert {way.quality.outcomes for way in answer.comparison.ways} == {answer.comparison.scored}
    assert len({tuple(q.start_us for q in way.periods) for way in answer.comparison.ways}) == 1
    assert answer.comparison.way("static").trainings == 1
    assert answer.comparison.way("cron").trainings > 5
    assert answer.comparison.way("no-change").quality.log_loss is None


def test_the_same_table_and_seed_give_the_same_figures(answers):
    first = answers("calm", rows=2000)
    again = answers("calm again", rows=2000)
    assert again.replayed.digest == first.replayed.digest
    assert again.comparison == first.comparison


def test_rows_whose_label_never_comes_are_decided_counted_and_not_scored(tmp_path):
    path = write_stream(tmp_path / "t.csv", 600)
    lines = path.read_text().splitlines()
    lines[1:61] = [line.rpartition(",")[0] + "," for line in lines[1:61]]
    path.write_text("\n".join(lines))
    answer = asyncio.run(ask(Question(path, ROLES, "tropism_whatif_tests:train_line")))
    assert answer.replayed.missed == 60
    assert document_of(answer)["never_known"] == 60
    assert len(answer.replayed.outputs) == 600
    assert "60 rows have no label" in document_of(answer)["notes"][0]["text"]


def test_labels_that_are_known_after_rows(answers):
    found = answers("rows", rows=800, roles=Roles("when", "label", delay_rows=100, key="id"))
    assert found.replayed.missed == 0
    # 100 labels are known only after the 200th row.
    first = found.comparison.first_training_us
    assert sum(at <= first for at in found.table.times_us) >= 200


def test_a_model_that_never_trains_says_why(answers):
    with pytest.raises(InvalidInputError, match="no version could be trained .*no memory left"):
        answers("never", model="tropism_whatif_tests:train_never", rows=300)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("forest", "there is none of that name. Name hist-gradient-boosting or logistic, or a function"),
        ("no_such_module:train", "importing 'no_such_module' failed"),
        ("math:train", "module 'math' has no function 'train'. Define train"),
    ],
)
def test_unknown_models_are_refused(name, told):
    with pytest.raises(TropismError, match=told):
        trainer(name)


def test_the_card_and_the_document_tell_the_same(answers):
    answer = answers("abrupt", rows=3000, drift=0.4)
    card, document = card_of(answer), document_of(answer)
    loop = next(scores for scores in card.scores if scores.row == "tropism")
    assert document["tropism"]["auc"] == loop.auc
    assert document["tropism"]["promotions"] == loop.promotions
    assert card.digest == document["digest"]
    assert document["verdict"]["answer"] == "yes"
    assert "\u00a0" not in document["verdict"]["sentence"]


@pytest.mark.parametrize("rows", [200, 3000, 50_000, 2_000_000])
@pytest.mark.parametrize("span", [timedelta(seconds=1), timedelta(hours=1), timedelta(days=3650)])
def test_a_policy_is_made_for_any_table(rows, span):
    policy = policy_for(rows, span)
    assert 100 <= policy.first_after <= 5000
    assert timedelta(0) < policy.review <= span / 100
    assert policy.cooldown <= policy.rollout.challenger_max <= span
    assert policy.gate.outcomes_min <= max(100, rows // 4)


@pytest.mark.parametrize(
    ("span", "period"),
    [
        (timedelta(hours=1), timedelta(minutes=2)),
        (timedelta(days=30), timedelta(days=1)),
        (timedelta(days=150), timedelta(days=7)),
        (timedelta(days=365), timedelta(days=14)),
        (timedelta(days=365_000), timedelta(days=365_000) / 30),
    ],
)
def test_the_calendar_trains_at_most_thirty_times(span, period):
    assert cron_period(span) == period


def kept_of(first, second, *, count, turn):
    """How many rows are kept of twenty streams, in which the slope turns at a row."""
    kept = []
    for seed in range(20):
        chance = np.random.default_rng(seed)
        x = chance.normal(size=count)
        slope = np.where(np.arange(count) < turn, first, second)
        y = (chance.random(count) < 1 / (1 + np.exp(-slope * x))).astype(float)
        at = np.arange(count, dtype=np.int64)
        kept.append(len(newest_that_predict(TrainingRows(("x",), [x], y, at, at), 0, fit)))
    return np.array(kept)


def test_without_drift_all_rows_are_learned_from():
    assert np.mean(kept_of(2.0, 2.0, count=1500, turn=0) == 1500) >= 0.9


def test_after_a_change_only_what_is_newer_is():
    assert np.mean(kept_of(-2.0, 2.0, count=1680, turn=1500) < 400) >= 0.9
