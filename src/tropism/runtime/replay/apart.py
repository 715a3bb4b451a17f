"""A platform for a replay: it reads what the live one holds, and changes nothing of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

from tropism.core.errors import NotSupportedError
from tropism.ports.blobs import Blobs
from tropism.ports.log import Log
from tropism.ports.platform import Platform
from tropism.ports.state import State


class ReadBlobs:
    """``Blobs`` that can be read only."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    @property
    def url(self) -> str | None:
        """None: whoever opened that could write."""
        return None

    async def put(self, name: str, data: bytes) -> None:
        """Refuse it."""
        del data
        _refuse(f"store blob {name!r}")

    async def get(self, name: str) -> bytes:
        """Return the bytes under a name."""
        return await self._blobs.get(name)

    async def names(self, prefix: str = "") -> Sequence[str]:
        """Return the names that begin so."""
        return await self._blobs.names(prefix)

    async def delete(self, names: Sequence[str]) -> None:
        """Refuse it."""
        _refuse(f"delete blobs {list(names)!r}")


class Refused:
    """A port that a replay does not have."""

    def __init__(self, port: str) -> None:
        self._port = port

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse whatever is asked of it."""
        _refuse(f"use {self._port!r} for {name!r}")


def apart(platform: Platform, log: Log, state: State) -> Platform:
    """Return a platform with a log and a state of a replay's own, which changes nothing of the live one."""
    queue: Any = Refused("queue")
    compute: Any = Refused("compute")
    blobs = ReadBlobs(platform.blobs)
    return replace(platform, log=log, state=state, blobs=blobs, queue=queue, compute=compute)


def _refuse(what: str) -> NoReturn:
    raise NotSupportedError(
        f"Cannot {what}: this is a replay, which makes nothing happen. Let the resource tell what it did."
    )
