"""Why calls of handlers fail, in words."""

from tropism.core.errors import UnavailableError, text_of
from tropism.runtime.handler import Handler


def hung(handler: Handler) -> UnavailableError:
    """Return the failure of a call that took too long."""
    return UnavailableError(
        f"Cannot finish handler {handler.name!r}: it took longer than {handler.timeout_seconds:g} s. "
        f"Make it faster, or raise timeout_seconds."
    )


def cancelled(handler: Handler) -> UnavailableError:
    """Return the failure of a call that was cancelled by no one of ours."""
    return UnavailableError(
        f"Cannot finish handler {handler.name!r}: something that it waited for was cancelled. "
        f"Catch the cancellation where it happens."
    )


def broken(handler: Handler, error: BaseException) -> UnavailableError:
    """Return the failure of a call that raised what is no Exception."""
    return UnavailableError(
        f"Cannot finish handler {handler.name!r}: it raised {type(error).__name__}, which is no Exception. "
        f"Catch it where it happens."
    )


def told(error: Exception) -> str:
    """Return how a failed call ended, in a line that is kept with the attempt."""
    return f"{type(error).__name__}: {text_of(error)}"[:500]
