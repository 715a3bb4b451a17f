"""Opening adapters by the scheme of a URL."""

import re
from collections.abc import Awaitable, Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from tropism.core.errors import InvalidInputError, NotSupportedError

GROUP = "tropism.adapters"

# As much as may belong to it: a password in which '@' or '/' was not written as it should be is hidden too.
# Without a colon, what stands before the '@' may be a token as well as a name.
_LOGIN = re.compile(r"(?<=://)(?:([^:@/?#]*:).*|[^/?#]*)@")
_SETTING = re.compile(r"(?<=[?&])([^=&]*(?:passw|secret|token|key|credential)[^=&]*)=[^&]*", re.IGNORECASE)


def without_secrets(url: str) -> str:
    """Return a URL as it may be shown: what may be a password is left out."""
    return _SETTING.sub(r"\1=***", _LOGIN.sub(lambda found: f"{found[1] or ''}***@", url))


async def open_url(url: str) -> Any:
    """Return the adapter that a URL names, found among the entry points of its scheme alone.

    Raises: InvalidInputError if it is no URL; NotSupportedError for an unknown scheme or a missing extra.
    """
    scheme, colon, _ = url.partition(":")
    if not colon or not scheme:
        raise InvalidInputError(
            f"Cannot open {without_secrets(url)!r}: it has no scheme. Write a URL such as 'sqlite:///./.tropism/tropism.db'."
        )
    (*found,) = entry_points(group=GROUP, name=scheme)
    if not found:
        known = sorted({entry.name for entry in entry_points(group=GROUP)})
        raise NotSupportedError(
            f"Cannot open {without_secrets(url)!r}: no adapter is installed for {scheme!r}. "
            f"Use one of {known}, or install the package that brings it."
        )
    try:
        opener: Callable[[str], Awaitable[Any]] = found[0].load()
    except ImportError as error:
        raise NotSupportedError(
            f"Cannot open {without_secrets(url)!r}: its adapter needs {error.name!r}, which is not "
            f"installed. Run pip install 'tropism[{_extra_of(found[0])}]'."
        ) from error
    return await opener(url)


def _extra_of(entry: EntryPoint) -> str:
    """Return the extra that an adapter needs: ours are called as their modules are, whatever the scheme."""
    ours = entry.module.startswith("tropism.adapters.")
    return entry.module.rpartition(".")[2] if ours else entry.name
