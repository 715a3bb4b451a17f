"""What windows of decisions say: the same however they were cut, and nothing where there are too few rows."""

import random
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.models.loop_states import DAY, arm, champion, moment

from tropism.core.time import hours, to_us
from tropism.models.control import promote
from tropism.models.events import (
    DecisionMade,
    DriftDetected,
    ModelObserved,
    TrainingBlocked,
    TrainingUnblocked,
)
from tropism.models.observing import REFERENCES_KEPT, Observer
from tropism.models.policy import Drift, Policy
from tropism.models.sketch.features import feature_sketch
from tropism.models.state import Seen
from tropism.models.windows import judge_window, lapse

WINDOW = to_us(hours(1))
NAMES = ("kind", "size")


def rows(count, *, seed=0, kinds="abcd", shift=0.0, missing=0.0):
    source = random.Random(seed)
    return [
        [
            source.choice(kinds),
            None if source.random() < missing else source.gauss(shift, 1.0),
        ]
        for _ in range(count)
    ]


REFERENCE_ROWS = rows(2000, seed=9)
REFERENCE = feature_sketch(NAMES, [list(c) for c in zip(*REFERENCE_ROWS, strict=True)])


def made(features, *, decided_us, version=1, output=0.3, latency_us=900):
    return DecisionMade(
        model="m",
        subject="s",
        input_id="i",
        decided_us=decided_us,
        version=version,
        arm="champion",
        output=output,
        act=False,
        schema="x",
        features=features,
        latency_us=latency_us,
    )


def observer():
    found = Observer("m", "teller", NAMES, hours(1))
    found.learn(1, REFERENCE)
    found.learn(2, REFERENCE)
    return found


def stream(count, seed):
    source = random.Random(seed)
    return [
        made(
            features,
            decided_us=n * WINDOW // 37,
            version=source.choice((1, 1, 2)),
            output=source.random(),
            latency_us=source.randrange(1, 5000),
        )
        for n, features in enumerate(rows(count, seed=seed, missing=0.1))
    ]


@settings(max_examples=30, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 150), max_size=8),
    restarts=st.sets(st.integers(0, 8)),
    seed=st.integers(0, 99),
)
def test_windows_are_the_same_however_decisions_are_cut_and_however_often_it_restarts(cuts, restarts, seed):
    decisions = stream(150, seed)
    whole = observer().observe(decisions, until_us=10**12)
    found, at = observer(), []
    edges = [0, *sorted(cuts), len(decisions)]
    for number, (low, high) in enumerate(pairwise(edges)):
        part = decisions[low:high]
        at.extend(found.observe(part, until_us=part[-1].decided_us if part else 0))
        if number in restarts:
            packed, found = found.pack(), Observer("m", "teller", NAMES, hours(1))
            found.unpack(packed)
    at.extend(found.observe([], until_us=10**12))
    assert sorted(at, key=lambda w: (w.start_us, w.version)) == whole


def test_a_window_ends_when_its_time_is_over_and_holds_what_was_decided_in_it():
    found = observer()
    inside = [made(r, decided_us=WINDOW - 1) for r in rows(3)]
    behind = [made(r, decided_us=WINDOW) for r in rows(2)]
    assert found.observe([*inside, *behind], until_us=WINDOW - 1) == []
    (window,) = found.observe([], until_us=WINDOW)
    assert (window.start_us, window.end_us, window.version, window.service) == (0, WINDOW, 1, "teller")
    assert window.features.rows == 3
    assert sum(window.outputs.counts) == 3
    (window,) = found.observe([], until_us=2 * WINDOW)
    assert window.features.rows == 2


def test_decisions_without_a_version_open_no_window():
    found = observer()
    assert found.observe([made(rows(1)[0], decided_us=0, version=0)], until_us=10**12) == []


ODD = [
    None,
    1.5,
    float("nan"),
    float("inf"),
    2**70,
    10**400,
    True,
    "2.5",
    "a",
    "n/a",
    [1.0],
    ["a"],
    {"a": 1},
    {},
]


@given(st.lists(st.tuples(st.sampled_from(ODD), st.sampled_from(ODD)), min_size=1, max_size=8))
def test_whatever_a_feature_holds_it_is_counted_and_the_same_however_it_is_cut(values):
    """Windows are counted while a commit is made: a value that nobody expected must not stop a service."""
    decisions = [made(list(row), decided_us=n) for n, row in enumerate(values)]
    (whole,) = observer().observe(decisions, until_us=10**12)
    assert [each.rows for each in whole.features.features] == [len(values)] * 2
    found = observer()
    for decision in decisions:
        found.observe([decision], until_us=0)
    assert found.observe([], until_us=10**12) == [whole]


def test_what_is_no_number_is_missing_and_what_is_no_category_is_another():
    rows_seen = [["a", 0.5], ["b", "far"], [["a"], [0.5]], [None, None], ["a"], []]
    (seen,) = observer().observe([made(row, decided_us=0) for row in rows_seen], until_us=10**12)
    kind, size = seen.features.features
    assert (dict(zip(kind.categories, kind.counts, strict=True))["a"], kind.others, kind.missing) == (1, 1, 3)
    assert (sum(size.counts), size.missing) == (1, 5)


def test_references_are_kept_for_the_versions_that_acted_last():
    found = observer()
    for version in range(3, 3 + 3 * REFERENCES_KEPT):
        found.learn(version, REFERENCE)
        # Version 1 acts all along: it must not be forgotten for mere challengers.
        found.observe([made(rows(1)[0], decided_us=version * WINDOW, version=1)], until_us=version * WINDOW)
    assert len(found._references) == REFERENCES_KEPT
    assert 1 in found._references


# -- judged -----------------------------------------------------------------------------------------

POLICY = Policy(drift=Drift(psi_min=0.2, windows=2, rows_min=200))


def window(features, *, service="teller", version=1):
    columns = [list(c) for c in zip(*features, strict=True)]
    found = observer()
    (seen,) = found.observe([made(r, decided_us=0) for r in features], until_us=WINDOW)
    assert seen.features == REFERENCE.emptied().observe(columns)
    return msgspec.structs.replace(seen, service=service, version=version)


def judged(*windows, state=None, policy=POLICY):
    state, kinds = state or champion(), []
    for each in windows:
        state, events = judge_window(state, each, REFERENCE, policy, 7)
        kinds.append([type(event) for event in events])
        assert all(event.effective_from_us == 7 for event in events)
    return state, kinds


HEALTHY = window(rows(500, seed=1))
BROKEN = window(rows(500, seed=2, missing=0.5))
DRIFTED = window(rows(500, seed=3, shift=1.5))


def test_a_healthy_window_says_nothing():
    state, kinds = judged(HEALTHY)
    assert (kinds, state.findings, state.drift_windows) == ([[]], (), 0)


def test_broken_data_blocks_once_and_unblocks_once():
    state, kinds = judged(BROKEN, BROKEN, HEALTHY, HEALTHY)
    assert kinds == [[TrainingBlocked], [], [TrainingUnblocked], []]
    assert state.findings == ()


def test_a_window_of_a_few_rows_neither_blocks_nor_unblocks():
    few = window(rows(20, seed=4))
    few_broken = window(rows(20, seed=5, missing=1.0))
    assert judged(few_broken)[1] == [[]]
    state, kinds = judged(BROKEN, few)
    assert kinds == [[TrainingBlocked], []]
    assert state.findings


def test_a_healthy_service_does_not_unblock_what_another_found():
    elsewhere = msgspec.structs.replace(HEALTHY, service="other")
    state, kinds = judged(BROKEN, elsewhere)
    assert kinds == [[TrainingBlocked], []]
    assert all(finding.startswith("teller: size") for finding in state.findings)
    _, kinds = judged(HEALTHY, state=state)
    assert kinds == [[TrainingUnblocked]]


def test_findings_lapse_when_their_service_has_shown_nothing_for_some_windows():
    """Renamed, removed, or too quiet to be judged: nobody would ever take them back."""
    few = msgspec.structs.replace(window(rows(20, seed=4)), end_us=9 * WINDOW)
    elsewhere = msgspec.structs.replace(HEALTHY, service="other", end_us=9 * WINDOW)
    policy = Policy(window=hours(1))
    state, _ = judged(BROKEN, few, elsewhere, policy=policy)
    last_us = BROKEN.end_us + 3 * WINDOW
    assert lapse(state, policy, "m", last_us, 7) == (state, [])
    after, (event,) = lapse(state, policy, "m", last_us + 1, 7)
    assert (type(event), event.model, event.effective_from_us) == (TrainingUnblocked, "m", 7)
    assert after.findings == ()
    assert lapse(after, policy, "m", last_us + DAY, 7) == (after, [])
    again, kinds = judged(msgspec.structs.replace(BROKEN, end_us=99 * WINDOW), state=after, policy=policy)
    assert (kinds, bool(again.findings)) == ([[TrainingBlocked]], True)


def test_findings_of_one_service_lapse_without_those_of_another():
    policy = Policy(window=hours(1))
    lasting = msgspec.structs.replace(BROKEN, service="other", end_us=5 * WINDOW)
    state, _ = judged(BROKEN, lasting, policy=policy)
    after, events = lapse(state, policy, "m", 5 * WINDOW, 7)
    assert (events, [finding.partition(":")[0] for finding in after.findings]) == ([], ["other"])


def test_a_promotion_does_not_make_findings_lapse():
    state, _ = judged(BROKEN)
    assert promote(state, "ordered", "ada", POLICY, moment(), arm(9))[0].findings == state.findings
    promoted = promote(state, "ordered", "ada", POLICY, moment(), arm(9))[0]
    assert promoted.seen["teller"].until_us == BROKEN.end_us


def test_drift_is_told_once_when_it_lasted_for_so_many_windows():
    state, kinds = judged(DRIFTED, DRIFTED, DRIFTED)
    assert kinds == [[], [DriftDetected], []]
    assert state.drift_windows == 3
    assert judged(HEALTHY, state=state)[0].drift_windows == 0


def test_a_few_rows_and_other_services_do_not_interrupt_drift():
    few, elsewhere = window(rows(20, seed=4)), msgspec.structs.replace(HEALTHY, service="other")
    assert judged(DRIFTED, few, elsewhere, DRIFTED)[1] == [[], [], [], [DriftDetected]]


def test_broken_data_is_not_drift():
    state, _ = judged(DRIFTED, BROKEN)
    assert state.seen["teller"] == Seen(findings=state.seen["teller"].findings, until_us=BROKEN.end_us)


@pytest.mark.parametrize("off", ["quality", "drift"])
def test_what_the_policy_does_not_want_is_not_judged(off):
    policy = Policy(**{"drift": POLICY.drift, off: None})
    state, kinds = judged(BROKEN if off == "quality" else DRIFTED, policy=policy)
    assert (kinds, state.findings) == ([[]], ())


def test_windows_survive_the_wire():
    assert msgspec.json.decode(msgspec.json.encode(DRIFTED), type=ModelObserved) == DRIFTED
