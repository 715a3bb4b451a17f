"""When periodic handlers are due."""

from collections.abc import Sequence
from datetime import timedelta

from tropism.core.cron import Cron
from tropism.core.time import MICROSECONDS, to_us
from tropism.runtime.watermarks import FOREVER_US

Schedule = timedelta | Cron
"""A period, of which every multiple since 1970 is due; or what a calendar says."""

MINUTE_US = 60 * MICROSECONDS


def moments(schedule: Schedule, after_us: int, until_us: int, *, last: bool) -> Sequence[int]:
    """Return the moments that are due behind one and up to another, in order; or only the last of them."""
    if isinstance(schedule, Cron):
        return _by_calendar(schedule, after_us, until_us, last=last)
    period_us = to_us(schedule)
    found = range((after_us // period_us + 1) * period_us, until_us + 1, period_us)
    return found[-1:] if last else found


def next_us(schedule: Schedule, after_us: int) -> int | None:
    """Return the first moment that is due behind one; None where no calendar tells it any more."""
    if isinstance(schedule, Cron):
        return schedule.after(after_us)
    period_us = to_us(schedule)
    return (after_us // period_us + 1) * period_us


def stride_us(schedules: Sequence[Schedule], count_max: int) -> int:
    """Return for how long none of them is due more often than so; for ever, if there are none."""
    # No calendar tells more than every minute.
    periods = [MINUTE_US if isinstance(each, Cron) else to_us(each) for each in schedules]
    return min((count_max * period_us for period_us in periods), default=FOREVER_US)


def _by_calendar(cron: Cron, after_us: int, until_us: int, *, last: bool) -> list[int]:
    first_us = cron.after(after_us)
    if first_us is None or first_us > until_us:
        return []
    if last:
        return [max(first_us, cron.until(until_us) or first_us)]
    found: list[int] = []
    due_us: int | None = first_us
    while due_us is not None and due_us <= until_us:
        found.append(due_us)
        due_us = cron.after(due_us)
    return found


def seconds_until(due_us: int | None, now_us: int, longest: float) -> float:
    """Return how long to wait for what is due, if anything is; never so short that time hardly passes."""
    return longest if due_us is None else min(longest, max(0.01, (due_us - now_us) / MICROSECONDS))
