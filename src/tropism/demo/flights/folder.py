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
STORE = "flights.db"
BLOBS = "blobs"
_DRAFT = f"{MANIFEST}.draft"
_FILES = {
    LOCK,
    MANIFEST,
    _DRAFT,
    STORE,
    *(f"{STORE}{end}" for end in ("-wal", "-shm", "-journal", ".lock", ".sock")),
}
"""All that a run makes in its folder beside the folder of artifacts."""


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What a folder holds, so that an interrupted run goes on and another one starts anew."""

    until_us: int
    seed: int
    policy: str
    finished: bool = False


@contextmanager
def held(folder: Path, manifest: Manifest) -> Iterator[bool]:
    """Hold a folder: as it was left if that run was the same and unfinished, which is said, else empty.

    Raises: ConflictError if it holds anything else, or another process runs there; InvalidInputError if it
    cannot be written to.
    """
    check(folder)
    path = folder / MANIFEST
    with _locked(folder):
        resumed = _read(path) == manifest
        if not resumed:
            _empty(folder)
        _write(folder, manifest)
        yield resumed
        manifest.finished = True
        _write(folder, manifest)


def check(folder: Path) -> None:
    """Refuse what a run did not make: what is there would be lost. Raises: ConflictError."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ConflictError(f"Cannot run in {str(folder)!r}: it is a file. Choose another --folder.")
    names = {each.name for each in folder.iterdir()}
    begun = _read(folder / MANIFEST) is not None
    if not all(map(_is_ours, folder.iterdir())) or not (begun or names <= {LOCK, _DRAFT}):
        raise ConflictError(
            f"Cannot run in {str(folder)!r}: it holds files of something else. Choose another --folder."
        )


def _is_ours(path: Path) -> bool:
    """Say whether a run makes something of that name and kind."""
    if path.is_symlink():
        return False
    return path.name == BLOBS if path.is_dir() else path.name in _FILES


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


def _write(folder: Path, manifest: Manifest) -> None:
    # In one step: a torn manifest would make the folder look like somebody else's.
    draft = folder / _DRAFT
    draft.write_bytes(msgspec.json.encode(manifest))
    draft.replace(folder / MANIFEST)


def _empty(folder: Path) -> None:
    """Delete what a run made, and nothing else."""
    if (folder / BLOBS).is_dir():
        shutil.rmtree(folder / BLOBS)
    for name in sorted(_FILES - {LOCK, MANIFEST}):
        (folder / name).unlink(missing_ok=True)
