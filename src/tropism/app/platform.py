"""Opening a platform from URLs."""

import os
import tomllib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from tropism.core.errors import InvalidInputError, NotSupportedError
from tropism.ports.clock import Clock
from tropism.ports.opening import open_url, without_secrets
from tropism.ports.platform import Platform


@dataclass(frozen=True, slots=True)
class Settings:
    """The URL of every port; the defaults are embedded, under ``./.tropism/``.

    Read from a file or variables, ``queue`` is where ``state`` is, if queues can be there, unless it is set.
    """

    log: str = "sqlite:///./.tropism/tropism.db"
    queue: str = "sqlite:///./.tropism/tropism.db"
    state: str = "sqlite:///./.tropism/tropism.db"
    blobs: str = "file:./.tropism/blobs"
    compute: str = "process:"
    outbox: tuple[str, ...] = ()
    """Databases in which other programs leave events to be published."""


_WITHOUT_QUEUES = {"kafka", "nats"}

PORTS = tuple(field.name for field in fields(Settings) if field.name != "outbox")


def read_settings(folder: Path = Path(), environment: Mapping[str, str] | None = None) -> Settings:
    """Return the URLs of ``tropism.toml`` in a folder, overridden by ``TROPISM_*`` variables.

    Raises: InvalidInputError if the file is no TOML, names an unknown port, or sets one to no text.
    """
    path = folder / "tropism.toml"
    found: dict[str, Any] = {}
    if path.exists():
        try:
            found = tomllib.loads(path.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InvalidInputError(f"Cannot read {str(path)!r}: {error}. Mend the file.") from error
        except OSError as error:  # such as a folder of that name
            raise InvalidInputError(
                f"Cannot read {str(path)!r}: {error.strerror}. Make it a file that you may read."
            ) from error
    outbox = _outbox(path, found.pop("outbox", ()))
    unknown = sorted(set(found) - set(PORTS) - {"app"})
    if unknown:
        raise InvalidInputError(
            f"Cannot read {str(path)!r}: it sets {unknown[0]!r}, which is no port. Set some of {list(PORTS)}."
        )
    wrong = sorted(name for name, value in found.items() if not isinstance(value, str))
    if wrong:
        raise InvalidInputError(
            f"Cannot read {str(path)!r}: {wrong[0]} is {found[wrong[0]]!r}, which is no text. "
            f"Put it between quotes."
        )
    variables = os.environ if environment is None else environment
    for port in PORTS:
        url = variables.get(f"TROPISM_{port.upper()}")
        if url:
            found[port] = url
    named = variables.get("TROPISM_OUTBOX", "").split()
    if "state" in found and found["state"].partition(":")[0] not in _WITHOUT_QUEUES:
        found.setdefault("queue", found["state"])
    chosen = {port: found[port] for port in PORTS if port in found}
    return replace(Settings(), **chosen, outbox=tuple(named) or outbox)


def _outbox(path: Path, found: Any) -> tuple[str, ...]:
    """Return the URLs of outboxes: one, several, or those that a table calls urls."""
    if isinstance(found, dict) and set(found) == {"urls"}:
        found = found["urls"]
    urls = [found] if isinstance(found, str) else found
    if not isinstance(urls, list | tuple) or not all(isinstance(url, str) for url in urls):
        raise InvalidInputError(
            f"Cannot read {str(path)!r}: outbox is neither a URL nor a list of them. "
            f'Write outbox = ["postgresql://user@host/database"].'
        )
    return tuple(urls)


@asynccontextmanager
async def open_platform(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Platform]:
    """Open every port of the settings, each URL once, and close them at the end.

    Raises: NotSupportedError for an unknown scheme or a missing extra; what the adapter raises.
    """
    from tropism.adapters.local.clock import SystemClock  # noqa: PLC0415 (looked up like the others)

    async with AsyncExitStack() as stack:
        opened: dict[str, Any] = {}
        urls: dict[str, str] = {port: getattr(settings, port) for port in PORTS}
        for url in dict.fromkeys(urls.values()):
            opened[url] = adapter = await open_url(url)
            close = getattr(adapter, "close", None)
            if close is not None:
                stack.push_async_callback(close)
        ports = {port: port_of(opened[url], port, url) for port, url in urls.items()}
        yield Platform(**ports, clock=clock or SystemClock())


def port_of(adapter: Any, port: str, url: str) -> Any:
    """Return the part of an adapter that serves a port: an attribute of that name, or itself."""
    part = getattr(adapter, port, None)
    if part is not None:
        return part
    needed = {"blobs": "put", "compute": "run", "log": "append", "queue": "receive", "state": "commit"}[port]
    if hasattr(adapter, needed):
        return adapter
    raise NotSupportedError(
        f"Cannot use {without_secrets(url)!r} as {port}: its adapter has none. Choose another URL for it."
    )
