"""The laws of ``State``, in one commit domain with a ``Log``."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Protocol

from tropism.core.envelope import Record
from tropism.core.errors import ConflictError, FencedError, InvalidInputError
from tropism.ports.log import Log
from tropism.ports.state import Commit, Lease, Position, State, Write
from tropism.testing.checks import BrokenLaw, Check, require, require_equal, require_raises, settle
from tropism.testing.log import read_all, record

LEASE_SECONDS = 60.0


class Store(Protocol):
    """A state, and the log that its commits include."""

    @property
    def log(self) -> Log:
        """Where outputs go."""
        ...

    @property
    def state(self) -> State:
        """What is checked."""
        ...


async def lease_of(state: State, consumer: str = "c", holder: str = "h") -> Lease:
    """Return a consumer's lease, for long."""
    return (await state.acquire(consumer, holder, lease_seconds=LEASE_SECONDS))[0]


async def _commit(
    state: State, lease: Lease, *writes: Write, cursor: bytes = b"1", outputs: Iterable[Record] = ()
) -> None:
    await state.commit(Commit(lease, Position(cursor, 7), writes, list(outputs)))


async def _keys(state: State, namespace: str = "n") -> list[str]:
    return [entry.key for entry in await state.scan(namespace)]


async def _output_ids(store: Store) -> list[str]:
    pages = (await read_all(store.log)).values()
    return sorted(stored.record.id for page in pages for stored in page)


async def _require_untouched(store: Store, cursor: bytes | None = None) -> None:
    require_equal(await _keys(store.state), [], "keys written")
    require_equal(await _output_ids(store), [], "outputs")
    require_equal([position.cursor for _, position in await store.state.positions()], [cursor], "cursor")


async def check_get_answers_in_order(store: Store) -> None:
    """``get`` returns values in the order asked, None where there is none; an empty value is a value."""
    lease = await lease_of(store.state)
    await _commit(store.state, lease, Write("n", "a", b"1"), Write("n", "", b""), Write("n", "b", b"\0\xff"))
    found = list(await store.state.get("n", ["b", "x", "a", "", "b"]))
    require_equal(found, [b"\0\xff", None, b"1", b"", b"\0\xff"], "values")
    require_equal(list(await store.state.get("n", [])), [], "no keys")


async def check_writes_replace_and_delete(store: Store) -> None:
    """A write replaces a value, None deletes it; in one commit the last write of a key holds."""
    lease = await lease_of(store.state)
    await _commit(store.state, lease, Write("n", "a", b"1"), Write("n", "b", b"1"), Write("n", "c", b"1"))
    await _commit(store.state, lease, Write("n", "a", b"2"), Write("n", "b", None), Write("n", "x", None))
    require_equal(list(await store.state.get("n", ["a", "b", "c"])), [b"2", None, b"1"], "values")
    await _commit(store.state, lease, Write("n", "a", None), Write("n", "a", b"3"), Write("n", "c", b"9"))
    await _commit(store.state, lease, Write("n", "c", b"2"), Write("n", "c", None), Write("n", "d", b"1"))
    require_equal(list(await store.state.get("n", ["a", "c", "d"])), [b"3", None, b"1"], "values")
    require_equal(await _keys(store.state), ["a", "d"], "keys")


async def check_namespaces_are_apart(store: Store) -> None:
    """A key in one namespace says nothing about it in another."""
    lease = await lease_of(store.state)
    await _commit(store.state, lease, Write("n", "a", b"1"), Write("m", "a", b"2"), Write("m", "b", b"2"))
    await _commit(store.state, lease, Write("m", "a", None))
    require_equal(list(await store.state.get("n", ["a", "b"])), [b"1", None], "values of one")
    require_equal((await _keys(store.state), await _keys(store.state, "m")), (["a"], ["b"]), "keys")


async def check_scan_is_in_order_of_code_points(store: Store) -> None:
    """``scan`` returns entries in order of key by code points, each once, with value and expiry."""
    keys = ["", "A", "a", "a\0", "a0", "b", "\u00e9", "\ud7ff", "\uffff", "\U0001f6eb", "\U0010ffff"]
    lease = await lease_of(store.state)
    for key in keys[::2] + keys[1::2]:
        await _commit(store.state, lease, Write("n", key, key.encode(), 5 if key == "b" else None))
    entries = await store.state.scan("n")
    require_equal([entry.key for entry in entries], keys, "keys")
    require_equal([entry.value for entry in entries], [key.encode() for key in keys], "values")
    require_equal([entry.key for entry in entries if entry.expires_us == 5], ["b"], "expiring")


async def check_scan_by_prefix(store: Store) -> None:
    """``scan`` with a prefix returns exactly the keys that begin so, whatever characters it has."""
    keys = ["a", "a%", "a%b", "a_", "ab", "b", "\ud7ff1", "\ue0001", "\U0010ffff", "\U0010ffff\U0010ffff1"]
    lease = await lease_of(store.state)
    await _commit(store.state, lease, *(Write("n", key, b"1") for key in keys))
    for prefix in ("", "a", "a%", "a_", "\ud7ff", "\ue000", "\U0010ffff", "\U0010ffff\U0010ffff", "z"):
        found = [entry.key for entry in await store.state.scan("n", prefix=prefix)]
        require_equal(found, [key for key in sorted(keys) if key.startswith(prefix)], f"prefix {prefix!r}")


async def check_scan_in_pages(store: Store) -> None:
    """``scan`` returns at most ``count_max`` entries, and goes on after a key, there or not."""
    lease = await lease_of(store.state)
    keys = [f"k{n:03}" for n in range(50)]
    await _commit(store.state, lease, *(Write("n", key, b"1") for key in ["a", *keys, "z"]))
    found: list[str] = []
    while page := await store.state.scan("n", prefix="k", after=found[-1] if found else None, count_max=7):
        require(len(page) <= 7, f"a page of {len(page)}")
        found += [entry.key for entry in page]
        require(len(found) <= len(keys), "pages repeat entries")
    require_equal(found, keys, "keys by pages")
    rest = await store.state.scan("n", prefix="k", after="k0471")
    require_equal([entry.key for entry in rest], ["k048", "k049"], "after a key that is not there")
    require_equal([*await store.state.scan("n", prefix="k", after="z")], [], "after the prefix")
    first = await store.state.scan("n", prefix="k", after="b", count_max=1)
    require_equal([entry.key for entry in first], ["k000"], "after a key before the prefix")


async def check_expired_entries_are_found_not_removed(store: Store) -> None:
    """``expires_before_us`` finds what expires strictly before; it stays until deleted or renewed."""
    lease = await lease_of(store.state)
    writes = [Write("n", key, b"1", expires_us) for key, expires_us in
              (("d", 1), ("a", 5), ("c", 9), ("b", 10), ("x", None))]  # fmt: skip
    await _commit(store.state, lease, *writes)
    expired = await store.state.scan("n", expires_before_us=10)
    require_equal(
        [(entry.key, entry.expires_us) for entry in expired], [("a", 5), ("c", 9), ("d", 1)], "expired"
    )
    paged = await store.state.scan("n", expires_before_us=10, after="a", count_max=1)
    require_equal([entry.key for entry in paged], ["c"], "a page of expired")
    require_equal(await _keys(store.state), ["a", "b", "c", "d", "x"], "keys")
    renewals = [Write("n", "a", b"2", 50), Write("n", "c", b"2"), Write("n", "d", None)]
    await _commit(store.state, lease, *renewals)
    expired = await store.state.scan("n", expires_before_us=11)
    require_equal([entry.key for entry in expired], ["b"], "expired after renewal")


async def check_commits_move_the_position(store: Store) -> None:
    """A consumer begins without a position; each commit sets it, and whoever acquires finds it."""
    lease, position = await store.state.acquire("c", "h", lease_seconds=LEASE_SECONDS)
    require_equal(position, Position(None, None), "position of a new consumer")
    await store.state.commit(Commit(lease, Position(b"\0 12", 5)))
    await store.state.commit(Commit(lease, Position(b"13", None)))
    await store.state.commit(Commit(lease, Position(b"14", -2)))
    await lease_of(store.state, "b")
    found = await store.state.acquire("c", "h", lease_seconds=LEASE_SECONDS)
    require_equal(found[1], Position(b"14", -2), "position")
    positions = [*await store.state.positions()]
    require_equal(positions, [("b", Position()), ("c", Position(b"14", -2))], "positions")


async def check_outputs_are_appended_once(store: Store) -> None:
    """Outputs stand in the log when ``commit`` returns; ids that it remembers are not stored again."""
    lease = await lease_of(store.state)
    await store.log.append([record("a")])
    await _commit(store.state, lease, Write("n", "k", b"1"), outputs=[record("a"), record("b"), record("b")])
    again = [] if store.log.capabilities.dedup_seconds else ["a", "b"]
    require_equal(await _output_ids(store), sorted(["a", "b", *again]), "outputs")
    require_equal(await _keys(store.state), ["k"], "keys")


async def check_outputs_wake_readers(store: Store) -> None:
    """Outputs end ``wait_beyond`` as appended records do."""
    await store.log.create_topics({"orders": 1})
    lease = await lease_of(store.state)
    wait = asyncio.ensure_future(store.log.wait_beyond({("orders", 0): 0}))
    await settle()
    await _commit(store.state, lease, outputs=[record("a")])
    try:
        await asyncio.wait_for(wait, 10)
    except TimeoutError:
        raise BrokenLaw("nobody was woken") from None


async def check_commits_are_all_or_nothing(store: Store) -> None:
    """A commit with an output that the log refuses applies nothing, and the lease goes on."""
    lease = await lease_of(store.state)
    outputs = [record("a"), record("b", data=bytes(store.log.capabilities.record_bytes_max + 1))]
    await require_raises(
        InvalidInputError, _commit(store.state, lease, Write("n", "k", b"1"), outputs=outputs), "too large"
    )
    await _require_untouched(store)
    await _commit(store.state, lease, Write("n", "k", b"1"))
    require_equal(await _keys(store.state), ["k"], "keys afterwards")


async def check_superseded_tokens_are_fenced(store: Store) -> None:
    """A commit or renewal with a token that is not the newest raises FencedError and applies nothing."""
    old = await lease_of(store.state)
    new = await lease_of(store.state)
    for lease in (old, Lease("c", new.token + 1), Lease("unknown", 1)):
        commit = _commit(store.state, lease, Write("n", "k", b"1"), outputs=[record("a")])
        await require_raises(FencedError, commit, f"commit with {lease}")
        await require_raises(FencedError, store.state.renew(lease, lease_seconds=9), f"renew of {lease}")
    await _require_untouched(store)
    await _commit(store.state, new, Write("n", "k", b"1"))
    require_equal(await _keys(store.state), ["k"], "keys")


async def check_released_leases_are_fenced(store: Store) -> None:
    """After ``release`` its holder may not commit or renew."""
    lease = await lease_of(store.state)
    await store.state.release(lease)
    commit = _commit(store.state, lease, Write("n", "k", b"1"), outputs=[record("a")])
    await require_raises(FencedError, commit, "commit after release")
    await require_raises(FencedError, store.state.renew(lease, lease_seconds=9), "renew after release")
    await _require_untouched(store)


async def check_tokens_grow(store: Store) -> None:
    """Each ``acquire`` gives a larger token, released in between or not."""
    tokens = []
    for turn in range(6):
        lease = await lease_of(store.state)
        tokens.append(lease.token)
        if turn % 2:
            await store.state.release(lease)
    require_equal(tokens, sorted(set(tokens)), "tokens")


async def check_a_held_lease_keeps_others_out(store: Store) -> None:
    """While a lease is held another holder gets ConflictError, and the holder is not disturbed."""
    lease = await lease_of(store.state)
    await require_raises(ConflictError, lease_of(store.state, holder="other"), "acquire what is held")
    await _commit(store.state, lease, Write("n", "k", b"1"))
    require((await lease_of(store.state, "d", "other")).token > 0, "another consumer is free")
    await store.state.release(lease)
    await lease_of(store.state, holder="other")


async def check_clean_tells_a_release_from_a_death(store: Store) -> None:
    """``clean`` is True for the first holder and after a release, False after one that never released."""
    first = await lease_of(store.state)
    second = await lease_of(store.state)
    await store.state.release(second)
    third = await lease_of(store.state, holder="other")
    require_equal((first.clean, second.clean, third.clean), (True, False, True), "clean")


async def check_late_leases_may_be_taken(store: Store) -> None:
    """A lease not renewed within its seconds may be taken by another, which fences its holder."""
    old, _ = await store.state.acquire("c", "h", lease_seconds=0.05)
    new = await _acquire_when_free(store.state, "other")
    require((new.token > old.token, new.clean) == (True, False), f"the new lease is {new}")
    await require_raises(FencedError, _commit(store.state, old, Write("n", "k", b"1")), "the late holder")
    await _require_untouched(store)


async def check_renewals_keep_a_lease(store: Store) -> None:
    """``renew`` keeps a lease for the seconds it names."""
    lease, _ = await store.state.acquire("c", "h", lease_seconds=0.05)
    await store.state.acquire("measure", "h", lease_seconds=0.1)
    await store.state.renew(lease, lease_seconds=LEASE_SECONDS)
    await _acquire_when_free(store.state, "other", consumer="measure")
    await require_raises(ConflictError, lease_of(store.state, holder="other"), "acquire what was renewed")


async def check_commits_keep_a_lease(store: Store) -> None:
    """``commit`` keeps a lease for as long again as it was taken."""
    lease, _ = await store.state.acquire("c", "h", lease_seconds=1.0)
    for turn in range(4):
        await store.state.acquire(f"measure-{turn}", "h", lease_seconds=0.4)
        await _acquire_when_free(store.state, "other", consumer=f"measure-{turn}")
        await _commit(store.state, lease)
    await require_raises(ConflictError, lease_of(store.state, holder="other"), "acquire what was kept")


async def check_releasing_a_lost_lease_does_nothing(store: Store) -> None:
    """``release`` of a superseded lease leaves the newer one alone."""
    old = await lease_of(store.state)
    new = await lease_of(store.state)
    await store.state.release(old)
    await require_raises(ConflictError, lease_of(store.state, holder="other"), "acquire what is held")
    await _commit(store.state, new, Write("n", "k", b"1"))
    await store.state.release(new)
    await store.state.release(new)
    require((await lease_of(store.state, holder="other")).clean, "released, but not clean")


async def check_consumers_commit_at_once(store: Store) -> None:
    """Commits of several consumers at the same time are all applied; one that is fenced harms no other."""
    leases = [await lease_of(store.state, f"c{n}") for n in range(6)]
    await lease_of(store.state, "c0")
    commits = [
        _commit(store.state, lease, Write("n", f"{n}", b"1"), outputs=[record(f"{n}", f"k{n}")])
        for n, lease in enumerate(leases)
    ]
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    require_equal([type(outcome) for outcome in outcomes], [FencedError] + [type(None)] * 5, "outcomes")
    require_equal(await _keys(store.state), ["1", "2", "3", "4", "5"], "keys")
    require_equal(await _output_ids(store), ["1", "2", "3", "4", "5"], "outputs")


async def check_cancelled_commits_are_whole(store: Store) -> None:
    """A cancelled ``commit`` was applied wholly or not at all, and the consumer goes on."""
    lease = await lease_of(store.state)
    for turn in range(10):
        commit = _commit(store.state, lease, Write("n", f"{turn}", b"1"), outputs=[record(f"{turn}")])
        task = asyncio.ensure_future(commit)
        await settle(turn)
        task.cancel()
        await asyncio.wait([task])
    await _commit(store.state, lease, cursor=b"last")
    require_equal(await _keys(store.state), await _output_ids(store), "keys and outputs")
    require_equal([position.cursor for _, position in await store.state.positions()], [b"last"], "cursor")


async def _acquire_when_free(state: State, holder: str, *, consumer: str = "c") -> Lease:
    while True:
        try:
            return (await state.acquire(consumer, holder, lease_seconds=LEASE_SECONDS))[0]
        except ConflictError:
            # The lease's own clock decides, which nothing here can wait for.
            await asyncio.sleep(0.01)


STATE_CHECKS: Sequence[Check[Store]] = (
    check_get_answers_in_order,
    check_writes_replace_and_delete,
    check_namespaces_are_apart,
    check_scan_is_in_order_of_code_points,
    check_scan_by_prefix,
    check_scan_in_pages,
    check_expired_entries_are_found_not_removed,
    check_commits_move_the_position,
    check_outputs_are_appended_once,
    check_outputs_wake_readers,
    check_commits_are_all_or_nothing,
    check_superseded_tokens_are_fenced,
    check_released_leases_are_fenced,
    check_tokens_grow,
    check_a_held_lease_keeps_others_out,
    check_clean_tells_a_release_from_a_death,
    check_late_leases_may_be_taken,
    check_renewals_keep_a_lease,
    check_commits_keep_a_lease,
    check_releasing_a_lost_lease_does_nothing,
    check_consumers_commit_at_once,
    check_cancelled_commits_are_whole,
)
"""Every law of ``State``: an adapter conforms if each holds."""
