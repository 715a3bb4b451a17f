"""Training: which rows, in which order, and what becomes of a train function that misbehaves."""

import asyncio
import functools
import sys
import time
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from tropism.adapters.memory import MemoryCompute, MemoryStore
from tropism.core.codec import record_of
from tropism.core.errors import InvalidInputError
from tropism.core.event import Event
from tropism.core.time import hours
from tropism.models import training
from tropism.models.artifact import load_version
from tropism.models.backtest import BacktestPlan, _mean_of, backtest
from tropism.models.events import DecisionMade, OutcomeLearned, TrainingRequested
from tropism.models.gating import refusal, worse
from tropism.models.model import Model, Outcome
from tropism.models.policy import Gate, Policy
from tropism.models.reading import Known, Source, known_rows, ranges_until
from tropism.models.rows import TrainingRows, schema_of
from tropism.models.trainer import make
from tropism.models.training import Spec, job_of, run_training, spec_again, spec_of
from tropism.ports.platform import Platform

NAMES = ("kind", "x")


class Seen(Event, type="inputs.seen.v1", key="id"):
    id: str


class Row(NamedTuple):
    kind: str
    x: float


def features(seen: Seen) -> Row:
    return Row("a", 0.0)


class Line:
    """A predictor: a mean per kind, and a little of the seed."""

    def __init__(self, means, nudge=0.0):
        self.means, self.nudge = means, nudge

    def predict(self, rows):
        return [
            min(1.0, self.means.get(kind, 0.5) + self.nudge * x)
            for kind, x in zip(*rows.columns, strict=True)
        ]


def train_line(rows, seed):
    found = {}
    for kind, value in zip(rows.columns[0], rows.outcomes.tolist(), strict=True):
        found.setdefault(kind, []).append(value)
    return Line({k: (sum(v) + 1) / (len(v) + 2) for k, v in sorted(found.items())}, (seed % 100) / 1e4)


def train_raises(rows, seed):
    raise ValueError("no gradient")


def train_exits(rows, seed):
    sys.exit("enough")


def train_nan(rows, seed):
    return Says(float("nan"))


def train_constant(rows, seed):
    return Says(0.3)


def train_beyond(rows, seed):
    return Says(1.2)


def train_short(rows, seed):
    return Short()


def train_nothing(rows, seed):
    return None


def train_unpicklable(rows, seed):
    predictor = train_line(rows, seed)
    predictor.unpicklable = lambda: None
    return predictor


def train_slow(rows, seed):
    time.sleep(0.2)
    return train_line(rows, seed)


class Says:
    def __init__(self, output):
        self.output = output

    def predict(self, rows):
        return [self.output] * len(rows)


class Short:
    def predict(self, rows):
        return [0.5]


def model_of(train=train_line, **policy):
    return Model(
        "m",
        decides_on=Seen,
        features=features,
        train=train,
        outcome=Outcome(Seen, value=lambda e: 1.0, within=hours(1)),
        policy=Policy(**policy),
    )


def decision(n, *, model="m", names=NAMES, version=1):
    made = DecisionMade(
        model=model,
        subject=f"s{n}",
        input_id=f"i{n}",
        decided_us=n * 10,
        version=version,
        arm="champion",
        output=0.5,
        act=False,
        schema=schema_of(names),
        features=["ab"[n % 2], n / 100],
    )
    return record_of(made, msgspec.json.encode(made), id=f"d{n:04d}", time_us=n * 10)


def outcome(n, *, known_us=None, value=None, model="m", revision=0, **more):
    known_us = n * 10 + 5 if known_us is None else known_us
    learned = OutcomeLearned(
        model=model,
        subject=f"s{n}",
        decision_id=f"d{n:04d}",
        value=float(n % 2 if n % 5 else 1 - n % 2) if value is None else value,
        decided_us=n * 10,
        version=1,
        output=0.5,
        act=False,
        revision=revision,
        **more,
    )
    return record_of(learned, msgspec.json.encode(learned), id=f"o{n:04d}/{revision}", time_us=known_us)


async def platform_of(records):
    store = MemoryStore(partitions_default=3)
    await store.log.append(sorted(records, key=lambda r: r.time_us))
    return Platform(store.log, store.state, store.blobs, MemoryCompute(), None, store.queue)


def request(known_until_us=10**9, seed=5, version=1, champion=0):
    return TrainingRequested(
        model="m",
        version=version,
        reason="test",
        known_until_us=known_until_us,
        seed=seed,
        effective_from_us=0,
        champion=champion,
    )


def plain(count=100):
    return [decision(n) for n in range(count)] + [outcome(n) for n in range(count)]


def made_of(records=None, train=train_line, *, known_until_us=10**9, seed=5, champion=0, **policy):
    async def run():
        platform = await platform_of(plain() if records is None else records)
        return await make(
            model_of(train, **policy), request(known_until_us, seed, champion=champion), platform, "log"
        )

    return asyncio.run(run())


def rows_of(records, known_until_us=10**9, **options):
    async def run():
        platform = await platform_of(records)
        spec = await spec_of(model_of(), platform.log, request(known_until_us))
        return known_rows("m", NAMES, spec.source.records, **options).rows

    return asyncio.run(run())


# -- which rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("until_us", [-1, 0, 4, 5, 250, 251, 994, 995, 10**9])
def test_ranges_hold_exactly_what_was_known_by_an_instant(until_us):
    async def run():
        platform = await platform_of(plain())
        found = await ranges_until(platform.log, until_us)
        kept = {"decisions": 0, "outcomes": 0}
        for where, (start, stop) in found.items():
            assert start == 0
            kept[where.partition("/")[0]] += stop
        assert kept == {
            "decisions": sum(n * 10 <= until_us for n in range(100)),
            "outcomes": sum(n * 10 + 5 <= until_us for n in range(100)),
        }

    asyncio.run(run())


def test_what_lies_behind_newer_facts_of_another_model_is_no_newer_for_that():
    """In event time another service may be ahead: the range reaches behind it, and holds no more rows."""
    ahead = [decision(50, model="other"), outcome(50, model="other")]
    mine = [decision(n) for n in range(4)]
    mine += [msgspec.structs.replace(outcome(n), source="m.outcomes") for n in range(4)]

    async def run(order):
        store = MemoryStore(partitions_default=1)
        for part in order:
            await store.log.append(part)
        platform = Platform(store.log, store.state, store.blobs, MemoryCompute(), None, store.queue)
        found = []
        for until_us in (10**9, 25, 24, 4):
            spec = await spec_of(model_of(), platform.log, request(until_us))
            known = training._known(spec).known
            found.append((known.rows.known_us.tolist(), known.rows.columns[1]))
        return [known_us for known_us, _ in found], str(found)

    known_us, in_order = asyncio.run(run([mine, ahead]))
    assert known_us == [[5, 15, 25, 35], [5, 15, 25], [5, 15], []]
    assert asyncio.run(run([ahead, mine]))[1] == in_order
    assert asyncio.run(run([mine[:2], ahead, mine[2:]]))[1] == in_order


def test_rows_are_sorted_by_when_they_were_known_then_by_id():
    records = [decision(n) for n in range(6)]
    records += [outcome(n, known_us=known) for n, known in enumerate([90, 70, 80, 70, 60, 90])]
    rows = rows_of(records)
    assert rows.known_us.tolist() == [60, 70, 70, 80, 90, 90]
    assert rows.decided_us.tolist() == [40, 10, 30, 20, 0, 50]
    assert rows.columns[1].tolist() == [0.04, 0.01, 0.03, 0.02, 0.0, 0.05]


def test_early_outcomes_other_models_and_other_layouts_are_left_out():
    others = [decision(5, model="other"), outcome(5, model="other")]
    another_layout = [decision(6, names=("kind", "y")), outcome(6)]
    early_or_undecided = [decision(7), outcome(7, early=True), outcome(8)]
    records = [*plain(4), *others, *another_layout, *early_or_undecided]
    assert len(rows_of(records)) == 4


def test_the_latest_correction_known_by_then_counts_at_the_place_of_the_first():
    records = [*plain(3), outcome(1, known_us=500, value=0.25, revision=1)]
    rows = rows_of(records)
    assert rows.outcomes.tolist()[1] == 0.25
    assert rows.known_us.tolist() == [5, 15, 25]
    assert rows_of(records, 499).outcomes.tolist()[1] == 1.0


def test_rows_max_keeps_the_newest():
    assert rows_of(plain(10), rows_max=3).decided_us.tolist() == [70, 80, 90]


def test_the_champion_s_outputs_are_found_where_it_acted_and_where_it_watched():
    records = [decision(0), outcome(0), decision(1), outcome(1, others={"7": 0.9}), decision(2), outcome(2)]

    async def run():
        platform = await platform_of(records)
        spec = await spec_of(model_of(), platform.log, request())
        return [known_rows("m", NAMES, spec.source.records, champion=c).champion.tolist() for c in (1, 7)]

    acted, watched = asyncio.run(run())
    assert acted == [0.5, 0.5, 0.5]
    assert watched[1] == 0.9
    assert np.isnan([watched[0], watched[2]]).all()


def test_rows_that_were_read_are_not_written_out_on_their_way(monkeypatch):
    class Rows:
        def __repr__(self):
            pytest.fail("a string of all rows takes longer than to read them")

    async def read(*_, **options):
        return Rows(), {}

    monkeypatch.setattr(training, "read_known", read)
    spec = Spec("m", NAMES, {}, 0, 0, None, "", "", Source("sqlite:///nowhere"))
    assert type(training._known(spec).known) is Rows


# -- reproducible -----------------------------------------------------------------------------------


def test_the_same_log_and_seed_give_the_same_version_and_any_other_another():
    first = made_of()
    assert first.cause == ""
    assert made_of().evidence == first.evidence
    assert made_of().artifact == first.artifact
    assert made_of(seed=6).evidence.digest != first.evidence.digest
    fewer = made_of(known_until_us=500)
    assert (fewer.evidence.digest, fewer.evidence.data) != (first.evidence.digest, first.evidence.data)
    assert fewer.evidence.rows == 50
    assert first.evidence.rows == 100
    assert first.evidence.known_from_us == 5


def test_a_version_made_again_from_its_evidence_is_the_same_though_the_log_has_grown():
    async def run():
        platform = await platform_of(plain())
        model = model_of(rows_max=60)
        made = await make(model, request(700), platform, "log")
        more = await platform_of(plain(200))
        spec = await spec_again(model_of(rows_max=10), more.log, made.evidence)
        again = msgspec.msgpack.decode(
            run_training(job_of(spec, timeout_seconds=60).payload), type=type(made)
        )
        assert again.evidence == made.evidence
        assert made.evidence.rows == 60

    asyncio.run(run())


def test_an_artifact_comes_back_as_it_was():
    async def run():
        platform = await platform_of(plain())
        made = await make(model_of(), request(), platform, "log")
        await platform.blobs.put(made.artifact, made.data)
        version = await load_version(platform.blobs, made.artifact)
        rows = rows_of_now(plain())
        assert version.predict(rows.rows) == train_line(rows, 5).predict(rows.rows)
        assert version.reference == made.reference

    def rows_of_now(records):
        by_topic = {}
        for record in sorted(records, key=lambda r: r.time_us):
            by_topic.setdefault(record.topic, []).append(record)
        from tropism.core.envelope import Stored

        pages = {
            f"{topic}/0": [Stored(0, n, r.time_us, r) for n, r in enumerate(found)]
            for topic, found in by_topic.items()
        }
        return known_rows("m", NAMES, pages).rows

    asyncio.run(run())


# -- what goes wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "cause"),
    [
        (train_raises, "ValueError: no gradient"),
        (train_exits, "SystemExit: enough"),
        (train_nan, "its outputs are not one probability a row. Mend the train function."),
        (train_beyond, "its outputs are not one probability a row. Mend the train function."),
        (train_short, "its outputs are not one probability a row. Mend the train function."),
        (train_constant, "it answers 0.3 to all of 100 rows. Mend the train function"),
        (train_nothing, "AttributeError"),
        (train_unpicklable, "lambda"),
    ],
)
def test_a_train_function_that_misbehaves_is_a_cause_and_no_version(train, cause):
    made = made_of(train=train)
    assert cause in made.cause
    assert (made.evidence, made.data) == (None, b"")


def calm(count):
    """The newest rows are all of one kind."""
    records = []
    for record in plain(count):
        records.append(record)
        if record.id[0] == "d" and int(record.id[1:]) >= count // 2:
            body = msgspec.json.decode(record.data) | {"features": ["a", 0.5]}
            records[-1] = msgspec.structs.replace(record, data=msgspec.json.encode(body))
    return records


def test_a_sound_version_is_no_constant_because_the_newest_rows_are_alike():
    made = made_of(calm(1200))
    assert (made.cause, made.evidence.rows) == ("", 1200)
    assert "it answers 0.3 to all of 512 rows" in made_of(calm(1200), train=train_constant).cause


@pytest.mark.parametrize("records", [[], plain(1), [decision(n) for n in range(9)]])
def test_too_few_rows_or_outcomes_of_one_kind_are_a_cause(records):
    assert "different outcomes. Wait for more outcomes." in made_of(records).cause


def test_a_training_that_takes_too_long_is_a_cause():
    assert "0.1 s" in made_of(train=train_slow, training_timeout_seconds=0.1).cause


def inner():
    def train_inner(rows, seed):
        return train_line(rows, seed)

    return train_inner


@pytest.mark.parametrize(
    "train", [lambda rows, seed: None, inner(), functools.partial(train_line), Says(1.0).predict]
)
def test_a_train_function_that_no_process_could_import_is_refused_where_the_model_is_declared(train):
    with pytest.raises(
        InvalidInputError, match="Define it with 'def' at the top level of an importable module"
    ):
        model_of(train)


def test_a_slice_that_is_no_feature_is_refused_where_the_model_is_declared():
    with pytest.raises(
        InvalidInputError, match=r"slices by 'carrier', which is no feature. Name some of \['kind', 'x'\]"
    ):
        model_of(gate=Gate(slices=("carrier",)))


class Keyless(Event, type="inputs.keyless.v1"):
    id: str


def test_a_model_that_decides_on_events_without_a_key_is_refused_where_it_is_declared():
    """All its decisions would share one subject, each superseding the one before."""
    with pytest.raises(InvalidInputError, match=r"'Keyless' has no key.* Declare one, as in .*key=\"id\""):
        Model(
            "m",
            decides_on=Keyless,
            features=features,
            train=train_line,
            outcome=Outcome(Seen, value=lambda e: 1.0, within=hours(1)),
        )


# -- backtest ---------------------------------------------------------------------------------------

PLAN = BacktestPlan(share=0.25, rows_max=5000, block_us=1000, slices=("kind",), slice_rows_min=50)


def known(count, champion, *, seed=0, delay_us=5, changed_at=None):
    """Rows whose kind tells the outcome with 80 %; the champion says what it is told to."""
    source = np.random.default_rng(seed)
    kinds = ["ab"[int(k)] for k in source.integers(0, 2, count)]
    sure = np.where(source.random(count) < 0.8, 1.0, 0.0)
    outcomes = np.array([s if kind == "a" else 1.0 - s for kind, s in zip(kinds, sure, strict=True)])
    if changed_at is not None:
        outcomes[changed_at:] = 1.0 - outcomes[changed_at:]
    decided = np.arange(count) * 10
    rows = TrainingRows(NAMES, [kinds, [0.0] * count], outcomes, decided, decided + delay_us)
    return Known(rows, np.array([champion(kind) for kind in kinds], dtype=np.float64))


def test_a_challenger_that_is_better_shows_it_and_one_that_is_worse_too():
    better = backtest(train_line, known(4000, lambda _: 0.5), PLAN, 0)
    assert better["pairs"] == better["rows"] == 1000
    assert better["champion_brier"] == pytest.approx(0.25)
    assert better["difference"] == pytest.approx(better["champion_brier"] - better["challenger_brier"])
    assert better["difference"] > 5 * better["standard_error"]
    worse = backtest(train_flipped, known(4000, lambda _: 0.5), PLAN, 0)
    assert worse["difference"] < -5 * worse["standard_error"]


def train_flipped(rows, seed):
    predictor = train_line(rows, seed)
    return Line({kind: 1.0 - mean for kind, mean in predictor.means.items()})


SEEN_LENGTHS: list[tuple[int, int]] = []


def train_seen(rows, seed):
    SEEN_LENGTHS.append((len(rows), int(rows.known_us.max())))
    return train_line(rows, seed)


def test_the_fit_knows_nothing_of_what_was_decided_before_its_end():
    """Outcomes that come late leave a gap: rows decided before the newest one learned from are not scored."""
    SEEN_LENGTHS.clear()
    found = backtest(train_seen, known(4000, lambda _: 0.5, delay_us=2000), PLAN, 0)
    ((_, newest_known_us),) = SEEN_LENGTHS
    assert newest_known_us == 2999 * 10 + 2000
    assert found["rows"] == 4000 - (newest_known_us // 10 + 1)


SEEN_OUTCOMES: list[list[float]] = []


def train_watched(rows, seed):
    SEEN_OUTCOMES.append(rows.outcomes.tolist())
    return train_line(rows, seed)


@pytest.mark.parametrize("corrected_us", [2995, 2996, 4000])
def test_the_fit_of_the_backtest_knows_no_correction_that_came_after_its_end(corrected_us):
    """What was corrected once the tested rows were decided is learned from only by the version itself."""
    records = [decision(n) for n in range(400)] + [outcome(n, value=float(n % 2)) for n in range(400)]
    records += [outcome(n, value=0.75, revision=1, known_us=2990) for n in range(100)]
    records += [outcome(n, value=0.5, revision=2, known_us=corrected_us) for n in range(200)]
    records += [outcome(n, value=0.25, revision=3, known_us=5000 + n) for n in range(300)]

    async def run():
        platform = await platform_of(records)
        spec = await spec_of(model_of(), platform.log, request())
        return known_rows("m", NAMES, spec.source.records)

    found = asyncio.run(run())
    assert found.rows.outcomes.tolist()[:300] == [0.25] * 300
    SEEN_OUTCOMES.clear()
    assert backtest(train_watched, found, BacktestPlan(0.25, 5000, 100), 0)["rows"] == 100
    (seen,) = SEEN_OUTCOMES
    first = [float(n % 2) for n in range(300)]
    in_time = [0.5] * 200 if corrected_us <= 2995 else [0.75] * 100 + first[100:200]
    assert seen == [*in_time, *first[200:]]


def test_slices_have_figures_of_their_own():
    found = backtest(train_line, known(4000, lambda kind: 0.5 if kind == "a" else 0.2), PLAN, 0)
    assert found["kind=a:difference"] > 5 * found["kind=a:standard_error"]
    assert abs(found["kind=b:difference"]) < 4 * found["kind=b:standard_error"]


def train_missing(rows, seed):
    return Line({None: 0.8, "None": 0.2})


def test_a_slice_of_what_is_missing_is_not_one_of_the_text_none():
    rows, champion, _ = known(4000, lambda kind: 0.5 if kind == "a" else 0.2)
    named = {"a": None, "b": "None"}
    kinds = [named[kind] for kind in rows.columns[0]]
    rows = TrainingRows(NAMES, [kinds, rows.columns[1]], rows.outcomes, rows.decided_us, rows.known_us)
    found = backtest(train_missing, Known(rows, champion), PLAN, 0)
    assert found["kind missing:difference"] > 5 * found["kind missing:standard_error"]
    assert found["kind=None:difference"] == 0.0


def test_the_backtest_fits_on_few_enough_rows_to_stay_cheap_and_on_the_newest_of_them():
    SEEN_LENGTHS.clear()
    backtest(train_seen, known(40_000, lambda _: 0.5), BacktestPlan(0.1, 3000, 1000), 0)
    ((length, newest),) = SEEN_LENGTHS
    assert length == 14_000
    assert newest == 36_999 * 10 + 5


def test_who_looks_worse_when_thinned_is_fitted_again_on_all_that_is_older():
    """Nobody is refused for being thinned; and who does not look worse costs one cheap fit."""
    SEEN_LENGTHS.clear()
    found = backtest(
        train_only_if_many, known(40_000, lambda kind: 0.8 if kind == "a" else 0.2), PLAN_LARGE, 0
    )
    assert [length for length, _ in SEEN_LENGTHS] == [14_000, 37_000]
    assert (found["fitted"], abs(found["difference"]) < 4 * found["standard_error"]) == (37_000, True)


PLAN_LARGE = BacktestPlan(0.1, 3000, 1000)


def train_only_if_many(rows, seed):
    """Learn the opposite from fewer than 20,000 rows."""
    return train_seen(rows, seed) if len(rows) > 20_000 else flip(train_seen(rows, seed))


def flip(predictor):
    return Line({kind: 1.0 - mean for kind, mean in predictor.means.items()})


def test_what_cannot_be_computed_is_absent():
    assert backtest(train_line, known(150, lambda _: 0.5), PLAN, 0) == {}
    assert backtest(train_raises, known(4000, lambda _: 0.5), PLAN, 0) == {}
    assert backtest(train_nan, known(4000, lambda _: 0.5), PLAN, 0) == {}
    alone = backtest(train_line, known(4000, lambda _: float("nan")), PLAN, 0)
    assert set(alone) == {"fitted", "rows", "brier"}
    long_blocks = backtest(train_line, known(4000, lambda _: 0.5), BacktestPlan(0.25, 5000, 10**9), 0)
    assert "standard_error" not in long_blocks


def test_outcomes_that_fail_together_widen_the_standard_error():
    """Equal signs within a block of 100 rows: as much is known as from a hundredth of the rows."""
    one = known(8000, lambda _: 0.5)
    rows = one.rows
    flips = np.repeat(np.random.default_rng(1).integers(0, 2, 80), 100) * (np.arange(8000) >= 4000)
    storms = np.where(flips == 1, 1.0 - rows.outcomes, rows.outcomes)
    stormy = Known(
        TrainingRows(rows.names, rows.columns, storms, rows.decided_us, rows.known_us), one.champion
    )
    alone, together = (
        backtest(train_line, stormy, BacktestPlan(0.5, 5000, block_us), 0) for block_us in (10, 1000)
    )
    assert together["difference"] == alone["difference"]
    assert together["standard_error"] > 3 * alone["standard_error"]


EQUAL = BacktestPlan(share=0.25, rows_max=5000, block_us=100)


def equals(seed, champion=0.1):
    """Two that are equally far off, each to a side of its own in each of 50 blocks: neither is better."""
    source = np.random.default_rng(1000 + seed)
    one, other = (np.repeat(source.choice([-1.0, 1.0], 200), 10) for _ in range(2))
    rows = known(2000, lambda _: 0.5, seed=seed).rows
    says = np.array([0.8 if kind == "a" else 0.2 for kind in rows.columns[0]])
    rows = TrainingRows(NAMES, [rows.columns[0], one], rows.outcomes, rows.decided_us, rows.known_us)
    return Known(rows, says + champion * other)


def train_off(rows, seed):
    return Line({"a": 0.8, "b": 0.2}, 0.1)


def test_equal_models_are_refused_in_at_most_the_declared_share():
    """A/A: a champion that is as good as the challenger, 300 streams at level 1 %."""
    figures = [backtest(train_off, equals(seed), EQUAL, 0) for seed in range(300)]
    assert all(found["blocks"] == 50 and found["standard_error"] > 0 for found in figures)
    assert 0 < sum(refusal(found, Gate(margin=0.0)) is not None for found in figures) <= 9
    better = [backtest(train_off, equals(seed, champion=0.0), EQUAL, 0) for seed in range(50)]
    assert sum(refusal(found, Gate(margin=0.0)) is not None for found in better) > 15


@pytest.mark.parametrize("count", [8, 15, 50])
@pytest.mark.parametrize("alpha", [0.01, 0.0005])
def test_the_level_holds_however_few_the_blocks(count, alpha):
    """The standard error of eight blocks is a rough one: the normal tail refused 2.6 % at a level of 1 %."""
    source = np.random.default_rng(count)
    blocks, streams = np.repeat(np.arange(count), 20), 4000
    refused = 0
    for _ in range(streams):
        differences = np.repeat(source.normal(0.0, 0.02, count), 20) + source.normal(0.0, 0.05, count * 20)
        found = _mean_of(differences, blocks)
        assert found["blocks"] == count
        refused += worse(found, 0.0, alpha) is not None
    assert refused <= streams * alpha + 3 * (streams * alpha) ** 0.5


def test_figures_come_with_the_training_and_cost_it_nothing_it_needs():
    made = made_of(plain(800), champion=1, gate=Gate(slices=("kind",), latency_ms_max=10.0))
    assert made.backtest["pairs"] == 80
    assert made.backtest["artifact_bytes"] == len(made.data)
    assert made.backtest["latency_ms"] > 0
    assert 0 < made.backtest["training_brier"] < 0.25
    without = made_of(plain(800), gate=Gate(backtest_share=0.0))
    assert "pairs" not in without.backtest
    assert without.evidence == made.evidence
