"""Adapters that break exactly one law: each shows that its check can fail."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec

from tropism.adapters.memory import MemoryBlobs, MemoryCompute, MemoryStore
from tropism.core.errors import ConflictError, FencedError, InvalidInputError, NotFoundError, UnavailableError
from tropism.ports.state import Commit, Position
from tropism.testing import blobs, compute, log, state


def sabotaged(make, break_it):
    """Return a factory of what ``make`` makes, with methods replaced by what ``break_it`` returns."""

    @asynccontextmanager
    async def factory():
        adapter = make()
        for name, method in break_it(adapter).items():
            part, _, attribute = name.rpartition(".")
            setattr(getattr(adapter, part) if part else adapter, attribute, method)
        yield adapter

    return factory


def log_saboteur(break_it):
    @asynccontextmanager
    async def factory():
        async with sabotaged(lambda: MemoryStore().log, break_it)() as adapter:
            yield adapter

    return factory


def _record(item, **changes):
    return msgspec.structs.replace(item, **changes)


def counts_what_was_given(it):
    append = it.append

    async def counted(records):
        await append(records)
        return len(records)

    return {"append": counted}


def loses_extensions(it):
    append = it.append
    return {"append": lambda records: append([_record(r, extensions=None) for r in records])}


def spreads_subjects(it):
    append = it.append
    return {"append": lambda records: append([_record(r, subject=r.subject + r.id[-1]) for r in records])}


def reverses_batches(it):
    append = it.append
    return {"append": lambda records: append(records[::-1])}


def counts_from_one(it):
    read = it.read

    async def shifted(cursors, *, count_max):
        pages = await read({key: max(at - 1, 0) for key, at in cursors.items()}, count_max=count_max)
        return {
            key: [msgspec.structs.replace(item, offset=item.offset + 1) for item in page if item.offset + 1 >= cursors[key]]
            for key, page in pages.items()
        }  # fmt: skip

    return {"read": shifted}


def knows_at_the_record_time(it):
    read = it.read

    async def naive(cursors, *, count_max):
        pages = await read(cursors, count_max=count_max)
        return {
            key: [msgspec.structs.replace(item, known_us=item.record.time_us) for item in page]
            for key, page in pages.items()
        }

    return {"read": naive}


def stores_ids_twice(it):
    append = it.append

    async def forgetful(records):
        stored = 0
        for record in records:
            it._ids.get(record.topic, set()).clear()
            stored += await append([record])
        return stored

    return {"append": forgetful}


def shares_ids_between_topics(it):
    append = it.append
    known = set()

    async def shared(records):
        fresh = [r for r in records if not (r.id in known or known.add(r.id))]
        return await append(fresh)

    return {"append": shared}


def drops_batches_with_duplicates(it):
    append = it.append

    async def strict(records):
        if any(record.id in it._ids.get(record.topic, ()) for record in records):
            return 0
        return await append(records)

    return {"append": strict}


def recreates_topics(it):
    create = it.create_topics

    async def anew(topics):
        for topic in topics:
            it._topics.pop(topic, None)
        await create(topics)

    return {"create_topics": anew}


def repartitions(it):
    create = it.create_topics

    async def lenient(topics):
        await create({topic: count for topic, count in topics.items() if topic not in it._topics and count})

    return {"create_topics": lenient}


def invents_topics(it):
    ends = it.ends

    async def invented(topics):
        topics = list(topics)
        return {**{(topic, 0): 0 for topic in topics}, **await ends(topics)}

    return {"ends": invented}


def bounds_the_sum(it):
    read = it.read

    async def summed(cursors, *, count_max):
        pages = await read(cursors, count_max=count_max)
        return {key: page[: max(1, count_max // len(cursors))] for key, page in pages.items()}

    return {"read": summed}


def ends_at_the_last(it):
    ends = it.ends

    async def short(topics):
        return {key: max(end - 1, 0) for key, end in (await ends(topics)).items()}

    return {"ends": short}


def stores_what_fits(it):
    append = it.append_nowait

    def partly(records):
        limit = it.capabilities.record_bytes_max
        stored = append([record for record in records if len(record.data) <= limit])
        append(records)
        return stored

    async def appended(records):
        return partly(records)

    return {"append": appended, "append_nowait": partly}


def never_wakes(it):
    it._ends.update = lambda _: None
    return {}


def wakes_at_anything(it):
    wait = it._ends.wait_beyond

    async def hasty(ends):
        waiter = asyncio.get_running_loop().create_future()
        it._ends._waiters.add(waiter)
        done = asyncio.ensure_future(wait(ends))
        await asyncio.wait([waiter, done], return_when=asyncio.FIRST_COMPLETED)
        done.cancel()

    return {"wait_beyond": hasty}


def appends_one_by_one(it):
    append = it.append

    async def slowly(records):
        stored = 0
        for record in records:
            stored += await append([record])
            await asyncio.sleep(0)
        return stored

    return {"append": slowly}


def loses_concurrent_appends(it):
    append = it.append
    busy = False

    async def racing(records):
        nonlocal busy
        if busy:
            return len(records)
        busy = True
        await asyncio.sleep(0)
        busy = False
        return await append(records)

    return {"append": racing}


LOG_SABOTEURS = {
    log.check_append_counts_what_is_new: counts_what_was_given,
    log.check_records_return_as_they_were: loses_extensions,
    log.check_subjects_keep_their_order: reverses_batches,
    log.check_offsets_begin_at_zero_and_increase: counts_from_one,
    log.check_known_never_goes_back: knows_at_the_record_time,
    log.check_ids_are_stored_once: stores_ids_twice,
    log.check_topics_hold_their_own_ids: shares_ids_between_topics,
    log.check_duplicates_use_no_offsets_of_others: drops_batches_with_duplicates,
    log.check_topics_are_created_with_their_partitions: recreates_topics,
    log.check_partitions_cannot_change: repartitions,
    log.check_unknown_topics_are_made_by_append: invents_topics,
    log.check_pages_are_bounded: bounds_the_sum,
    log.check_ends_lie_behind_the_last: ends_at_the_last,
    log.check_too_large_stores_nothing: stores_what_fits,
    log.check_waiting_ends_with_growth: never_wakes,
    log.check_waiting_outlasts_other_growth: wakes_at_anything,
    log.check_concurrent_appends_all_happen: loses_concurrent_appends,
    log.check_cancelled_appends_are_whole: appends_one_by_one,
}


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


def strips_bytes(it):
    put = it.put
    return {"put": lambda name, data: put(name, data[:1000])}


def gets_nothing_for_absent(it):
    async def get(name):
        return it._blobs.get(name, b"")

    return {"get": get}


def is_a_plain_folder(it):
    put = it.put

    async def only_files(name, data):
        if any(name.startswith(f"{other}/") for other in it._blobs):
            raise UnavailableError("Cannot put: not a directory. Choose another name.")
        await put(name, data)

    return {"put": only_files}


def puts_once(it):
    put = it.put

    async def once(name, data):
        if name in it._blobs:
            raise ConflictError("Cannot put: it exists. Choose another name.")
        await put(name, data)

    return {"put": once}


def overwrites(it):
    async def put(name, data):
        it._blobs[name] = data

    return {"put": put}


def races(it):
    put = it.put

    async def racing(name, data):
        known = it._blobs.get(name)
        await asyncio.sleep(0)
        if known is None:
            it._blobs[name] = data
        else:
            await put(name, data)

    return {"put": racing}


def lists_in_order_of_putting(it):
    async def names(prefix=""):
        return [name for name in it._blobs if name.startswith(prefix)]

    return {"names": names}


def deletes_below(it):
    async def delete(names):
        for name in names:
            for known in list(it._blobs):
                if known == name or known.startswith(f"{name}/"):
                    del it._blobs[known]

    return {"delete": delete}


def takes_any_name(it):
    async def get(name):
        if name not in it._blobs:
            raise NotFoundError("Cannot get: there is none. Put it first.")
        return it._blobs[name]

    return {"get": get}


def takes_any_content(it):
    async def put(name, data):
        it._blobs.setdefault(name, data)

    return {"put": put}


BLOB_SABOTEURS = {
    blobs.check_bytes_return_as_they_were: strips_bytes,
    blobs.check_absent_names_are_not_found: gets_nothing_for_absent,
    blobs.check_names_may_lie_below_names: is_a_plain_folder,
    blobs.check_putting_again_changes_nothing: puts_once,
    blobs.check_other_bytes_are_refused: overwrites,
    blobs.check_one_of_many_writers_wins: races,
    blobs.check_names_are_listed_in_order: lists_in_order_of_putting,
    blobs.check_deleted_names_are_gone: deletes_below,
    blobs.check_bad_names_are_refused: takes_any_name,
    blobs.check_content_is_what_its_name_says: takes_any_content,
}


def _runs(run):
    """Return a saboteur of ``run``: ``run(job, original)``."""

    def break_it(it):
        original = it.run
        return {"run": lambda job: run(job, original)}

    return break_it


async def _forgets_payload(job, original):
    return await original(replace(job, payload=job.payload[:1]))


async def _raises_what_it_raised(job, original):
    return job.function(job.payload)


async def _takes_none(job, original):
    return job.function(job.payload) or b""


async def _runs_anything(job, original):
    try:
        return job.function(job.payload)
    except Exception as error:
        raise InvalidInputError(f"Cannot run: {type(error).__name__}: {error}. Mend it.") from error


async def _has_no_limit(job, original):
    return await original(replace(job, timeout_seconds=600.0))


async def _answers_for_the_dead(job, original):
    return b"" if job.function is compute.die else await original(job)


async def _takes_leaving_for_a_result(job, original):
    return b"" if job.function is compute.leave else await original(job)


async def _limits_everything(job, original):
    if job.memory_bytes_max:
        raise UnavailableError("Cannot run: too little memory. Give more.")
    return await original(job)


COMPUTE_SABOTEURS = {
    compute.check_results_return: _runs(_forgets_payload),
    compute.check_errors_travel_as_text: _runs(_raises_what_it_raised),
    compute.check_only_bytes_are_results: _runs(_takes_none),
    compute.check_only_importable_functions_run: _runs(_runs_anything),
    compute.check_late_jobs_raise: _runs(_has_no_limit),
    compute.check_dead_jobs_raise: _runs(_answers_for_the_dead),
    compute.check_leaving_jobs_raise: _runs(_takes_leaving_for_a_result),
    compute.check_jobs_have_their_own_process: lambda _: {},  # jobs in this process
    compute.check_memory_is_limited: _runs(_limits_everything),
}

EVERY = [
    *((check, log_saboteur(break_it)) for check, break_it in LOG_SABOTEURS.items()),
    (log.check_subjects_keep_their_order, log_saboteur(spreads_subjects)),
    *((check, sabotaged(MemoryStore, break_it)) for check, break_it in STATE_SABOTEURS.items()),
    *((check, sabotaged(MemoryBlobs, break_it)) for check, break_it in BLOB_SABOTEURS.items()),
    *((check, sabotaged(MemoryCompute, break_it)) for check, break_it in COMPUTE_SABOTEURS.items()),
]
