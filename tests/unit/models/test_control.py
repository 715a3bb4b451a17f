"""What the loop decides: each branch, from a state that leads there."""

from dataclasses import replace

import msgspec
import pytest
from tests.unit.models.loop_states import (
    DAY,
    HOUR,
    NOW,
    POLICY,
    arm,
    champion,
    kinds,
    moment,
    proven,
    requested,
    reviewed,
    shadow,
)

from tropism.core.time import days
from tropism.models.betting import BettingTest
from tropism.models.control import drop, promote, roll_back
from tropism.models.events import Rollout, Served
from tropism.models.policy import RolloutPlan
from tropism.models.state import LoopState, Seen, Trained, rollout_of
from tropism.models.triggers import patience_us


def with_gate(**changes):
    return with_policy(gate=replace(POLICY.gate, **changes))


def with_policy(**changes):
    return replace(POLICY, **changes)


# -- the first version ------------------------------------------------------------------------------


def test_the_first_version_is_trained_when_enough_outcomes_are_known_and_not_before():
    assert reviewed(LoopState(outcomes=9))[1] == []
    state, events = reviewed(LoopState(outcomes=10))
    (request,) = events
    assert (request.version, request.reason, request.champion) == (1, "first outcomes", 0)
    assert (request.known_until_us, request.effective_from_us, request.seed) == (NOW, NOW + 6 * HOUR, 7)
    assert state.request is not None
    assert reviewed(state)[1] == [], "it asks once"


def test_the_first_version_is_promoted_without_a_trial_from_its_effective_moment():
    state, events = reviewed(requested(LoopState(outcomes=10, versions=9)), Trained(9, "a"))
    (promoted,) = events
    assert kinds(events) == ["VersionPromoted"]
    assert promoted.rollout == Rollout(Served(9, "a"))
    assert state.champion.since_us == promoted.effective_from_us == NOW + 6 * HOUR
    assert state.request is None
    assert state.challenger is None


def test_a_failed_first_training_is_asked_for_again_after_the_cool_down_doubled_for_the_loss():
    waiting = requested(LoopState(outcomes=10, versions=9, trainings_us=(NOW - DAY,)))
    state, events = reviewed(waiting, Trained(9, None))
    assert events == []
    assert (state.request, state.lost) == (None, 1)
    assert reviewed(state, Trained(9, None), now_us=NOW + 3 * DAY - 1)[1] == []
    _, events = reviewed(state, Trained(9, None), now_us=NOW + 3 * DAY)
    assert [(e.version, e.reason) for e in events] == [(10, "first outcomes")]


def test_a_training_that_nobody_answers_is_given_up_so_that_the_loop_goes_on():
    patience = patience_us(POLICY)
    waiting = requested(champion(), at_us=NOW)
    assert reviewed(waiting, now_us=NOW + patience)[0].request is not None
    state, _ = reviewed(waiting, now_us=NOW + patience + 1)
    assert (state.request is None or state.request.version == 2, state.lost) == (True, 1)


def test_an_older_training_does_not_count_as_the_requested_one():
    assert reviewed(requested(champion()), Trained(8, "a"))[0].request is not None


# -- shadow, canary, promotion ----------------------------------------------------------------------


def test_a_trained_version_enters_shadow_beside_the_champion_with_fresh_tests():
    state, events = reviewed(requested(champion()), Trained(9, "a", {"brier": 0.1, "training_auc": 0.9}))
    (step,) = events
    assert kinds(events) == ["ShadowStarted"]
    assert step.version == 9
    assert step.evidence == {"backtest_brier": 0.1}
    assert step.rollout == Rollout(Served(1, "artifact-1"), Served(9, "a"), 0.0, None)
    assert state.gate == BettingTest(margin=0.0, bound=0.5)
    assert state.harm == BettingTest(margin=-0.004)


def test_a_stale_challenger_is_replaced_by_a_fresher_one_and_its_evidence_is_kept():
    before = requested(shadow(gate=BettingTest(bound=0.5).observe_many([0.1] * 7)))
    state, events = reviewed(before, Trained(9, "a"))
    assert state.challenger.version == 9
    assert events[0].reason == "trained, in place of version 2 that proved nothing"
    assert events[0].evidence["gate_outcomes"] == 7
    assert state.gate.count == 0
    assert state.lost == 0, "it did not lose"


def test_a_fresher_version_waits_for_the_end_of_a_canary():
    before = requested(shadow(canary=True, challenger=arm(2, since_us=NOW - HOUR)))
    assert reviewed(before, Trained(9, "a")) == (before, [])


def test_a_challenger_that_has_not_begun_to_decide_is_not_judged():
    early = shadow(
        challenger=arm(2, since_us=NOW + 1), gate=proven(BettingTest(bound=0.5)), harm=proven(BettingTest())
    )
    assert reviewed(early)[1] == []


def test_a_proven_challenger_goes_to_canary_for_its_share():
    state, events = reviewed(
        shadow(gate=proven(BettingTest(bound=0.5)), harm=BettingTest(margin=-0.004).observe_many([0.0] * 5))
    )
    (step,) = events
    assert kinds(events) == ["CanaryStarted"]
    assert step.rollout.canary_share == 0.2
    assert step.evidence["gate_e_value"] >= 20
    assert state.challenger.since_us == NOW + 6 * HOUR
    assert state.harm.count == 0, "the canary has its own account"


def test_few_outcomes_prove_nothing_however_clear():
    clear = shadow(
        gate=proven(BettingTest(bound=0.5)), harm=BettingTest(margin=-0.004).observe_many([0.0] * 4)
    )
    assert reviewed(clear)[1] == []


def test_without_a_canary_share_the_proven_challenger_is_promoted():
    policy = with_policy(rollout=RolloutPlan(canary_share=0.0))
    before = shadow(gate=proven(BettingTest(bound=0.5)), harm=BettingTest().observe_many([0.0] * 5))
    state, events = reviewed(before, policy=policy)
    assert kinds(events) == ["VersionPromoted"]
    assert (state.champion.version, state.previous.version) == (2, 1)


def test_a_canary_is_promoted_at_its_end_and_not_before():
    at = shadow(canary=True, challenger=arm(2, since_us=NOW - 12 * HOUR), tried=10, lost=2)
    assert reviewed(at, now_us=NOW - 1)[1] == []
    state, events = reviewed(at)
    (step,) = events
    assert kinds(events) == ["VersionPromoted"]
    assert step.rollout == Rollout(Served(2, "artifact-2"), None, 0.0, Served(1, "artifact-1"))
    assert state.watch is not None
    assert (state.lost, state.gate, state.harm, state.canary) == (0, None, None, False)


def test_a_canary_is_not_promoted_on_time_alone_and_let_go_when_it_is_stale():
    at = shadow(canary=True, challenger=arm(2, since_us=NOW - 4 * DAY), tried=9)
    assert reviewed(at)[1] == [], "9 outcomes are too few, 10 are enough"
    assert kinds(reviewed(msgspec.structs.replace(at, tried=10))[1]) == ["VersionPromoted"]
    assert reviewed(at, now_us=NOW + DAY - 1)[1] == []
    state, events = reviewed(at, now_us=NOW + DAY)
    assert (kinds(events)[0], events[0].version) == ("ChallengerDropped", 2)
    assert (events[0].reason, events[0].evidence["canary_outcomes"]) == ("too few outcomes in canary", 9.0)
    assert (state.challenger, state.canary, state.lost) == (None, False, 1)


def test_a_canary_longer_than_challenger_max_is_judged_at_its_end():
    policy = with_policy(rollout=RolloutPlan(canary=days(3), challenger_max=days(1)))
    at = shadow(canary=True, challenger=arm(2, since_us=NOW - 3 * DAY))
    assert reviewed(at, policy=policy, now_us=NOW - 1)[1] == []
    assert kinds(reviewed(at, policy=policy)[1])[:1] == ["ChallengerDropped"]
    assert kinds(reviewed(msgspec.structs.replace(at, tried=10), policy=policy)[1]) == ["VersionPromoted"]


@pytest.mark.parametrize("canary", [False, True])
def test_a_harmful_challenger_is_dropped_also_if_the_gate_would_let_it_pass(canary):
    before = shadow(
        canary=canary,
        challenger=arm(2, since_us=NOW - 2 * DAY),
        gate=proven(BettingTest(bound=0.5)),
        harm=proven(BettingTest(margin=-0.004)),
    )
    state, events = reviewed(before)
    assert kinds(events)[0] == "ChallengerDropped"
    assert (events[0].version, events[0].rollout.challenger) == (2, None)
    assert (state.challenger, state.lost) == (None, 1)


def test_with_approval_a_proven_challenger_waits_for_a_person():
    policy = with_policy(approval=True)
    before = shadow(gate=proven(BettingTest(bound=0.5)), harm=BettingTest().observe_many([0.0] * 5))
    assert reviewed(before, policy=policy) == (before, [])
    state, step = promote(before, "ordered", "ada", policy, moment())
    assert (state.champion.version, step.by, step.reason) == (2, "ada", "ordered")


def test_a_proven_challenger_does_not_grow_stale_while_it_waits_for_a_person():
    policy = with_policy(approval=True)
    waiting = shadow(
        challenger=arm(2, since_us=NOW - 9 * DAY, known_us=NOW - 9 * DAY),
        gate=proven(BettingTest(bound=0.5)),
        harm=BettingTest().observe_many([0.0] * 5),
        trainings_us=(NOW - 9 * DAY,),
    )
    assert reviewed(waiting, policy=policy) == (waiting, [])
    unproven = msgspec.structs.replace(waiting, gate=BettingTest(bound=0.5))
    assert [e.reason for e in reviewed(unproven, policy=policy)[1]] == ["stale challenger"]
    ordered = msgspec.structs.replace(waiting, ordered="ordered by ada")
    assert [e.reason for e in reviewed(ordered, policy=policy)[1]] == ["ordered by ada"]
    (entered,) = reviewed(requested(waiting), Trained(9, "a"), policy)[1]
    assert entered.reason == "trained, in place of version 2 that was outdated"


def test_any_version_can_be_promoted_by_name_and_the_challenger_beside_it_goes():
    state, step = promote(shadow(), "ordered", "ada", POLICY, moment(), arm(1, since_us=0))
    assert (state.champion.version, state.champion.since_us) == (1, NOW + 6 * HOUR)
    assert (state.challenger, step.evidence) == (None, {})


@pytest.mark.parametrize(
    "before",
    [
        requested(champion(versions=9)),
        requested(shadow(canary=True, challenger=arm(2, since_us=NOW - HOUR), versions=9)),
    ],
)
def test_a_version_promoted_by_name_while_it_is_waited_for_does_not_challenge_itself(before):
    state, _ = promote(before, "ordered", "ada", POLICY, moment(), arm(9))
    assert (state.champion.version, state.previous.version, state.request) == (9, 1, None)
    after, events = reviewed(state, Trained(9, "artifact-9"), now_us=NOW + 6 * HOUR)
    assert (after, events) == (state, [])


def test_a_training_under_way_goes_on_while_another_version_is_promoted():
    before = requested(champion(versions=9))
    state, _ = promote(before, "ordered", "ada", POLICY, moment(), arm(3))
    assert state.request == before.request


# -- backtest ---------------------------------------------------------------------------------------

WORSE = {"difference": -0.05, "standard_error": 0.01, "pairs": 500.0}


def test_a_version_that_lost_its_backtest_does_not_enter_and_leaves_the_rest_as_it_was():
    before = requested(shadow())
    state, events = reviewed(before, Trained(9, "a", WORSE))
    (step,) = events
    assert kinds(events) == ["ChallengerDropped"]
    assert (step.version, step.reason) == (9, "worse than the champion in backtest")
    assert step.evidence["backtest_p_value"] < 0.01
    assert step.rollout == rollout_of(before, POLICY)
    assert (state.request, state.challenger.version, state.lost) == (None, 2, 1)


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"difference": -0.05},
        {"difference": -0.05, "standard_error": 0.0},
        {"difference": -0.02, "standard_error": 0.01},
        {"difference": 0.05, "standard_error": 0.01},
        {"carrier=AA:difference": -0.02, "carrier=AA:standard_error": 0.01},
    ],
)
def test_what_is_absent_or_may_be_chance_refuses_nothing(figures):
    assert kinds(reviewed(requested(champion()), Trained(9, "a", figures))[1]) == ["ShadowStarted"]


def test_a_slice_that_is_worse_refuses_a_version_that_is_better_on_the_whole():
    figures = {
        "difference": 0.05,
        "standard_error": 0.01,
        "carrier=AA:difference": -0.05,
        "carrier=AA:standard_error": 0.01,
        "carrier=B6:difference": 0.01,
        "carrier=B6:standard_error": 0.01,
    }
    _, events = reviewed(requested(champion()), Trained(9, "a", figures))
    assert events[0].reason == "worse than the champion in backtest where carrier=AA"


def test_slices_share_the_level():
    """A slice at p = .004 refuses alone, and not among ten."""
    one = {"c=0:difference": -2.65, "c=0:standard_error": 1.0}
    many = {
        f"c={n}:{k}": v for n in range(1, 10) for k, v in {"difference": 0.0, "standard_error": 1.0}.items()
    }
    assert kinds(reviewed(requested(champion()), Trained(9, "a", one))[1]) == ["ChallengerDropped"]
    assert kinds(reviewed(requested(champion()), Trained(9, "a", one | many))[1]) == ["ShadowStarted"]


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        ({"artifact_bytes_max": 10}, "larger than its budget"),
        ({"latency_ms_max": 1.0}, "slower than its budget"),
    ],
)
def test_budgets_bind_every_version_also_the_first(gate, reason):
    figures = {"artifact_bytes": 11.0, "latency_ms": 1.1}
    policy = with_gate(**gate)
    for before in (requested(LoopState()), requested(champion())):
        state, events = reviewed(before, Trained(9, "a", figures), policy)
        assert [e.reason for e in events if type(e).__name__ == "ChallengerDropped"] == [reason]
        assert state.champion == before.champion


# -- watch and rollback -----------------------------------------------------------------------------


def watched(**changes):
    return champion(
        **{
            "champion": arm(2, since_us=NOW - DAY, known_us=NOW - 2 * DAY),
            "previous": arm(1),
            "watch": BettingTest(margin=-0.004),
            "trainings_us": (NOW - DAY,),
            **changes,
        }
    )


def test_a_champion_that_is_worse_than_the_one_before_is_rolled_back():
    state, events = reviewed(watched(watch=proven(BettingTest(margin=-0.004)), challenger=arm(3)))
    (step,) = events
    assert kinds(events) == ["VersionRolledBack"]
    assert step.version == 2
    assert step.rollout == Rollout(Served(1, "artifact-1"))
    assert (state.champion.version, state.previous, state.challenger) == (1, None, None)
    assert state.rollbacks_us == (NOW,)


def test_the_watch_ends_when_its_time_is_over():
    at = watched(
        champion=arm(2, since_us=NOW - 7 * DAY), watch=BettingTest(margin=-0.004).observe_many([0.0] * 10)
    )
    assert reviewed(at, now_us=NOW - 1)[1] == []
    state, events = reviewed(at)
    assert kinds(events) == ["WatchEnded"]
    assert (events[0].version, events[0].rollout.previous) == (2, None)
    assert (state.previous, state.watch) == (None, None)


def test_the_watch_does_not_end_while_it_has_seen_next_to_nothing():
    at = watched(
        champion=arm(2, since_us=NOW - 7 * DAY), watch=BettingTest(margin=-0.004).observe_many([0.0] * 9)
    )
    assert reviewed(at, now_us=NOW + 2 * DAY)[0].previous is not None


def test_without_a_champion_before_there_is_nothing_to_roll_back_to():
    assert roll_back(champion(), "ordered", "ada", POLICY, moment()) == (champion(), None)


def test_dropping_without_a_challenger_names_no_version():
    assert drop(champion(), "r", "p", POLICY, moment())[1].version == 0


# -- when to train ----------------------------------------------------------------------------------


def reason(state, policy=POLICY, now_us=NOW):
    return next((e.reason for e in reviewed(state, policy=policy, now_us=now_us)[1]), None)


def test_nothing_happens_without_a_reason():
    assert reason(champion()) is None


def test_age_counts_from_the_newest_training():
    assert reason(champion(), now_us=NOW + 4 * DAY - 1) is None
    assert reason(champion(), now_us=NOW + 4 * DAY) == "age"
    assert reason(champion(), with_policy(max_age=None), now_us=NOW + 400 * DAY) is None


def test_growth_counts_outcomes_since_the_training():
    grown = champion(outcomes=1500)
    assert reason(grown, with_policy(growth=1.5)) == "growth"
    assert reason(champion(outcomes=1499), with_policy(growth=1.5)) is None


def test_drift_trains_after_so_many_windows_in_a_row():
    assert reason(champion(seen={"s": Seen(drift_windows=1)})) is None
    assert reason(champion(seen={"s": Seen(drift_windows=2)})) == "drift"
    assert reason(champion(seen={"s": Seen(drift_windows=2)}), with_policy(drift=None)) is None


def test_degradation_trains_unless_a_challenger_learned_from_after_it():
    assert reason(champion(degraded_us=NOW)) == "degradation"
    old = shadow(challenger=arm(2, since_us=NOW - DAY, known_us=NOW - 4 * DAY), trainings_us=(NOW - 4 * DAY,))
    assert reason(old) is None
    assert reason(msgspec.structs.replace(old, degraded_us=NOW - DAY)) == "degradation"
    assert reason(msgspec.structs.replace(old, degraded_us=NOW - 5 * DAY)) is None


TRAINED_AFTER_ALARM = shadow(
    challenger=arm(2, since_us=NOW - DAY, known_us=NOW - 4 * DAY),
    trainings_us=(NOW - 4 * DAY,),
    degraded_us=NOW - 5 * DAY,
    outcomes_at_alarm=1000,
    outcomes_at_training=1100,
)
"""A day after the alarm, from a hundred outcomes since."""


def test_after_an_alarm_a_challenger_is_outdated_by_half_unless_it_is_half_way_to_its_proof():
    assert reason(msgspec.structs.replace(TRAINED_AFTER_ALARM, outcomes=1199)) is None
    doubled = msgspec.structs.replace(TRAINED_AFTER_ALARM, outcomes=1200)
    assert reason(doubled) == "degradation"
    half_way = BettingTest(margin=0.0, bound=0.5).observe_many([0.4] * 6)
    assert 20**0.5 < half_way.e_value < 20
    assert reason(msgspec.structs.replace(doubled, gate=half_way)) is None


def test_after_an_alarm_a_challenger_is_replaced_when_what_it_knows_of_the_time_since_has_doubled():
    """Right after an abrupt change there is little to learn from: the first to try must not stand in the way."""
    assert reason(msgspec.structs.replace(TRAINED_AFTER_ALARM, outcomes=1199)) is None
    assert reason(msgspec.structs.replace(TRAINED_AFTER_ALARM, outcomes=1200)) == "degradation"
    # Of nothing yet, it takes as many as the gate wants to see.
    blank = msgspec.structs.replace(TRAINED_AFTER_ALARM, outcomes_at_training=1000)
    assert reason(msgspec.structs.replace(blank, outcomes=1004)) is None
    assert reason(msgspec.structs.replace(blank, outcomes=1005)) == "degradation"


def test_a_challenger_in_flight_is_not_disturbed_until_it_is_stale():
    young = shadow(seen={"s": Seen(drift_windows=9)}, trainings_us=(NOW - 4 * DAY,))
    assert reason(young) is None
    assert reason(young, now_us=NOW + 4 * DAY) == "stale challenger"


def test_nothing_is_trained_during_a_canary():
    in_canary = shadow(
        canary=True,
        challenger=arm(2, since_us=NOW - HOUR),
        degraded_us=NOW,
        trainings_us=(NOW - 9 * DAY,),
    )
    assert reviewed(in_canary)[1] == []


@pytest.mark.parametrize(("lost", "pause"), [(0, 2), (1, 4), (2, 8), (3, 16), (9, 16)])
def test_the_cool_down_doubles_with_every_loss_in_a_row_up_to_eightfold(lost, pause):
    state = champion(degraded_us=1, lost=lost, trainings_us=(NOW,))
    assert reason(state, now_us=NOW + pause * DAY - 1) is None
    assert reason(state, now_us=NOW + pause * DAY) == "degradation"


def test_the_budget_bounds_trainings_per_period():
    spent = champion(degraded_us=1, trainings_us=(NOW - 29 * DAY, NOW - 20 * DAY, NOW - 10 * DAY))
    assert reason(spent) is None
    assert reason(spent, now_us=NOW + DAY) == "degradation"


def test_after_too_many_rollbacks_only_a_person_trains():
    broken = champion(degraded_us=1, rollbacks_us=(NOW - 2 * DAY, NOW - DAY))
    assert reason(broken) is None
    assert reason(msgspec.structs.replace(broken, ordered="ordered by ada")) == "ordered by ada"
    assert reason(broken, now_us=NOW + 28 * DAY) == "degradation"


def test_an_order_of_training_skips_cool_down_and_budget_and_is_carried_out_once():
    state = champion(ordered="ordered by ada", trainings_us=(NOW - 2, NOW - 1, NOW))
    after, events = reviewed(state)
    assert events[0].reason == "ordered by ada"
    assert after.ordered is None


def test_broken_data_blocks_every_training_also_an_ordered_one():
    findings = {"s": Seen(findings=("size: constant 0.1",), until_us=NOW)}
    assert reason(champion(degraded_us=1, seen=findings)) is None
    assert reason(champion(ordered="ordered by ada", seen=findings)) is None
    assert reason(LoopState(outcomes=10, seen=findings)) is None


def test_an_order_is_carried_out_when_findings_lapse():
    """By default they last for three windows of a day."""
    findings = {"s": Seen(findings=("size: constant 0.1",), until_us=NOW)}
    waiting = champion(ordered="ordered by ada", seen=findings, trainings_us=(NOW,))
    assert reviewed(waiting, now_us=NOW + 3 * DAY)[1] == []
    state, events = reviewed(waiting, now_us=NOW + 3 * DAY + 1)
    assert kinds(events) == ["TrainingUnblocked", "TrainingRequested"]
    assert (state.findings, events[1].reason) == ((), "ordered by ada")


def test_at_most_one_training_at_a_time():
    assert reason(requested(champion(degraded_us=1, ordered="ordered by ada"))) is None


def test_a_raised_alarm_counts_from_the_first_review_that_sees_it():
    from tropism.models.alarm import DegradationAlarm

    alarm = DegradationAlarm(0.25, 0.02, bound=1.25, run_length=10).observe_many([1.2] * 50)
    assert alarm.raised
    state, _ = reviewed(champion(alarm=alarm, trainings_us=(NOW,)))
    assert state.degraded_us == NOW
    assert reviewed(state, now_us=NOW + DAY)[0].degraded_us == NOW


def test_a_promotion_and_a_request_may_come_from_one_review():
    at = shadow(canary=True, challenger=arm(2, since_us=NOW - 12 * HOUR), trainings_us=(NOW - 20 * DAY,))
    at = msgspec.structs.replace(at, tried=10)
    _, events = reviewed(at, policy=with_policy(max_age=days(1)))
    assert kinds(events) == ["VersionPromoted", "TrainingRequested"]
