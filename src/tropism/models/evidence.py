"""What outcomes say of the versions: one pure fold, the same however the outcomes are cut into batches."""

from collections.abc import Sequence

import msgspec

from tropism.core.time import to_us
from tropism.models.betting import BettingTest
from tropism.models.events import OutcomeLearned
from tropism.models.policy import Policy
from tropism.models.state import Arm, Block, LoopState

EXPECTED = 0.25
"""Added to a loss less its expectation, which is -1/4 at least, so that it is never negative."""

WORST = 1.0
"""The loss of a version that was asked and gave no output: an answer cannot cost more."""


def learn(state: LoopState, learned: Sequence[tuple[int, OutcomeLearned]], policy: Policy) -> LoopState:
    """Return the state after outcomes, each with when it was known, in their order.

    Corrections and early ones teach nothing here. The tests take each outcome for which both sides were
    asked, and count the worst loss for one that failed: else a version that answers only what is easy would
    win. The gate bets on means of blocks of time.
    """
    gains: list[tuple[int, float]] = []
    regrets: list[float] = []
    losses: list[float] = []
    expected: list[float] = []
    surprises: list[float] = []
    champion, challenger, previous = state.champion, state.challenger, state.previous
    count, tried = 0, state.tried
    for known_us, outcome in learned:
        if outcome.early or outcome.revision:
            continue
        count += 1
        loss = loss_of(outcome, champion)
        if loss is None or champion is None:
            continue
        output = output_of(outcome, champion)
        if output is not None:
            losses.append(loss)
            if outcome.decided_us >= champion.since_us:
                expected.append(output * (1.0 - output))
                surprises.append(loss - expected[-1] + EXPECTED)
        of_challenger = loss_of(outcome, challenger)
        if challenger is not None and of_challenger is not None:
            gains.append((known_us, loss - of_challenger))
            answered = output is not None and output_of(outcome, challenger) is not None
            tried += answered and state.canary and outcome.decided_us >= challenger.since_us
        of_previous = loss_of(outcome, previous)
        if of_previous is not None and outcome.decided_us >= champion.since_us:
            regrets.append(loss - of_previous)
    gate, block = _gated(state, gains, policy)
    return msgspec.structs.replace(
        state,
        outcomes=state.outcomes + count,
        tried=tried,
        gate=gate,
        block=block,
        harm=_observed(state.harm, [-gain for _, gain in gains]),
        watch=_observed(state.watch, regrets),
        alarm=None if state.alarm is None else state.alarm.observe_many(surprises),
        expected_total=_added(state.expected_total, expected),
        loss_total=_added(state.loss_total, losses),
        loss_count=state.loss_count + len(losses),
    )


def _gated(
    state: LoopState, gains: Sequence[tuple[int, float]], policy: Policy
) -> tuple[BettingTest | None, Block]:
    """Return the gate after gains: a block is closed by the first outcome after its end."""
    gate, rules = state.gate, policy.gate
    if gate is None:
        return None, Block()
    length_us = to_us(rules.block)
    number, total, count = state.block.number, state.block.total, state.block.count
    for known_us, gain in gains:
        now = known_us // length_us
        if now != number and count >= rules.block_outcomes_min:
            # Clipped to the test's own bound: it may have begun under another policy.
            gate = gate.observe(max(-gate.bound, min(gate.bound, total / count)))
            total, count = 0.0, 0
        number, total, count = now, total + gain, count + 1
    return gate, Block(number, total, count)


def output_of(outcome: OutcomeLearned, arm: Arm | None) -> float | None:
    """Return what a version said of a decision's input, None where it was not asked or failed."""
    if arm is None:
        return None
    return outcome.output if outcome.version == arm.version else outcome.others.get(str(arm.version))


def loss_of(outcome: OutcomeLearned, arm: Arm | None) -> float | None:
    """Return the squared error of a version on an outcome, the worst where it failed, None if not asked."""
    output = output_of(outcome, arm)
    if output is not None:
        return (output - outcome.value) ** 2
    return WORST if arm is not None and str(arm.version) in outcome.others else None


def _observed(test: BettingTest | None, differences: list[float]) -> BettingTest | None:
    return None if test is None else test.observe_many(differences)


def _added(total: float, losses: Sequence[float]) -> float:
    # One by one: a sum of sums would depend on how the outcomes were cut into batches.
    for loss in losses:
        total += loss
    return total


def evidence_of(state: LoopState) -> dict[str, float]:
    """Return the numbers behind a step, as far as there are any."""
    found: dict[str, float] = {}
    for name, test in (("gate", state.gate), ("harm", state.harm), ("watch", state.watch)):
        if test is not None:
            found[f"{name}_e_value"] = test.e_value
            found[f"{name}_outcomes"] = float(test.count)
    if state.canary:
        found["canary_outcomes"] = float(state.tried)
    if state.loss_count:
        found["champion_brier"] = state.loss_total / state.loss_count
    return found
