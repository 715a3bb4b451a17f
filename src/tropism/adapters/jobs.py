"""What may be run as a job, and how it fails: the same rules for every adapter."""

import sys
from collections.abc import Callable
from importlib import import_module

from tropism.core.errors import InvalidInputError, UnavailableError


def function_name(function: Callable[[bytes], bytes]) -> str:
    """Return ``module:name`` of a job's function, by which another process finds it.

    Raises: InvalidInputError if nobody else could find it: a lambda, a nested function, a method, or
    something defined in the main program.
    """
    module = getattr(function, "__module__", None) or "?"
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not function:
        raise InvalidInputError(
            f"Cannot run job {f'{module}:{name}'!r}: another process could not import it. "
            f"Define it with 'def' at the top level of an importable module."
        )
    return f"{module}:{name}"


def call_by_name(name: str, payload: bytes) -> bytes:
    """Import the function that ``function_name`` named, and return what it makes of the payload."""
    module, _, attribute = name.partition(":")
    return checked(getattr(import_module(module), attribute)(payload))


def checked(result: object) -> bytes:
    """Return a job's result. Raises: TypeError if it is not bytes."""
    if not isinstance(result, bytes):
        raise TypeError(f"it returned {type(result).__name__}, not bytes")
    return result


def describe_error(error: BaseException) -> str:
    """Return an exception as text that crosses processes: its type and message."""
    return f"{type(error).__name__}: {error}".rstrip(". \n")


def job_failed(name: str, text: str) -> InvalidInputError:
    """Return what ``Compute.run`` raises when a job raised."""
    return InvalidInputError(f"Cannot finish job {name!r}: it raised {text}. Mend the job or its payload.")


def job_late(name: str, timeout_seconds: float) -> UnavailableError:
    """Return what ``Compute.run`` raises when a job took too long."""
    return UnavailableError(
        f"Cannot finish job {name!r}: it took longer than {timeout_seconds:g} seconds. "
        f"Raise its 'timeout_seconds', or give it less to do."
    )
