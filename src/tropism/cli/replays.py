"""The replays of a folder: a database file each."""

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tropism.cli.console import print_json, print_table, say
from tropism.core.errors import ConflictError, InvalidInputError, NotFoundError, TropismError
from tropism.core.time import iso
from tropism.ports.opening import open_url

if TYPE_CHECKING:
    from tropism.runtime.replay.manifest import Manifest

FOLDER = Path(".tropism") / "replays"
_PARTS = ("", "-wal", "-shm", ".sock", ".lock")
"""What belongs to a database file; the lock goes last."""


def file_of(name: str) -> Path:
    """Return where a replay is kept. Raises: InvalidInputError for a name that is none."""
    if not name or name.startswith(".") or not all(c.isalnum() or c in "-_." for c in name):
        raise InvalidInputError(
            f"Cannot name a replay {name!r}: it may hold letters, digits, '-', '_' and '.'. "
            f"Choose a name such as 'try-1'."
        )
    return FOLDER / f"{name}.db"


@asynccontextmanager
async def open_replay(name: str) -> AsyncIterator[Any]:
    """Open a replay's store, made where it is missing. Raises: ConflictError if another process has it."""
    file = file_of(name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"Cannot keep replay {name!r}: folder {str(FOLDER)!r} cannot be made ({error.strerror}). "
            f"Run this where you may write."
        ) from error
    store = await open_url(f"sqlite:///{file}?synchronous=normal")
    try:
        if not store.owns:
            raise _busy(name)
        yield store
    finally:
        await store.close()


async def list_replays(*, json: bool) -> None:
    """Print what replays there are."""
    from tropism.runtime.replay.manifest import read_manifest

    found: list[dict[str, Any]] = []
    for file in sorted(FOLDER.glob("*.db")):
        try:
            async with open_replay(file.stem) as store:
                manifest = await read_manifest(store.state)
        except TropismError as error:
            say(str(error))
            continue
        if manifest is not None:
            found.append(_told(file, manifest))
    if json:
        print_json({"replays": found})
    else:
        columns = ("name", "service", "from", "until", "events", "bytes")
        print_table(columns, [list(each.values()) for each in found], none="No replays.")


def _told(file: Path, manifest: "Manifest") -> dict[str, Any]:
    span = manifest.span
    return {
        "name": file.stem,
        "service": manifest.asked.service,
        "from": iso(span.from_us),
        "until": iso(span.until_us),
        "events": span.size,
        "bytes": file.stat().st_size,
    }


def discard_replay(name: str, *, json: bool) -> None:
    """Remove a replay's files. Raises: NotFoundError; ConflictError while a process works at it."""
    file = file_of(name)
    if not file.exists():
        names = sorted(each.stem for each in FOLDER.glob("*.db"))
        remedy = f"Name one of {names}." if names else "There are none here."
        raise NotFoundError(f"Cannot discard replay {name!r}: there is no {str(file)!r}. {remedy}")
    lock = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for part in _PARTS:
            Path(f"{file}{part}").unlink(missing_ok=True)
    except BlockingIOError as error:
        raise _busy(name) from error
    finally:
        os.close(lock)
    if json:
        print_json({"discarded": name})
    else:
        say(f"Replay {name!r} is gone.")


def _busy(name: str) -> ConflictError:
    return ConflictError(
        f"Cannot use replay {name!r}: another process works at it. Wait for it, or stop it with Ctrl-C."
    )
