"""The registry: a fold over the loop's events that says who stands where, and who decided when."""

import asyncio

import msgspec
import pytest

from tropism.adapters.memory import MemoryStore
from tropism.core.codec import record_of
from tropism.core.errors import NotFoundError
from tropism.models.events import (
    CanaryStarted,
    ChallengerDropped,
    DriftDetected,
    Evidence,
    Rollout,
    Served,
    ShadowStarted,
    TrainingFailed,
    TrainingRequested,
    VersionPromoted,
    VersionRolledBack,
    VersionTrained,
    WatchEnded,
)
from tropism.models.registry import read_registries, read_registry
from tropism.models.sketch.features import feature_sketch

SKETCH = feature_sketch(("x",), [[1.0, 2.0]])
EVIDENCE = Evidence(
    ranges={"decisions/0": (0, 9)},
    rows=9,
    known_from_us=0,
    known_until_us=9,
    code="c",
    environment="e",
    seed=1,
    names=("x",),
    digest="d",
)


def served(version):
    return Served(version, f"artifact-{version}")


def asked(version, model="m"):
    return TrainingRequested(
        model=model, version=version, reason="age", known_until_us=0, seed=0, effective_from_us=0
    )


def trained(version, model="m"):
    return VersionTrained(
        model=model,
        version=version,
        artifact=f"artifact-{version}",
        evidence=EVIDENCE,
        reference=SKETCH,
        backtest={"difference": 0.01},
        seconds=1.5,
        effective_from_us=0,
    )


def step(kind, version, at_us, champion=None, challenger=None, previous=None, share=0.0):
    arms = [None if arm is None else served(arm) for arm in (champion, challenger, previous)]
    return kind(
        model="m",
        version=version,
        rollout=Rollout(arms[0], arms[1], share, arms[2]),
        reason="r",
        by="policy",
        evidence={},
        effective_from_us=at_us,
    )


LIFE = [
    (10, asked(1)),
    (10, trained(1)),
    (20, step(VersionPromoted, 1, 25, 1)),
    (30, asked(2)),
    (30, TrainingFailed(model="m", version=2, cause="no gradient", effective_from_us=30)),
    (40, asked(3)),
    (40, trained(3)),
    (50, step(ShadowStarted, 3, 55, 1, 3)),
    (60, step(CanaryStarted, 3, 65, 1, 3, share=0.2)),
    (70, step(VersionPromoted, 3, 75, 3, None, 1)),
    (80, asked(4)),
    (80, trained(4)),
    (90, step(ShadowStarted, 4, 95, 3, 4, 1)),
    (100, step(ChallengerDropped, 4, 105, 3, None, 1)),
    (110, step(VersionRolledBack, 3, 115, 1)),
    (111, DriftDetected(model="m", version=1, features={"x": 2.0}, effective_from_us=111)),
    (120, asked(5)),
    (125, asked(1, model="another")),
]


def registries(life):
    async def run():
        store = MemoryStore()
        records = [
            record_of(
                event, msgspec.json.encode(event), id=f"{n}", time_us=at, extensions={"causationid": f"c{n}"}
            )
            for n, (at, event) in enumerate(life)
        ]
        await store.log.append(records)
        return await read_registries(store.log)

    return asyncio.run(run())


def stages(life):
    return {n: v.stage for n, v in registries(life)["m"].versions.items()}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (1, {1: "requested"}),
        (2, {1: "trained"}),
        (3, {1: "champion"}),
        (5, {1: "champion", 2: "failed"}),
        (8, {1: "champion", 2: "failed", 3: "shadow"}),
        (9, {1: "champion", 2: "failed", 3: "canary"}),
        (10, {1: "previous", 2: "failed", 3: "champion"}),
        (14, {1: "previous", 2: "failed", 3: "champion", 4: "dropped"}),
        (15, {1: "champion", 2: "failed", 3: "rolled back", 4: "dropped"}),
    ],
)
def test_every_version_stands_where_the_last_event_about_it_put_it(steps, expected):
    assert stages(LIFE[:steps]) == expected


def test_a_champion_that_is_no_longer_kept_is_retired():
    life = [*LIFE[:10], (80, step(WatchEnded, 3, 85, 3))]
    assert stages(life) == {1: "retired", 2: "failed", 3: "champion"}


@pytest.mark.parametrize(
    ("at", "champion", "challenger", "share"),
    [
        (25, None, None, 0),
        (26, 1, None, 0),
        (55, 1, None, 0),
        (56, 1, 3, 0),
        (66, 1, 3, 0.2),
        (76, 3, None, 0),
        (10**9, 1, None, 0),
    ],
)
def test_who_served_at_an_instant_is_whose_transition_held_strictly_before_it(
    at, champion, challenger, share
):
    """As deciders read: an effect from t on is seen by reads after t."""
    found = registries(LIFE)["m"].served_at(at)
    assert (found.champion and found.champion.version) == champion
    assert (found.challenger and found.challenger.version) == challenger
    assert found.canary_share == share


def test_a_version_carries_its_evidence_and_what_its_training_cost():
    version = registries(LIFE)["m"].version(3)
    assert (version.evidence, version.seconds, version.backtest) == (EVIDENCE, 1.5, {"difference": 0.01})
    assert (version.reason, version.requested_us, version.trained_us) == ("age", 40, 40)
    assert registries(LIFE)["m"].version(2).cause == "no gradient"


def test_a_training_at_the_time_of_its_request_comes_after_it_whatever_their_ids():
    for ids in (("a", "b"), ("b", "a")):

        async def run(ids=ids):
            store = MemoryStore()
            for id, event in zip(ids, (asked(1), trained(1)), strict=True):
                await store.log.append([record_of(event, msgspec.json.encode(event), id=id, time_us=10)])
            return await read_registry(store.log, "m")

        registry = asyncio.run(run())
        assert [s.kind for s in registry.steps] == ["TrainingRequested", "VersionTrained"]
        assert registry.version(1).stage == "trained"


@pytest.mark.parametrize("ids", [("a", "b"), ("b", "a")])
def test_steps_of_one_moment_are_folded_in_the_order_of_the_log_whatever_their_ids(ids):
    steps = [step(ShadowStarted, 2, 20, 1, 2), step(VersionPromoted, 2, 20, 2, None, 1), asked(3)]

    async def run():
        store = MemoryStore()
        for id, event in zip((*ids, "0"), steps, strict=True):
            await store.log.append([record_of(event, msgspec.json.encode(event), id=id, time_us=10)])
        return await read_registry(store.log, "m")

    registry = asyncio.run(run())
    assert [s.kind for s in registry.steps] == ["ShadowStarted", "VersionPromoted", "TrainingRequested"]
    assert registry.rollout.champion.version == 2


def test_steps_say_what_caused_them():
    steps = registries(LIFE)["m"].steps
    assert len(steps) == len(LIFE) - 1
    assert (steps[2].kind, steps[2].cause_id, steps[2].version) == ("VersionPromoted", "c2", 1)


def test_unknown_names_and_numbers_list_the_known_ones():
    with pytest.raises(NotFoundError, match=r"version 9 of 'm'.*Name one of \[1, 2, 3, 4, 5\]"):
        registries(LIFE)["m"].version(9)

    async def run(life):
        store = MemoryStore()
        await store.log.append(
            [record_of(e, msgspec.json.encode(e), id=f"{n}", time_us=t) for n, (t, e) in enumerate(life)]
        )
        await read_registry(store.log, "nobody")

    with pytest.raises(NotFoundError, match=r"Name one of \['another', 'm'\]"):
        asyncio.run(run(LIFE))
    with pytest.raises(NotFoundError, match="Run the app until it trains a first version"):
        asyncio.run(run([]))
