"""Policies of retrying: by type, bounded, and the same in every run."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tropism import App, Event, Retry, Service, hours, minutes, seconds, testing
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.runtime.retry import delay_seconds


class Sent(Event, type="posts.sent.v1", key="to"):
    to: str
    n: int = 0


class LateError(UnavailableError):
    """A kind of unavailability."""


POLICY = Retry(
    attempts=3,
    first=seconds(1),
    jitter=0,
    never=(PermissionError,),
    by_type={
        UnavailableError: Retry(attempts=10, first=seconds(10), factor=1, jitter=0),
        KeyError: Retry(attempts=1),
    },
)


@pytest.mark.parametrize(
    ("error", "delays"),
    [
        (ValueError("x"), [1.0, 2.0, None]),
        (UnavailableError("x"), [10.0] * 9 + [None]),
        (LateError("x"), [10.0] * 9 + [None]),
        (KeyError("x"), [None]),
        (PermissionError("x"), [None]),
    ],
)
def test_the_nearest_class_has_the_say(error: Exception, delays: list[float | None]) -> None:
    """An error goes by the policy of its own class or of its nearest base; others by the common one."""
    assert [delay_seconds(POLICY, n + 1, error, "e") for n in range(len(delays))] == delays


def test_the_latest_error_decides_and_all_failures_count() -> None:
    """After failures of a patient kind, one of another kind ends it where its policy has had enough."""
    assert delay_seconds(POLICY, 5, UnavailableError("x"), "e") == 10.0
    assert delay_seconds(POLICY, 6, ValueError("x"), "e") is None


def test_pauses_stay_finite_however_often() -> None:
    """No number of attempts overflows; the longest pause is the bound."""
    retry = Retry(attempts=100_000, factor=1e9, jitter=0, longest=hours(1))
    assert delay_seconds(retry, 99_999, ValueError("x"), "e") == 3600.0


def test_jitter_spreads_events_and_repeats_itself() -> None:
    """Events that failed together come back apart, each of them alike in every run."""
    retry = Retry(first=seconds(10), jitter=0.5)
    delays = [delay_seconds(retry, 1, ValueError("x"), f"event-{n}") for n in range(100)]
    assert delays == [delay_seconds(retry, 1, ValueError("y"), f"event-{n}") for n in range(100)]
    assert len(set(delays)) > 80
    assert all(delay is not None and 5.0 <= delay <= 10.0 for delay in delays)


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"factor": 0.5},
        {"factor": float("nan")},
        {"jitter": 2},
        {"first": timedelta(seconds=-1)},
        {"patience": timedelta(seconds=-1)},
        {"by_type": {KeyError: POLICY}},
    ],
)
def test_what_could_never_work_is_refused(options: dict[str, Any]) -> None:
    """A policy that makes no sense is refused when it is written."""
    with pytest.raises(InvalidInputError, match="Cannot retry with"):
        Retry(**options)


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_a_policy_blocks_only_its_key(live: bool) -> None:
    """While one key is tried again for an hour, what stands behind it waits, and no other key does."""
    service, calls = Service("post"), []

    @service.on(Sent, retry=POLICY)
    async def take(event: Sent) -> None:
        calls.append((event.to, event.n, clock()))
        if event.to == "bad" and event.n == 0:
            raise LateError("later")

    def clock() -> float:
        return t.simulation.clock.monotonic()

    async def main() -> None:
        nonlocal t
        async with testing.run(App("post", services=[service]), live=live, allow_dead_letters=True) as t:
            await t.publish(Sent(to="bad"), Sent(to="bad", n=1), Sent(to="good"))
            await t.advance(minutes(10))
            (letter,) = t.dead_letters()
            assert letter.attempts == 10

    t: Any = None
    asyncio.run(main())
    start = calls[0][2]
    assert [when - start for to, n, when in calls if (to, n) == ("bad", 0)] == [10.0 * n for n in range(10)]
    assert [when - start for to, n, when in calls if (to, n) == ("bad", 1)] == [90.0]
    assert [when - start for to, n, when in calls if to == "good"] == [0.0]
