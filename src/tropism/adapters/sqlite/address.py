"""Where a database, its lock and its socket are."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tropism.core.errors import InvalidInputError

_SCHEME = "sqlite:///"
_OPTIONS = {"synchronous=full", "synchronous=normal", "upgrade=no"}
_ADDRESS_BYTES_MAX = 100  # of 104 to 108, by system


def path_of(url: str) -> Path:
    """Return the file that a URL names: ``sqlite:///./relative.db`` or ``sqlite:////absolute.db``.

    Raises: InvalidInputError.
    """
    name = url.partition("?")[0].removeprefix(_SCHEME)
    if not url.startswith(_SCHEME) or not name or name.endswith("/") or name == ":memory:":
        raise InvalidInputError(
            f"Cannot open {url!r}: it names no database file. "
            f"Write 'sqlite:///./.tropism/tropism.db', or 'memory:' to keep nothing."
        )
    return Path(name)


class Options(NamedTuple):
    """What a URL says behind the file's name: whether commits are synced, and an older format upgraded."""

    synced: bool = True
    upgrade: bool = True


def options_of(url: str) -> Options:
    """Return what a URL says beside the file. Raises: InvalidInputError for what is no option."""
    _, asked, text = url.partition("?")
    pairs = text.split("&") if asked else []
    unknown = [pair for pair in pairs if pair not in _OPTIONS]
    if unknown:
        raise InvalidInputError(
            f"Cannot open {url!r}: {unknown[0]!r} is no option of a database file. "
            f"Leave it out, or write '?synchronous=normal' where a power loss may take the last moments."
        )
    return Options("synchronous=normal" not in pairs, "upgrade=no" not in pairs)


def is_synced(url: str) -> bool:
    """Say whether every commit is synced to the disk: yes, unless ``?synchronous=normal`` says no.

    Raises: InvalidInputError for what is no option.
    """
    return options_of(url).synced


def prepare_folder(path: Path) -> Path:
    """Return a database's absolute path, its folder made where only that is missing.

    Raises: InvalidInputError if the folder cannot be made or not be written to.
    """
    folder = path.parent
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"Cannot open database {str(path)!r}: its folder cannot be made ({error.strerror}). "
            f"Create {str(folder)!r}, or name another."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK) or path.is_dir():
        fact = "it is a folder" if path.is_dir() else "its folder is not writable"
        raise InvalidInputError(
            f"Cannot open database {str(path)!r}: {fact}. Name a file in a folder you may write to."
        )
    return path.resolve()


def lock_path(path: Path) -> Path:
    """Return the file whose lock means owning the database."""
    return path.with_name(f"{path.name}.lock")


def socket_path(path: Path) -> Path:
    """Return the socket that the owner serves."""
    return path.with_name(f"{path.name}.sock")


def bind(path: Path) -> socket.socket:
    """Return the owner's listening socket, open to this user alone."""
    name = socket_path(path)
    # Left behind by an owner that was killed: we hold the lock, so nobody serves it.
    name.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    try:
        with _short(name) as address:
            listening.bind(address)
        name.chmod(0o600)
        listening.listen(128)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def connect(path: Path) -> socket.socket:
    """Return a connection to the owner. Raises: OSError if nobody serves."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        with _short(socket_path(path)) as address:
            connection.connect(address)
        connection.setblocking(False)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield an address for a socket: a long path is written through a handle on its folder."""
    if len(os.fsencode(path)) <= _ADDRESS_BYTES_MAX:
        yield str(path)
        return
    if not Path("/proc/self/fd").is_dir():
        raise InvalidInputError(
            f"Cannot serve {str(path)!r}: this system takes at most {_ADDRESS_BYTES_MAX} bytes for a "
            f"socket's path. Move the database to a folder with a shorter path."
        )
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
