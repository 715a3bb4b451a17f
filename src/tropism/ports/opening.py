"""Opening adapters by the scheme of a URL."""

import re
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import Any

from tropism.core.errors import InvalidInputError, NotSupportedError

GROUP = "tropism.adapters"


def masked(url: str) -> str:
    """Return a URL as it may be told: without the user and password that it may name."""
    without_user = re.sub(r"//(?:[^/?#@]+:.*|[^/?#]*)@", "//***@", url)
    return re.sub(r"(?i)([?&][^=&]*(?:password|passwd|secret|token)[^=&]*=)[^&]*", r"\1***", without_user)


async def open_url(url: str) -> Any:
    """Return the adapter that a URL names, found among the entry points of its scheme alone.

    Raises: InvalidInputError if it is no URL; NotSupportedError for an unknown scheme or a missing extra.
    """
    scheme, colon, _ = url.partition(":")
    if not colon or not scheme:
        raise InvalidInputError(
            f"Cannot open {masked(url)!r}: it has no scheme. Write a URL such as 'sqlite:///./.tropism/tropism.db'."
        )
    (*found,) = entry_points(group=GROUP, name=scheme)
    if not found:
        known = sorted({entry.name for entry in entry_points(group=GROUP)})
        raise NotSupportedError(
            f"Cannot open {masked(url)!r}: no adapter is installed for {scheme!r}. Use one of {known}, "
            f"or install the package that brings it."
        )
    try:
        opener: Callable[[str], Awaitable[Any]] = found[0].load()
    except ImportError as error:
        raise NotSupportedError(
            f"Cannot open {masked(url)!r}: its adapter needs {error.name!r}, which is not installed. "
            f"Run pip install 'tropism[{scheme}]'."
        ) from error
    return await opener(url)
