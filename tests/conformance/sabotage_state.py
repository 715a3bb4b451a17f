"""States that break exactly one law: each shows that its check can fail."""

import asyncio

import msgspec

from tropism.core.errors import FencedError
from tropism.ports.state import Commit, Position
from tropism.testing import state


def _commits(break_commit):
    """Return a saboteur of ``commit`` alone: ``break_commit(store, commit, original)``."""

    def break_it(store):
        original = store.state.commit

        async def commit(wanted):
            return await break_commit(store, wanted, original)

        return {"state.commit": commit}

    return break_it


def _scans(change):
    """Return a saboteur of ``scan`` alone: ``change(arguments, entries of the whole namespace)``."""

    def break_it(store):
        original = store.state.scan

        async def scan(namespace, **arguments):
            return await change(original, namespace, arguments)

        return {"state.scan": scan}

    return break_it


def gets_sorted(store):
    get = store.state.get
    return {"state.get": lambda namespace, keys: get(namespace, sorted(keys))}


async def _deletes_last(store, wanted, original):
    writes = sorted(wanted.writes, key=lambda write: write.value is None)
    await original(msgspec.structs.replace(wanted, writes=writes))


async def _one_namespace(store, wanted, original):
    writes = [msgspec.structs.replace(write, namespace="n") for write in wanted.writes]
    await original(msgspec.structs.replace(wanted, writes=writes))


async def _utf16_order(original, namespace, arguments):
    return sorted(await original(namespace, **arguments), key=lambda entry: entry.key.encode("utf-16-be"))


async def _like_prefix(original, namespace, arguments):
    prefix = arguments.pop("prefix", "")
    entries = await original(namespace, **arguments)
    like = prefix.replace("%", "").replace("_", "")
    return [entry for entry in entries if entry.key.startswith(like)]


async def _inclusive_after(original, namespace, arguments):
    after = arguments.pop("after", None)
    count_max = arguments.pop("count_max", 1000)
    entries = await original(namespace, **arguments)
    return [entry for entry in entries if after is None or entry.key >= after][:count_max]


async def _expires_inclusive(original, namespace, arguments):
    before = arguments.pop("expires_before_us", None)
    return await original(namespace, **arguments, expires_before_us=None if before is None else before + 1)


async def _keeps_first_position(store, wanted, original):
    known = dict(await store.state.positions()).get(wanted.lease.consumer, Position())
    position = known if known.cursor is not None else wanted.position
    await original(msgspec.structs.replace(wanted, position=position))


async def _outputs_anew(store, wanted, original):
    for ids in store.log._ids.values():
        ids.clear()
    await original(wanted)


async def _quiet_outputs(store, wanted, original):
    update, store.log._ends.update = store.log._ends.update, lambda _: None
    try:
        await original(wanted)
    finally:
        store.log._ends.update = update


async def _writes_first(store, wanted, original):
    for write in wanted.writes:
        store.state._namespace(write.namespace).apply(write)
    await original(wanted)


async def _no_fence(store, wanted, original):
    for write in wanted.writes:
        store.state._namespace(write.namespace).apply(write)
    store.log.append_nowait(wanted.outputs)


async def _fence_forgets_release(store, wanted, original):
    holding = store.state._leases.holdings.get(wanted.lease.consumer)
    if holding is not None and holding.token == wanted.lease.token:
        holding.clean = False
    await original(wanted)


def tokens_restart(store):
    acquire = store.state.acquire

    async def restarted(consumer, holder, *, lease_seconds):
        known = store.state._leases.holdings.get(consumer)
        if known is not None and known.clean:
            del store.state._leases.holdings[consumer]
        return await acquire(consumer, holder, lease_seconds=lease_seconds)

    return {"state.acquire": restarted}


def anyone_acquires(store):
    acquire = store.state.acquire
    return {"state.acquire": lambda consumer, _, *, lease_seconds: acquire(consumer, "h", lease_seconds=lease_seconds)}  # fmt: skip


def always_clean(store):
    acquire = store.state.acquire

    async def clean(consumer, holder, *, lease_seconds):
        lease, position = await acquire(consumer, holder, lease_seconds=lease_seconds)
        return msgspec.structs.replace(lease, clean=True), position

    return {"state.acquire": clean}


def renews_nothing(store):
    async def renew(lease, *, lease_seconds):
        store.state._leases.check(lease)

    return {"state.renew": renew}


async def _keeps_no_lease(store, wanted, original):
    holding = store.state._leases.holdings[wanted.lease.consumer]
    until = holding.until
    await original(wanted)
    holding.until = until


def releases_any(store):
    async def release(lease):
        holding = store.state._leases.holdings[lease.consumer]
        holding.clean, holding.connection = True, None

    return {"state.release": release}


def one_fenced_fails_all(store):
    original = store.state.commit
    failed = False

    async def commit(wanted):
        nonlocal failed
        if failed:
            raise FencedError("Cannot commit: another was fenced. Try again.")
        try:
            await original(wanted)
        except FencedError:
            failed = True
            raise

    return {"state.commit": commit}


async def _commits_by_halves(store, wanted, original):
    await original(Commit(wanted.lease, wanted.position, wanted.writes))
    await asyncio.sleep(0)
    await original(wanted)


def late_leases_stay(store):
    acquire = store.state.acquire
    return {"state.acquire": lambda consumer, holder, *, lease_seconds: acquire(consumer, holder, lease_seconds=lease_seconds + 600)}  # fmt: skip


STATE_SABOTEURS = {
    state.check_get_answers_in_order: gets_sorted,
    state.check_writes_replace_and_delete: _commits(_deletes_last),
    state.check_namespaces_are_apart: _commits(_one_namespace),
    state.check_scan_is_in_order_of_code_points: _scans(_utf16_order),
    state.check_scan_by_prefix: _scans(_like_prefix),
    state.check_scan_in_pages: _scans(_inclusive_after),
    state.check_expired_entries_are_found_not_removed: _scans(_expires_inclusive),
    state.check_commits_move_the_position: _commits(_keeps_first_position),
    state.check_outputs_are_appended_once: _commits(_outputs_anew),
    state.check_outputs_wake_readers: _commits(_quiet_outputs),
    state.check_commits_are_all_or_nothing: _commits(_writes_first),
    state.check_superseded_tokens_are_fenced: _commits(_no_fence),
    state.check_released_leases_are_fenced: _commits(_fence_forgets_release),
    state.check_tokens_grow: tokens_restart,
    state.check_a_held_lease_keeps_others_out: anyone_acquires,
    state.check_clean_tells_a_release_from_a_death: always_clean,
    state.check_late_leases_may_be_taken: late_leases_stay,
    state.check_renewals_keep_a_lease: renews_nothing,
    state.check_commits_keep_a_lease: _commits(_keeps_no_lease),
    state.check_releasing_a_lost_lease_does_nothing: releases_any,
    state.check_consumers_commit_at_once: one_fenced_fails_all,
    state.check_cancelled_commits_are_whole: _commits(_commits_by_halves),
}
