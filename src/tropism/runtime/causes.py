"""Why calls of handlers fail, in words."""

from asyncio import CancelledError

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


def failure_of(handler: Handler, error: BaseException, *, overdue: bool, leaving: bool) -> Exception | None:
    """Return the failure of a call that raised what is no Exception; None if it is nobody's failure.

    ``overdue`` calls were cancelled for taking too long; where all is ``leaving``, they are given up.
    """
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return None
    if not isinstance(error, CancelledError):
        # Such as a panic in an extension: the process goes on, and so must the key.
        return broken(handler, error)
    if overdue:
        return hung(handler)
    # Where nobody cancelled this call, what it waited for was.
    return None if leaving else cancelled(handler)


def told(error: Exception) -> str:
    """Return how a failed call ended, in a line that is kept with the attempt."""
    return f"{type(error).__name__}: {text_of(error)}"[:500]
