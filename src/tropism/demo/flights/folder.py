"""The folder of a run: its own, gone on with or begun anew, and in one process at a time."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import msgspec

from tropism.core.errors import ConflictError, InvalidInputError

LOCK = "run.lock"
MANIFEST = "run.json"


class Manifest(msgspec.Struct):
    """What a folder holds, so that an interrupted run goes on and another one starts anew."""

    until_us: int
    seed: int
    policy: str
    finished: bool = False


@contextmanager
def held(folder: Path, manifest: Manifest) -> Iterator[None]:
    """Hold a folder: as it was left if that run was the same and unfinished, else empty.

    Raises: ConflictError if it holds anything else, or another process runs there; InvalidInputError if it
    cannot be written to.
    """
    _check(folder)
    path = folder / MANIFEST
    with _locked(folder):
        if _read(path) != manifest:
            _empty(folder)
        path.write_bytes(msgspec.json.encode(manifest))
        yield
        manifest.finished = True
        path.write_bytes(msgspec.json.encode(manifest))


def _check(folder: Path) -> None:
    """Refuse what a run did not make: what is there would be lost."""
    if not folder.exists() or (folder / MANIFEST).exists():
        return
    if not folder.is_dir() or any(each.name != LOCK for each in folder.iterdir()):
        fact = "it holds files of something else" if folder.is_dir() else "it is a file"
        raise ConflictError(f"Cannot run in {str(folder)!r}: {fact}. Choose another --folder.")


def _locked(folder: Path) -> TextIO:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    except OSError as error:
        raise InvalidInputError(
            f"Cannot run in {str(folder)!r}: {error.strerror or error}. Choose another --folder."
        ) from error
    try:
        # A lock that no child inherits: who is killed leaves the folder free.
        fcntl.lockf(lock.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise ConflictError(
            f"Cannot run in {str(folder)!r}: another process runs there. Choose another --folder."
        ) from error
    return lock


def _read(path: Path) -> Manifest | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None


def _empty(folder: Path) -> None:
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        elif each.name not in {LOCK, MANIFEST}:
            each.unlink()
