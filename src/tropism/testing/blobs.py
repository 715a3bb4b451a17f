"""The laws of ``Blobs``."""

import asyncio
from collections.abc import Sequence
from hashlib import sha256

from tropism.core.errors import ConflictError, InvalidInputError, NotFoundError
from tropism.ports.blobs import Blobs
from tropism.ports.opening import open_url
from tropism.testing.checks import Check, require_equal, require_raises

_BAD_NAMES = ("", "/", "a//b", "/a", "a/", ".", "..", "a/../b", "a/./b", "a\0b", "a\nb", "x" * 300, "\ud800")


async def check_bytes_return_as_they_were(blobs: Blobs) -> None:
    """``get`` returns the bytes put under a name, none or many, whatever they are."""
    values = {"a": b"", "models/b-1.bin": bytes(range(256)), "c": bytes(3_000_000), "\u00e9 (1)%2F+": b"x"}
    for name, data in values.items():
        await blobs.put(name, data)
    require_equal({name: await blobs.get(name) for name in values}, values, "blobs")


async def check_absent_names_are_not_found(blobs: Blobs) -> None:
    """``get`` of a name nobody put raises NotFoundError, also beside and below others."""
    await blobs.put("a/b", b"1")
    for name in ("x", "a", "a/b/c", "a/x"):
        await require_raises(NotFoundError, blobs.get(name), f"get {name!r}")


async def check_names_may_lie_below_names(blobs: Blobs) -> None:
    """A name may continue another after a slash: both are blobs."""
    await blobs.put("a", b"1")
    await blobs.put("a/b", b"2")
    await blobs.put("a/b/c", b"3")
    require_equal([await blobs.get(name) for name in ("a", "a/b", "a/b/c")], [b"1", b"2", b"3"], "blobs")


async def check_putting_again_changes_nothing(blobs: Blobs) -> None:
    """The same bytes may be put again under their name, at the same time too."""
    await asyncio.gather(*(blobs.put("a", b"1" * 100_000) for _ in range(5)))
    await blobs.put("a", b"1" * 100_000)
    require_equal(await blobs.get("a"), b"1" * 100_000, "the blob")
    require_equal([*await blobs.names()], ["a"], "names")


async def check_other_bytes_are_refused(blobs: Blobs) -> None:
    """Putting other bytes under a name raises ConflictError and leaves what stood there."""
    await blobs.put("a", b"1")
    await require_raises(ConflictError, blobs.put("a", b"2"), "put other bytes")
    require_equal(await blobs.get("a"), b"1", "the blob")


async def check_one_of_many_writers_wins(blobs: Blobs) -> None:
    """Of different bytes put at the same time one stands, whole, and the others are refused."""
    values = [bytes([n]) * 50_000 for n in range(5)]
    outcomes = await asyncio.gather(*(blobs.put("a", data) for data in values), return_exceptions=True)
    won = [data for data, outcome in zip(values, outcomes, strict=True) if outcome is None]
    require_equal([await blobs.get("a")], won, "the blob that stands, and those acknowledged")
    lost = {type(outcome) for outcome in outcomes if outcome is not None}
    require_equal(lost, {ConflictError}, "what the others got")


async def check_names_are_listed_in_order(blobs: Blobs) -> None:
    """``names`` lists the names that begin so, in order, across segments."""
    names = ["a", "a-b", "a/b", "a/c/d", "ab", "b/a", "\u00e9"]
    for name in reversed(names):
        await blobs.put(name, b"1")
    for prefix in ("", "a", "a/", "a/c", "x", "b/a"):
        wanted = [name for name in names if name.startswith(prefix)]
        require_equal([*await blobs.names(prefix)], wanted, f"names with prefix {prefix!r}")


async def check_deleted_names_are_gone(blobs: Blobs) -> None:
    """``delete`` removes names, and no others; absent ones are no error; other bytes may then be put."""
    for name in ("a", "a/b", "c"):
        await blobs.put(name, b"1")
    await blobs.delete(["a", "c", "x", "c/d"])
    await blobs.delete([])
    require_equal([*await blobs.names()], ["a/b"], "names")
    await require_raises(NotFoundError, blobs.get("a"), "get what was deleted")
    await blobs.put("a", b"2")
    require_equal(await blobs.get("a"), b"2", "the blob")


async def check_bad_names_are_refused(blobs: Blobs) -> None:
    """Names with empty, ``.``, ``..``, unprintable or too long segments are refused everywhere."""
    for name in _BAD_NAMES:
        await require_raises(InvalidInputError, blobs.put(name, b"1"), f"put {name!r}")
        await require_raises(InvalidInputError, blobs.get(name), f"get {name!r}")
        await require_raises(InvalidInputError, blobs.delete([name]), f"delete {name!r}")
    require_equal([*await blobs.names()], [], "names")


async def check_content_is_what_its_name_says(blobs: Blobs) -> None:
    """Under ``.../sha256/<digest>`` stand only bytes with that digest."""
    digest = sha256(b"1").hexdigest()
    await require_raises(InvalidInputError, blobs.put(f"models/sha256/{digest}", b"2"), "put other content")
    await blobs.put(f"models/sha256/{digest}", b"1")
    require_equal(await blobs.get(f"models/sha256/{digest}"), b"1", "the blob")


async def check_its_url_opens_the_same(blobs: Blobs) -> None:
    """Where it has a URL, what that opens holds what was put here."""
    await blobs.put("a/b", b"1")
    if blobs.url is not None:
        same: Blobs = await open_url(blobs.url)
        require_equal(await same.get("a/b"), b"1", "the blob")


BLOB_CHECKS: Sequence[Check[Blobs]] = (
    check_bytes_return_as_they_were,
    check_absent_names_are_not_found,
    check_names_may_lie_below_names,
    check_putting_again_changes_nothing,
    check_other_bytes_are_refused,
    check_one_of_many_writers_wins,
    check_names_are_listed_in_order,
    check_deleted_names_are_gone,
    check_bad_names_are_refused,
    check_content_is_what_its_name_says,
    check_its_url_opens_the_same,
)
"""Every law of ``Blobs``: an adapter conforms if each holds."""
