"""Opening adapters by the scheme of a URL."""

import re
from collections.abc import Awaitable, Callable
from importlib.metadata import entry_points
from typing import Any

from tropism.core.errors import InvalidInputError, NotSupportedError

GROUP = "tropism.adapters"

_SECRET = re.compile(r"([^=&]*(?:password|secret|token|key|credential)[^=&]*)=[^&]*", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)([^/@:]*):[^/]*@")


def shown(url: str) -> str:
    """Return a URL as it may be shown: without the password of its user, and settings named like a secret."""
    head, question, query = url.partition("?")
    return _LOGIN.sub(r"\1:***@", head) + question + _SECRET.sub(r"\1=***", query)


async def open_url(url: str) -> Any:
    """Return the adapter that a URL names, found among the entry points of its scheme alone.

    Raises: InvalidInputError if it is no URL; NotSupportedError for an unknown scheme or a missing extra.
    """
    scheme, colon, _ = url.partition(":")
    if not colon or not scheme:
        raise InvalidInputError(
            f"Cannot open {shown(url)!r}: it has no scheme. Write a URL such as 'sqlite:///./.tropism/tropism.db'."
        )
    (*found,) = entry_points(group=GROUP, name=scheme)
    if not found:
        known = sorted({entry.name for entry in entry_points(group=GROUP)})
        raise NotSupportedError(
            f"Cannot open {shown(url)!r}: no adapter is installed for {scheme!r}. Use one of {known}, "
            f"or install the package that brings it."
        )
    try:
        opener: Callable[[str], Awaitable[Any]] = found[0].load()
    except ImportError as error:
        raise NotSupportedError(
            f"Cannot open {shown(url)!r}: its adapter needs {error.name!r}, which is not installed. "
            f"Run pip install 'tropism[{scheme}]'."
        ) from error
    return await opener(url)
