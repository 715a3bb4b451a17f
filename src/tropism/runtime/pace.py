"""How fast a provider may be called: a limit, a pause that it asked for, and a gradual return."""

from dataclasses import dataclass
from datetime import timedelta
from math import inf, isfinite
from typing import NamedTuple

from tropism.core.errors import InvalidInputError

FULL = 1 - 1e-9
"""A token, but for what floating point lost of it."""

WIDE = 64.0
"""With so many calls allowed at once after a pause, the return is complete."""

FIRST_SECONDS = 1.0
"""The first pause where a provider refuses and does not say how long; it doubles with every refusal."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Something outside that handlers and steps call, and what it bears, in one process.

    At most ``per_second`` calls begin in a second, ``burst`` of them at once, and ``in_flight`` are under way
    at a time. When it answers that it is busy, nobody calls it until it said, but at most for ``longest``;
    then one call goes first, and as calls succeed, more go at a time.
    """

    name: str
    per_second: float | None = None
    burst: int = 1
    in_flight: int | None = None
    longest: timedelta = timedelta(minutes=15)

    def __post_init__(self) -> None:
        """Refuse what could never let a call through."""
        rate = 1.0 if self.per_second is None else self.per_second
        slots = 1 if self.in_flight is None else self.in_flight
        if not self.name or not isfinite(rate) or rate <= 0 or self.burst < 1 or slots < 1:
            raise InvalidInputError(
                f"Cannot limit provider {self.name!r}: per_second is {self.per_second}, burst {self.burst}, "
                f"in_flight {self.in_flight}. Name it, and give limits above 0, or None for no limit."
            )
        if self.longest <= timedelta(0):
            raise InvalidInputError(
                f"Cannot limit provider {self.name!r}: its longest pause is {self.longest}. Give one above 0."
            )

    def share(self, count: int) -> "Provider":
        """Return what one of several processes may call of it: one call at a time at least."""
        rate = None if self.per_second is None else self.per_second / count
        slots = None if self.in_flight is None else max(1, self.in_flight // count)
        return Provider(self.name, rate, max(1, self.burst // count), slots, self.longest)


class Pace(NamedTuple):
    """How things stand with a provider: ``tokens`` as of ``at``, both of a monotonic clock.

    ``window`` is how many calls may be under way on the return from a pause, infinite otherwise.
    """

    tokens: float = inf
    at: float = 0.0
    in_flight: int = 0
    window: float = inf
    paused_until: float = -inf
    refusals: int = 0


def wait_seconds(provider: Provider, pace: Pace, now: float) -> float:
    """Return how long the next call must wait; infinite, if for one under way to end."""
    if now < pace.paused_until:
        return pace.paused_until - now
    if pace.in_flight >= min(provider.in_flight or inf, pace.window):
        return inf
    if provider.per_second is None:
        return 0.0
    tokens = _tokens(provider, pace, now)
    return 0.0 if tokens >= FULL else (1.0 - tokens) / provider.per_second


def started(provider: Provider, pace: Pace, now: float) -> Pace:
    """Return the pace after a call began."""
    tokens = _tokens(provider, pace, now) - 1.0
    return pace._replace(tokens=tokens, at=now, in_flight=pace.in_flight + 1)


def answered(provider: Provider, pace: Pace) -> Pace:
    """Return the pace after a call succeeded: on the return from a pause, one more may be under way."""
    window = pace.window + 1
    if window > min(provider.in_flight or inf, WIDE):
        window = inf
    return pace._replace(in_flight=pace.in_flight - 1, window=window, refusals=0)


def failed(pace: Pace) -> Pace:
    """Return the pace after a call failed otherwise."""
    return pace._replace(in_flight=pace.in_flight - 1)


def refused(provider: Provider, pace: Pace, now: float, seconds: float | None) -> Pace:
    """Return the pace after a provider said that it is busy, for so long or for who knows how long."""
    # Refusals of calls that began together are one: they all began before the pause.
    again = pace.refusals if now < pace.paused_until else pace.refusals + 1
    guess = FIRST_SECONDS * 2.0 ** min(again - 1, 30)
    pause = seconds if seconds is not None and seconds > 0 else guess
    until = max(pace.paused_until, now + min(pause, provider.longest.total_seconds()))
    return pace._replace(in_flight=pace.in_flight - 1, window=1.0, paused_until=until, refusals=again)


def _tokens(provider: Provider, pace: Pace, now: float) -> float:
    rate = provider.per_second or 0.0
    return min(float(provider.burst), pace.tokens + max(0.0, now - pace.at) * rate)
