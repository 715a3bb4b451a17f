"""Files that hold blobs: whole, durable, and safe from each other's names."""

import asyncio
import os
from hashlib import sha256

import pytest

from tropism.adapters.local import FileBlobs, open_file
from tropism.core.errors import CorruptError, InvalidInputError, UnavailableError


@pytest.mark.parametrize("url", ["file:", "file://host/x", "./x"])
def test_wrong_urls(url):
    """A URL that names no folder is refused, with one that does."""
    with pytest.raises(InvalidInputError, match=r"Write 'file:\./.tropism/blobs'"):
        asyncio.run(open_file(url))


def test_a_folder_that_is_a_file(tmp_path):
    """A folder that cannot be made is named, with the fact."""
    (tmp_path / "x").write_text("")
    with pytest.raises(InvalidInputError, match="Name a folder you may write to"):
        asyncio.run(open_file(f"file:{tmp_path}/x"))


def test_bytes_that_changed_are_found(tmp_path):
    """A content-addressed blob whose file was damaged raises CorruptError, with the file to restore."""
    data = b"weights"
    name = f"models/sha256/{sha256(data).hexdigest()}"

    async def damage():
        blobs = await open_file(f"file:{tmp_path}")
        await blobs.put(name, data)
        (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
        file.write_bytes(b"other")
        with pytest.raises(CorruptError, match=r"Restore .* from a backup"):
            await blobs.get(name)

    asyncio.run(damage())


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    """What cannot be written raises UnavailableError, is not there, and leaves no draft."""

    def full(_):
        raise OSError(28, "No space left on device")

    async def fill():
        blobs = await FileBlobs.open(tmp_path)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UnavailableError, match=r"No space left on device\. Check the disk"):
            await blobs.put("a/b", b"1")
        monkeypatch.undo()
        assert await blobs.names() == []
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
        await blobs.put("a/b", b"1")
        assert await blobs.get("a/b") == b"1"

    asyncio.run(fill())


def test_nothing_lies_outside_the_folder(tmp_path):
    """Names that look like paths, drafts or hidden files stay inside, and what is not a blob is not listed."""

    async def put():
        blobs = await FileBlobs.open(tmp_path / "blobs")
        names = [".drafts/x", ".hidden", "a%2Fb", "C:", "~", "a b"]
        for name in names:
            await blobs.put(name, name.encode())
        (tmp_path / "blobs" / "readme.txt").write_text("not a blob")
        assert await blobs.names() == sorted(names)
        assert [await blobs.get(name) for name in names] == [name.encode() for name in names]
        assert [path.name for path in tmp_path.iterdir()] == ["blobs"]

    asyncio.run(put())
