"""The loop's policy for a table of any length and span."""

from datetime import timedelta

from tropism.models.policy import Degradation, Drift, Gate, Policy, RolloutPlan

STEPS = 400
"""How often the loop looks in the span of a table."""


def policy_for(rows: int, span: timedelta) -> Policy:
    """Return the policy of a replay: the same share of the table whether it spans an hour or ten years.

    ============================  ===============================================================
    the first version             after a tenth of the rows, 100 at least and 5,000 at most
    review, allowance             a 400th of the span
    window of observations        a 50th, or as much as holds 250 rows
    a version retires             when its newest rows are a 12th of the span old
    between trainings             a 100th of the span, or 200 rows; at most 8 in a quarter of it
    blocks of the gate            40 rows each, 100 to 500 outcomes in all
    canary                        one review, a fifth of the decisions
    a challenger's time           a 100th of the span, or 300 rows; then a fresher one replaces it
    ============================  ===============================================================

    Broken data does not block training: in a replay nobody is there to mend it.
    """
    row = span / max(rows, 1)
    step = max(span / STEPS, timedelta(microseconds=10))
    return Policy(
        first_after=min(5000, max(100, rows // 10)),
        max_age=span / 12,
        drift=Drift(windows=2),
        degradation=Degradation(run_length=float(10 * max(rows, 1000))),
        quality=None,
        cooldown=max(span / 100, row * 200),
        trainings_max=8,
        budget=span / 4,
        gate=Gate(
            block=max(row * 40, timedelta(microseconds=1)), outcomes_min=min(500, max(100, rows // 40))
        ),
        rollout=RolloutPlan(
            canary=step,
            challenger_max=max(span / 100, row * 300),
            watch=span / 50,
        ),
        review=step,
        window=max(span / 50, row * 250),
        allowance=step,
    )
