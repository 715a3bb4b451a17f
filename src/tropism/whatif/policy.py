"""The loop's policy for a table of any length and span."""

from datetime import timedelta

from tropism.models.policy import Degradation, Drift, Gate, Policy, RolloutPlan

STEPS_MIN, STEPS_MAX = 100, 400
"""How often the loop looks in the span of a table: every fifth row, within these bounds."""

LONG = 10_000
"""From so many rows on, the gate can afford to bet on larger blocks of rows, which are less noisy."""


def policy_for(rows: int, span: timedelta) -> Policy:
    """Return the policy of a replay: the same shares of a table whether it spans an hour or ten years.

    ============================  ===============================================================
    the first version             after a tenth of the rows, 100 at least and 5,000 at most
    review, allowance, canary     a 400th of the span, less often below 2,000 rows
    window of observations        a 50th, or as much as holds 250 rows
    blocks of the gate            20 rows each (40 from 10,000 rows on), 100 to 500 outcomes in all
    between trainings             a 100th of the span, or 8 blocks; at most 8 in a quarter of it
    a version retires             when what it knows is a 10th of the span old
    a challenger is stale         after a 16th of the span, or 20 blocks
    ============================  ===============================================================

    A challenger is proved on what comes, in shadow, and not backtested before: that halves the time of its
    training. It may be worse by 0.01 of Brier score, so that small tables prove anything at all. Broken data
    does not block training: in a replay nobody is there to mend it.
    """
    row = span / max(rows, 1)
    step = max(span / min(STEPS_MAX, max(STEPS_MIN, rows // 5)), timedelta(microseconds=10))
    block_rows = 40 if rows >= LONG else 20
    block = max(row * block_rows, timedelta(microseconds=1))
    return Policy(
        first_after=min(5000, max(100, rows // 10)),
        max_age=span / 10,
        drift=Drift(windows=2),
        degradation=Degradation(run_length=float(10 * max(rows, 1000))),
        quality=None,
        cooldown=max(span / 100, min(8 * block, span / 10)),
        trainings_max=8,
        budget=span / 4,
        gate=Gate(
            margin=0.01,
            backtest_share=0.0,
            block=block,
            block_outcomes_min=block_rows * 3 // 4,
            outcomes_min=min(500, max(100, rows // 40)),
        ),
        rollout=RolloutPlan(
            canary=step,
            harm_margin=0.01,
            challenger_max=max(span / 16, min(20 * block, span / 4)),
            watch=span / 50,
        ),
        review=step,
        window=max(span / 50, row * 250),
        allowance=step,
    )
