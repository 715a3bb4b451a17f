"""Blobs as files."""

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from urllib.parse import quote, unquote

from tropism.adapters.names import check_blob_name, check_content, is_intact, no_blob, other_bytes
from tropism.core.errors import CorruptError, InvalidInputError, UnavailableError

_DRAFTS = ".drafts"
_SUFFIX = "%"  # never ends a quoted segment, so that 'a' and 'a/b' can both be blobs


class FileBlobs:
    """``Blobs`` in a folder, a file each; several processes may use it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    async def open(cls, folder: Path) -> "FileBlobs":
        """Open a folder, made where it is missing. Raises: InvalidInputError if it cannot be written to."""
        return cls(await asyncio.to_thread(_prepare, folder))

    @property
    def url(self) -> str | None:
        """By which another process opens the same folder."""
        return f"file:{self._folder.absolute()}"

    async def put(self, name: str, data: bytes) -> None:
        """Store bytes under a name."""
        check_blob_name(name)
        check_content(name, data)
        await asyncio.to_thread(self._put, name, data)

    async def get(self, name: str) -> bytes:
        """Return the bytes under a name. Raises: CorruptError if they are not what the name says."""
        check_blob_name(name)
        data = await asyncio.to_thread(self._get, name)
        if data is None:
            raise no_blob(name)
        if not is_intact(name, data):
            raise CorruptError(
                f"Cannot get blob {name!r}: its bytes have another SHA-256. "
                f"Restore {str(self._file(name))!r} from a backup, or delete it and store it again."
            )
        return data

    async def names(self, prefix: str = "") -> Sequence[str]:
        """Return the names that begin so."""
        return await asyncio.to_thread(self._names, prefix)

    async def delete(self, names: Sequence[str]) -> None:
        """Remove names; absent ones are no error."""
        for name in names:
            check_blob_name(name)
        await asyncio.to_thread(self._delete, names)

    async def close(self) -> None:
        """Do nothing: no file stays open."""

    def _put(self, name: str, data: bytes) -> None:
        file, draft = self._file(name), self._folder / _DRAFTS / token_hex(16)
        with _translated(f"put blob {name!r}"):
            try:
                _write(draft, data)
                self._make_folders(file.parent)
                # A link, not a rename: it never takes the place of other bytes.
                os.link(draft, file)
            except FileExistsError:
                if file.read_bytes() != data:
                    raise other_bytes(name) from None
            finally:
                draft.unlink(missing_ok=True)
            _sync(file.parent)

    def _get(self, name: str) -> bytes | None:
        with _translated(f"get blob {name!r}"):
            try:
                return self._file(name).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def _names(self, prefix: str) -> list[str]:
        with _translated("list blobs"):
            files = [Path(folder) / file for folder, _, names in os.walk(self._folder) for file in names]
        parts = [file.relative_to(self._folder).parts for file in files if file.name.endswith(_SUFFIX)]
        names = ("/".join(map(unquote, (*folders, file.removesuffix(_SUFFIX)))) for *folders, file in parts)
        return sorted(name for name in names if name.startswith(prefix))

    def _delete(self, names: Sequence[str]) -> None:
        for name in names:
            file = self._file(name)
            with _translated(f"delete blob {name!r}"):
                file.unlink(missing_ok=True)
                if file.parent.is_dir():
                    _sync(file.parent)

    def _file(self, name: str) -> Path:
        # A leading dot is quoted too: nothing meets the drafts, and nothing is hidden.
        parts = [
            quote(part, safe=" +=@,").replace(".", "%2E", part.startswith(".")) for part in name.split("/")
        ]
        return self._folder.joinpath(*parts[:-1], parts[-1] + _SUFFIX)

    def _make_folders(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _prepare(folder: Path) -> Path:
    folder = folder.absolute()
    drafts = folder / _DRAFTS
    fact = "it is not writable"
    try:
        drafts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fact = error.strerror or fact
    if not os.access(drafts, os.W_OK | os.X_OK):
        raise InvalidInputError(
            f"Cannot open blobs in {str(folder)!r}: {fact}. Name a folder you may write to."
        )
    return folder


def _write(file: Path, data: bytes) -> None:
    with file.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    """Make a folder's new and removed names durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UnavailableError(
            f"Cannot {what}: {error.strerror}. Check the disk and its free space, then try again."
        ) from error
