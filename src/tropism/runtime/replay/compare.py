"""Comparing what a replay told with what was told then: two sorted streams, merged."""

from collections.abc import AsyncIterator, Collection
from hashlib import blake2b
from typing import Any

import msgspec

from tropism.ports.state import Entry, State, Write
from tropism.runtime.replay.pages import Keeper, entries_in
from tropism.runtime.replay.report import Difference, Example
from tropism.runtime.replay.told import ORIGINAL, REPLAYED, Told

_ALONE_BEFORE = "replay/alone/original"
_ALONE_AFTER = "replay/alone/replayed"
_DIGEST_HEX = 32

Pair = tuple[Entry | None, Entry | None]

SCRATCH = (ORIGINAL, REPLAYED, _ALONE_BEFORE, _ALONE_AFTER)
"""What a comparison writes: cleared before each."""


async def compare(state: State, keeper: Keeper, ignore: Collection[str] = ()) -> Difference:
    """Return how the kept outputs differ; fields named in ``ignore`` may."""
    found = Difference()
    async for before, after in _pairs(entries_in(state, ORIGINAL), entries_in(state, REPLAYED)):
        if before is None or after is None:
            await keeper.put(_alone(before, after, ignore))
        else:
            _count_pair(found, before, _told(before), _told(after), ignore)
    await keeper.flush()
    await _match_alone(state, found)
    return found


async def _pairs(left: AsyncIterator[Entry], right: AsyncIterator[Entry]) -> AsyncIterator[Pair]:
    """Yield entries of two streams in order of key, those of one key together."""
    one, other = await anext(left, None), await anext(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.key < other.key):
            yield one, None
            one = await anext(left, None)
        elif one is None or other.key < one.key:
            yield None, other
            other = await anext(right, None)
        else:
            yield one, other
            one, other = await anext(left, None), await anext(right, None)


def _count_pair(found: Difference, entry: Entry, before: Told, after: Told, ignore: Collection[str]) -> None:
    if _content(before, ignore) == _content(after, ignore):
        found.count(after.type, "same")
        return
    found.count(after.type, "changed")
    fields = _changed_fields(before, after, ignore)
    found.show(Example("changed", after.type, after.subject, entry.key, after.cause, fields))


def _alone(before: Entry | None, after: Entry | None, ignore: Collection[str]) -> list[Write]:
    """Return what is kept of an output whose id the other side lacks: under its cause and content."""
    entry = before or after
    assert entry is not None  # noqa: S101 (one of both is)
    told = _told(entry)
    what = msgspec.msgpack.encode((told.cause, _content(told, ignore)))
    digest = blake2b(what, digest_size=_DIGEST_HEX // 2).hexdigest()
    namespace = _ALONE_AFTER if before is None else _ALONE_BEFORE
    return [Write(namespace, f"{digest}/{entry.key}", entry.value)]


async def _match_alone(state: State, found: Difference) -> None:
    """Count those that have their like under another id as moved, and the others as missing or new."""
    left, right = entries_in(state, _ALONE_BEFORE), entries_in(state, _ALONE_AFTER)
    one, other = await anext(left, None), await anext(right, None)
    while one is not None or other is not None:
        mine, theirs = _digest(one), _digest(other)
        if other is not None and mine == theirs:
            found.count(_told(other).type, "moved")
            one, other = await anext(left, None), await anext(right, None)
        elif one is not None and mine < theirs:
            _count_alone(found, "missing", one)
            one = await anext(left, None)
        elif other is not None:
            _count_alone(found, "new", other)
            other = await anext(right, None)


def _count_alone(found: Difference, kind: Any, entry: Entry) -> None:
    told = _told(entry)
    found.count(told.type, kind)
    id = entry.key.partition("/")[2]
    found.show(Example(kind, told.type, told.subject, id, told.cause))


def _digest(entry: Entry | None) -> str:
    """Return what entries are matched by; nothing comes behind all."""
    return "~" if entry is None else entry.key[:_DIGEST_HEX]


def _told(entry: Entry) -> Told:
    return msgspec.msgpack.decode(entry.value, type=Told)


def _content(told: Told, ignore: Collection[str]) -> tuple[str, str, bytes]:
    """Return what makes two outputs the same: type, key, and data, in whatever order its fields stand."""
    fields = _fields(told.data)
    if isinstance(fields, dict):
        fields = {name: value for name, value in fields.items() if name not in ignore}
    data = told.data if fields is None else msgspec.json.encode(fields, order="deterministic")
    return told.type, told.subject, data


def _fields(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _changed_fields(before: Told, after: Told, ignore: Collection[str]) -> dict[str, tuple[Any, Any]]:
    old, new = _fields(before.data), _fields(after.data)
    if not isinstance(old, dict) or not isinstance(new, dict):
        return {}
    names = [name for name in (*old, *(set(new) - set(old))) if name not in ignore]
    return {
        n: (old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n) or (n in old) != (n in new)
    }
