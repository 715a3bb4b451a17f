"""What can go wrong, by what the caller should do about it.

TropismError
├── InvalidInputError   change what you passed
├── NotFoundError       name something that exists
├── ConflictError       re-read, then try again
│   └── FencedError     stop: another worker owns this now
├── UnavailableError    wait, then try again (``retryable``)
│   └── BusyError       wait as long as it says, then try again
├── RefusedError        let a person look: the event is in quarantine
├── NotSupportedError   choose another adapter, or ask for less
└── CorruptError        restore or repair the store

Messages read ``Cannot <do what> <which!r>: <fact with value>. <One remedy>.``
They never carry payloads or secrets.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any


class TropismError(Exception):
    """Any failure that Tropism raises on purpose."""

    retryable: bool = False


class InvalidInputError(TropismError):
    """What was passed cannot be used; the same call would fail again."""


class NotFoundError(TropismError):
    """The named thing does not exist."""


class ConflictError(TropismError):
    """Something changed meanwhile: read again, then decide again."""


class FencedError(ConflictError):
    """The lease belongs to a newer holder; nothing of this call was applied."""


class UnavailableError(TropismError):
    """The other side does not answer now; the same call may succeed later.

    ``retry_after_seconds`` is how long the other side asked to be left alone, where it did.
    """

    retryable = True
    retry_after_seconds: float | None = None


class BusyError(UnavailableError):
    """The other side asks to wait: raised in a handler, it puts the event off and costs no attempt.

    ``provider`` is set where the pause of that provider is noted already.
    """

    def __init__(
        self, message: str, retry_after_seconds: float | None = None, *, provider: str | None = None
    ) -> None:
        super().__init__(message)
        self.retry_after_seconds = finite_seconds(retry_after_seconds)
        self.provider = provider


class RefusedError(TropismError):
    """What a handler makes of an event is not good enough to act on: it goes to quarantine, with evidence.

    Raised where nothing is broken, so that trying again would change nothing: a model is not sure enough,
    an answer has no support, a rule forbids it. ``cause`` says so; ``evidence`` is what a person needs.
    """

    def __init__(self, cause: str, evidence: Mapping[str, Any] | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.evidence = dict(evidence or {})


class NotSupportedError(TropismError):
    """The adapter lacks a capability that was asked for."""


class CorruptError(TropismError):
    """Stored bytes are not what was written."""


def text_of(error: BaseException) -> str:
    """Return what an error says, as text that any store takes; what cannot be said is left out.

    Names of files that are not UTF-8 come with lone surrogates, and an error may fail to say anything.
    """
    try:
        return plain(str(error))
    except Exception:  # noqa: BLE001 (it is a stranger's code)
        return "it cannot be told"


def plain(text: str) -> str:
    """Return text with what is no Unicode written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def finite_seconds(told: object) -> float | None:
    """Return how long somebody asked to wait, from 0; None if that is no finite number."""
    try:
        seconds = float(told)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, seconds) if isfinite(seconds) else None
