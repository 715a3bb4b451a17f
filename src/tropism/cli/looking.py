"""Opening a deployment to look at it: what is not there yet is not made."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tropism.app.platform import PORTS, Settings, open_platform
from tropism.ports.platform import Platform


@asynccontextmanager
async def open_to_look(settings: Settings) -> AsyncIterator[Platform]:
    """Open every port of the settings; a store that does not exist yet is empty, and stays away."""
    with elsewhere(settings) as looked:
        async with open_platform(looked) as platform:
            yield platform


@contextmanager
def elsewhere(settings: Settings) -> Iterator[Settings]:
    """Give settings whose local stores that are not there yet, and could be, lie in a temporary folder.

    Those of an older format are not upgraded.
    """
    with TemporaryDirectory(prefix="tropism-") as folder:
        urls = {port: getattr(settings, port) for port in PORTS}
        places = {url: f"{folder}/{number}" for number, url in enumerate(dict.fromkeys(urls.values()))}
        moved: dict[str, Any] = {port: as_it_is(_moved(url, places[url])) for port, url in urls.items()}
        yield replace(settings, **moved)


def as_it_is(url: str) -> str:
    """Return a URL that opens a store of an older format without upgrading it."""
    if url.partition(":")[0] not in {"sqlite", "postgresql", "postgres"}:
        return url
    return f"{url}{'&' if '?' in url else '?'}upgrade=no"


def local_path(url: str) -> Path | None:
    """Return where on this machine something is stored, None if it is not."""
    scheme, _, rest = url.partition("?")[0].partition(":")
    if scheme not in {"sqlite", "file"}:
        return None
    return Path(rest.removeprefix("///") if scheme == "sqlite" else rest)


def _moved(url: str, place: str) -> str:
    path = local_path(url)
    if path is None or path.exists():
        return url
    there = next(parent for parent in path.absolute().parents if parent.exists())
    depth = len(path.absolute().parent.relative_to(there).parts)
    is_database = url.startswith("sqlite:")
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK) or (is_database and depth > 1):
        return url  # opening it says what is wrong
    _, asked, options = url.partition("?")
    return f"sqlite:///{place}.db{asked}{options}" if is_database else f"file:{place}"
