"""What outcomes say of the versions, and how surely: error rates by simulation."""

import random
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.models.loop_states import (
    DAY,
    HOUR,
    NOW,
    POLICY,
    arm,
    champion,
    learned,
    moment,
    outcomes,
    shadow,
)

from tropism.core.time import days
from tropism.models.betting import BettingTest
from tropism.models.control import _enter, promote, review
from tropism.models.events import ChallengerDropped, OutcomeLearned, VersionPromoted, VersionRolledBack
from tropism.models.evidence import evidence_of, learn, loss_of, output_of
from tropism.models.loop import degraded
from tropism.models.policy import Gate, Policy, RolloutPlan
from tropism.models.state import LoopState, Request, Trained

ALPHA = 0.05


def right(truth, _):
    return truth


def noisy(truth, source):
    return min(max(truth + source.gauss(0.0, 0.1), 0.0), 1.0)


def flipped(truth, _):
    return 1.0 - truth


# -- who said what ----------------------------------------------------------------------------------


def test_the_output_of_a_version_is_found_whether_it_acted_or_watched():
    outcome = learned(1, 1.0, 2, {1: 0.4, 2: 0.7})
    assert output_of(outcome, arm(2)) == 0.7
    assert output_of(outcome, arm(1)) == 0.4
    assert output_of(outcome, arm(3)) is None
    assert output_of(outcome, None) is None
    assert loss_of(outcome, arm(1)) == pytest.approx(0.36)
    assert loss_of(outcome, arm(3)) is None


def test_early_outcomes_and_corrections_teach_the_tests_nothing():
    state = shadow()
    said = {1: 0.9, 2: 0.1}
    taught = [(NOW, learned(1, 1.0, 1, said, early=True)), (NOW, learned(2, 1.0, 1, said, revision=1))]
    assert learn(state, taught, POLICY) == state


def test_outcomes_count_also_before_there_is_a_version():
    none = learned(1, 1.0, 0, {0: 0.0})
    none = msgspec.structs.replace(none, output=None)
    assert learn(LoopState(), [(NOW, none)] * 3, POLICY) == LoopState(outcomes=3)


def test_an_outcome_that_the_challenger_was_not_asked_about_is_no_pair():
    state = learn(shadow(), [(NOW, learned(1, 1.0, 1, {1: 0.9}))], POLICY)
    assert (state.harm.count, state.loss_count) == (0, 1)


def test_who_was_asked_and_gave_nothing_has_the_worst_loss():
    outcome = learned(1, 1.0, 1, {1: 0.5, 2: None})
    assert (loss_of(outcome, arm(2)), output_of(outcome, arm(2)), loss_of(outcome, arm(3))) == (
        1.0,
        None,
        None,
    )
    state = learn(shadow(), [(NOW, outcome)], POLICY)
    assert state.harm == BettingTest(margin=-0.004).observe(0.75)
    assert state.block.total == -0.75
    before = champion(previous=arm(9), watch=BettingTest(margin=-0.004))
    acting = learned(1, 1.0, 3, {3: 0.5, 1: None, 9: 0.5})
    after = learn(before, [(NOW, acting)], POLICY)
    assert after.watch == BettingTest(margin=-0.004).observe(0.75)
    assert (after.loss_count, after.alarm) == (0, None), "what it did not say has no quality of its own"


def test_outcomes_on_record_before_failures_were_can_still_be_read():
    whole = msgspec.to_builtins(learned(1, 1.0, 1, {1: 0.5, 2: 0.4}))
    assert msgspec.json.decode(msgspec.json.encode(whole), type=OutcomeLearned).others == {"2": 0.4}
    assert b"null" not in msgspec.json.encode(whole), "failures alone cost bytes"


@pytest.mark.parametrize("answers", [0.2, 0.0])
def test_a_challenger_that_fails_on_most_rows_is_dropped_however_good_it_is_on_the_others(answers):
    source = random.Random(0)
    stream = [
        (at, msgspec.structs.replace(o, others={"2": o.value if source.random() < answers else None}))
        for at, o in outcomes(400, {1: noisy}, chance=0.5)
    ]
    steps = _lived(stream, shadow())
    assert [(type(s), s.version) for s in steps] == [(ChallengerDropped, 2)]


def test_a_canary_counts_outcomes_of_its_own_decisions_that_both_sides_answered():
    before = shadow(canary=True, challenger=arm(2, since_us=NOW), harm=BettingTest(margin=-0.004))
    taught = [
        (NOW + 1, learned(n, 1.0, acting, said, decided_us=NOW + at))
        for n, (acting, said, at) in enumerate(
            [
                (1, {1: 0.5, 2: 0.6}, -1),
                (1, {1: 0.5, 2: 0.6}, 0),
                (2, {2: 0.6, 1: 0.5}, 1),
                (1, {1: 0.5, 2: None}, 1),
                (2, {2: 0.6, 1: None}, 1),
                (1, {1: 0.5}, 1),
            ]
        )
    ]
    after = learn(before, taught, POLICY)
    assert (after.tried, after.harm.count, evidence_of(after)["canary_outcomes"]) == (2, 5, 2.0)
    assert learn(msgspec.structs.replace(before, canary=False), taught, POLICY).tried == 0


def test_the_watch_takes_only_decisions_of_the_new_champion_s_time():
    before = champion(previous=arm(9), champion=arm(1, since_us=NOW), watch=BettingTest())
    early = learned(1, 1.0, 1, {1: 0.5, 9: 0.5}, decided_us=NOW - 1)
    late = learned(2, 1.0, 1, {1: 0.5, 9: 0.5}, decided_us=NOW)
    assert learn(before, [(NOW, early), (NOW, late)], POLICY).watch.count == 1


def test_a_block_is_closed_by_the_first_outcome_after_it_and_only_if_it_holds_enough():
    policy = Policy(gate=Gate(margin=0.0, block_outcomes_min=2, bound=0.5))
    said = {1: 0.0, 2: 1.0}
    at = [NOW, NOW + 3 * HOUR, NOW + 6 * HOUR, NOW + 6 * HOUR + 1]
    state = shadow()
    counts = []
    for time_us in at:
        state = learn(state, [(time_us, learned(1, 1.0, 1, said))], policy)
        counts.append((state.gate.count, state.block.count))
    assert counts == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_what_a_block_says_is_clipped_to_the_bound():
    policy = Policy(gate=Gate(margin=0.0, block_outcomes_min=1, bound=0.1))
    state = shadow(gate=BettingTest(margin=0.0, bound=0.1))
    for n in range(3):
        state = learn(state, [(NOW + n * DAY, learned(n, 1.0, 1, {1: 0.0, 2: 1.0}))], policy)
    assert state.gate == BettingTest(margin=0.0, bound=0.1).observe_many([0.1, 0.1])


def test_a_test_that_began_under_another_policy_goes_on_with_its_own_bound():
    policy = Policy(gate=Gate(margin=0.0, block_outcomes_min=1, bound=0.5))
    state = shadow(gate=BettingTest(margin=0.0, bound=0.1))
    for n in range(3):
        state = learn(state, [(NOW + n * DAY, learned(n, 1.0, 1, {1: 0.0, 2: 1.0}))], policy)
    assert state.gate == BettingTest(margin=0.0, bound=0.1).observe_many([0.1, 0.1])


def test_evidence_names_only_what_there_is():
    assert evidence_of(LoopState()) == {}
    assert set(evidence_of(shadow(loss_count=2, loss_total=0.5))) == {
        "gate_e_value",
        "gate_outcomes",
        "harm_e_value",
        "harm_outcomes",
        "champion_brier",
    }


def test_a_degradation_names_the_loss_that_the_champion_was_held_against():
    """It says .1 and .2 and expects a loss of .09 and .16; the outcome is 1, and the tolerance .02."""
    start = champion(alarm=_alarm())
    taught = [(NOW, learned(n, 1.0, 1, {1: said})) for n, said in enumerate([0.1, 0.2])]
    event = degraded(learn(start, taught, POLICY), moment())
    assert (event.version, event.outcomes, event.reference) == (1, 2, pytest.approx(0.125 + 0.02))


# -- batches ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 120), max_size=6),
    seed=st.integers(0, 2**16),
    missing=st.floats(0.0, 0.5),
)
def test_how_outcomes_are_cut_into_batches_never_matters(cuts, seed, missing):
    """learn(a + b) == learn(learn(a), b), bit for bit."""
    stream = outcomes(120, {1: right, 2: noisy, 3: flipped}, seed=seed, step_us=HOUR // 3)
    source = random.Random(seed)
    stream = [
        (
            at,
            msgspec.structs.replace(
                o,
                others={
                    v: None if source.random() < missing else x
                    for v, x in o.others.items()
                    if source.random() >= missing
                },
            ),
        )
        for at, o in stream
    ]
    start = shadow(
        previous=arm(3),
        watch=BettingTest(margin=-0.004),
        alarm=POLICY.degradation and _alarm(),
    )
    whole = learn(start, stream, POLICY)
    edges = [0, *sorted(cuts), len(stream)]
    state = start
    for low, high in pairwise(edges):
        state = learn(state, stream[low:high], POLICY)
    assert state == whole


def _alarm():
    from tropism.models.control import _alarm as alarm

    return alarm(POLICY)


# -- error rates ------------------------------------------------------------------------------------


def test_equal_versions_are_promoted_in_at_most_alpha_of_streams():
    """A/A with margin 0: 200 streams of 400 outcomes, looked at after each."""
    gate = Gate(alpha=ALPHA, margin=0.0, block=days(1) / 24, block_outcomes_min=1, bound=0.5, outcomes_min=20)
    policy = Policy(gate=gate, rollout=RolloutPlan(canary_share=0.0, challenger_max=days(365)))
    wrong = 0
    for seed in range(200):
        state = learn(
            shadow(), outcomes(400, {1: noisy, 2: noisy}, seed=seed), policy
        )  # rejects() says whether it would have at any moment
        wrong += state.gate.rejects(ALPHA)
    # 200 streams at 5 %: 10 expected at most, 18 is the 99 % point.
    assert wrong <= 18


def test_a_better_challenger_is_promoted_in_most_streams():
    gate = Gate(alpha=ALPHA, margin=0.0, block=days(1) / 24, block_outcomes_min=1, bound=0.5, outcomes_min=20)
    policy = Policy(gate=gate)
    found = sum(
        learn(shadow(), outcomes(600, {1: flipped, 2: right}, seed=seed), policy).gate.rejects(ALPHA)
        for seed in range(30)
    )
    assert found >= 28


def test_a_harmful_challenger_is_never_promoted_and_is_dropped():
    """Labels flipped: 40 streams, reviewed every 6 hours for 40 days of an outcome an hour."""
    for seed in range(40):
        steps = _lived(outcomes(960, {1: right, 2: flipped}, seed=seed), shadow_of(2))
        assert not [s for s in steps if isinstance(s, VersionPromoted)]
        assert [s for s in steps if isinstance(s, ChallengerDropped)]


def test_a_bad_version_that_was_promoted_is_rolled_back_within_bounded_outcomes():
    """Labels flipped: within 400 outcomes in each of 50 streams."""
    for seed in range(50):
        state, _ = promote(shadow_of(2), "ordered", "ada", POLICY, moment(NOW - DAY))
        stream = outcomes(400, {2: flipped, 1: right}, seed=seed, step_us=HOUR // 6)
        steps = _lived(stream, state)
        assert [s.version for s in steps if isinstance(s, VersionRolledBack)] == [2]


def shadow_of(version):
    state = msgspec.structs.replace(
        champion(versions=version), request=Request(version, "age", NOW - 3 * DAY), trainings_us=(NOW,)
    )
    return _enter(state, Trained(version, "a"), POLICY, moment(NOW - 2 * DAY))[0]


def _lived(stream, state):
    """Return the steps of a life with a review every 6 hours and no further training."""
    policy = Policy(
        gate=POLICY.gate,
        rollout=POLICY.rollout,
        max_age=None,
        growth=None,
        drift=None,
        degradation=None,
        trainings_max=1,
    )
    steps = []
    for start in range(0, len(stream), 6):
        part = stream[start : start + 6]
        state = learn(state, part, policy)
        state, events = review(state, None, policy, moment(part[-1][0]))
        steps.extend(events)
    return steps
