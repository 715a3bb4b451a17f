"""What may name a blob, and what may be run as a job: the same rules for every adapter."""

import sys
from collections.abc import Callable
from typing import Any

from tropism.core.errors import InvalidInputError

_NAME_BYTES_MAX = 900
_SEGMENT_BYTES_MAX = 200


def check_blob_name(name: str) -> None:
    """Refuse names that a folder or an object store could not keep, or that point elsewhere.

    Raises: InvalidInputError.
    """
    segments = name.split("/")
    bad = any(segment in ("", ".", "..") or not _storable(segment) for segment in segments)
    if bad or len(name.encode(errors="replace")) > _NAME_BYTES_MAX:
        raise InvalidInputError(
            f"Cannot use blob name {name!r}: it has an empty, '.', '..', unprintable or too long segment. "
            f"Write it like 'models/sha256/ab12'."
        )


def _storable(segment: str) -> bool:
    return segment.isprintable() and "\\" not in segment and len(segment.encode()) <= _SEGMENT_BYTES_MAX


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


def describe_error(error: BaseException) -> str:
    """Return an exception as text that crosses processes: its type and message."""
    return f"{type(error).__name__}: {error}".rstrip(". ")


def job_failed(name: str, text: str) -> InvalidInputError:
    """Return what ``Compute.run`` raises when a job raised."""
    return InvalidInputError(f"Cannot finish job {name!r}: it raised {text}. Mend the job or its payload.")


def load_function(name: str) -> Any:
    """Return the function that ``function_name`` named."""
    module, _, attribute = name.partition(":")
    __import__(module)
    return getattr(sys.modules[module], attribute)
