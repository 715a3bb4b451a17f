"""Policies that no test could use are refused where they are written."""

from datetime import timedelta

import pytest

from tropism.core.errors import InvalidInputError
from tropism.models.policy import Degradation, Drift, Gate, Policy, RolloutPlan


@pytest.mark.parametrize(
    "make",
    [
        lambda: Gate(alpha=0.0),
        lambda: Gate(alpha=1.0),
        lambda: Gate(margin=0.5, bound=0.3),
        lambda: Gate(block=timedelta(0)),
        lambda: Gate(backtest_share=1.0),
        lambda: Gate(backtest_alpha=0.0),
        lambda: Degradation(run_length=1.0),
        lambda: Drift(false_discovery_rate=0.0),
        lambda: Drift(windows=0),
        lambda: RolloutPlan(canary_share=1.0),
        lambda: RolloutPlan(canary_share=-0.1),
        lambda: RolloutPlan(harm_alpha=0.0),
        lambda: RolloutPlan(harm_margin=1.0),
        lambda: Gate(block_outcomes_min=0),
        lambda: Gate(outcomes_min=-1),
        lambda: Gate(backtest_rows_max=-5),
        lambda: Gate(slice_rows_min=0),
        lambda: Gate(artifact_bytes_max=0),
        lambda: Gate(latency_ms_max=0.0),
        lambda: Drift(features_min=0),
        lambda: Drift(rows_min=0),
        lambda: Drift(psi_min=-0.1),
        lambda: RolloutPlan(outcomes_min=0),
        lambda: RolloutPlan(canary=timedelta(-1)),
        lambda: RolloutPlan(challenger_max=timedelta(-1)),
        lambda: RolloutPlan(watch=timedelta(-1)),
        lambda: Policy(rows_max=0),
        lambda: Policy(rollbacks_max=-1),
        lambda: Policy(cooldown=timedelta(days=-1)),
        lambda: Policy(growth=0.0),
        lambda: Policy(growth=1.0),
        lambda: Policy(growth=float("nan")),
        lambda: Policy(max_age=timedelta(0)),
        lambda: Policy(first_after=0),
        lambda: Policy(trainings_max=0),
        lambda: Policy(act_at=float("nan")),
        lambda: Policy(review=timedelta(0)),
        lambda: Policy(window=timedelta(0)),
        lambda: Policy(allowance=timedelta(-1)),
        lambda: Policy(training_timeout_seconds=0.0),
    ],
)
def test_a_value_that_could_never_work_is_refused_by_name_with_a_remedy(make):
    with pytest.raises(InvalidInputError, match=r"Cannot use this policy: .+ Choose "):
        make()


def test_the_edges_that_mean_off_are_allowed():
    Policy(gate=Gate(backtest_share=0.0, margin=0.0), rollout=RolloutPlan(canary_share=0.0))
    Policy(gate=Gate(outcomes_min=0, backtest_rows_max=0), rollbacks_max=0, cooldown=timedelta(0))
    Policy(growth=None, max_age=None, rows_max=None, allowance=timedelta(0), drift=Drift(psi_min=0.0))
