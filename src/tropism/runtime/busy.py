"""Telling from an error that who was called is busy, and for how long."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from tropism.core.errors import BusyError
from tropism.core.time import MICROSECONDS

TOO_MANY, UNAVAILABLE = 429, 503

CAUSES_MAX = 8

_STATUSES = ("status_code", "status", "http_status", "code")


def busy_of(error: BaseException, now_us: int) -> BusyError | None:
    """Return what an error says if it, or a cause of it, is the answer of somebody busy.

    That is status 429, or 503 with a Retry-After. No client is imported: what httpx, requests, aiohttp,
    botocore, urllib and the SDKs built on them raise carries a status and headers, itself or in a response.
    """
    for each in _causes(error):
        if isinstance(each, BusyError):
            return each
        status, headers = _answer(each)
        after = retry_after_seconds(_header(headers), now_us)
        if status == TOO_MANY or (status == UNAVAILABLE and after is not None):
            return BusyError(f"Cannot call now: the answer was {status}. Wait as long as it says.", after)
    return None


def retry_after_seconds(text: str | None, now_us: int) -> float | None:
    """Return how long a Retry-After asks to wait, in seconds or until a date; None if it says nothing."""
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            until = parsedate_to_datetime(text)
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
        until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        seconds = (until - datetime.fromtimestamp(now_us / MICROSECONDS, UTC)).total_seconds()
    return max(0.0, seconds) if isfinite(seconds) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    for _ in range(CAUSES_MAX):
        if found is None:
            return
        yield found
        found = found.__cause__


def _answer(error: BaseException) -> tuple[int | None, Any]:
    """Return the status and the headers that an error carries."""
    response = _look(error, "response")
    if isinstance(response, Mapping):
        told = response.get("ResponseMetadata")  # botocore
        meta: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
        return _status(meta.get("HTTPStatusCode")), meta.get("HTTPHeaders")
    for each in (response, error):
        for name in _STATUSES:
            status = _status(_look(each, name))
            if status is not None:
                return status, _look(response, "headers") or _look(error, "headers")
    return None, None


def _look(each: Any, name: str) -> Any:
    try:
        return getattr(each, name, None)
    except Exception:  # noqa: BLE001 (a property of a stranger's error may raise anything)
        return None


def _status(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _header(headers: Any) -> str | None:
    try:
        pairs = [(str(name), str(value)) for name, value in headers.items()]
    except Exception:  # noqa: BLE001 (a stranger's headers may raise anything; then nobody said when)
        return None
    return next((value for name, value in pairs if name.lower() == "retry-after"), None)
