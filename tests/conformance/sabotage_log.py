"""Logs that break exactly one law: each shows that its check can fail."""

import asyncio

import msgspec

from tropism.testing import log


def _changed(item, **changes):
    return msgspec.structs.replace(item, **changes)


def _reads(it, change):
    """Reads as ever, and gives what is made of each page."""
    read = it.read

    async def changed(cursors, *, count_max, without=()):
        pages = await read(cursors, count_max=count_max, without=without)
        return {key: change(page, without) for key, page in pages.items()}

    return {"read": changed}


def counts_what_was_given(it):
    append = it.append

    async def counted(records):
        await append(records)
        return len(records)

    return {"append": counted}


def loses_extensions(it):
    append = it.append
    return {"append": lambda records: append([_changed(r, extensions=None) for r in records])}


def spreads_subjects(it):
    append = it.append
    return {"append": lambda records: append([_changed(r, subject=r.subject + r.id[-1]) for r in records])}


def reverses_batches(it):
    append = it.append
    return {"append": lambda records: append(records[::-1])}


def counts_from_one(it):
    read = it.read

    async def shifted(cursors, *, count_max, without=()):
        pages = await read(
            {key: max(at - 1, 0) for key, at in cursors.items()}, count_max=count_max, without=without
        )
        return {
            key: [_changed(item, offset=item.offset + 1) for item in page if item.offset + 1 >= cursors[key]]
            for key, page in pages.items()
        }

    return {"read": shifted}


def knows_at_the_record_time(it):
    return _reads(it, lambda page, _: [_changed(item, known_us=item.record.time_us) for item in page])


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

    async def summed(cursors, *, count_max, without=()):
        pages = await read(cursors, count_max=count_max, without=without)
        return {key: page[: max(1, count_max // len(cursors))] for key, page in pages.items()}

    return {"read": summed}


def leaves_nothing_out(it):
    read = it.read

    async def greedy(cursors, *, count_max, without=()):
        return await read(cursors, count_max=count_max)

    return {"read": greedy}


def leaves_out_of_full_pages(it):
    read = it.read

    async def thin(cursors, *, count_max, without=()):
        pages = await read(cursors, count_max=count_max)
        return {
            key: [item for item in page if item is page[-1] or item.record.type not in without]
            for key, page in pages.items()
        }

    return {"read": thin}


def hides_how_far_it_read(it):
    return _reads(it, lambda page, without: [item for item in page if item.record.type not in without])


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
    log.check_types_can_be_left_out: leaves_nothing_out,
    log.check_pages_say_how_far_was_read: hides_how_far_it_read,
    log.check_ends_lie_behind_the_last: ends_at_the_last,
    log.check_too_large_stores_nothing: stores_what_fits,
    log.check_waiting_ends_with_growth: never_wakes,
    log.check_waiting_outlasts_other_growth: wakes_at_anything,
    log.check_concurrent_appends_all_happen: loses_concurrent_appends,
    log.check_cancelled_appends_are_whole: appends_one_by_one,
}


def counts_what_looks_new(it):
    append = it.append

    async def counted(records):
        return min(await append(records), len({record.id for record in records} - {"b"}))

    return {"append": counted}


def drops_what_looks_known(it):
    append = it.append
    known = set()

    async def dropped(records):
        await append([r for r in records if not (r.id in known or known.add(r.id))])
        return len(records)

    return {"append": dropped}


def ends_far_beyond(it):
    ends = it.ends

    async def far(topics):
        return {key: end and end + 100 for key, end in (await ends(topics)).items()}

    return {"ends": far}


WEAK_SABOTEURS = {
    log.check_append_counts_what_is_new: counts_what_looks_new,
    log.check_known_never_goes_back: knows_at_the_record_time,
    log.check_ids_are_stored_once: drops_what_looks_known,
    log.check_duplicates_use_no_offsets_of_others: drops_what_looks_known,
    log.check_ends_lie_behind_the_last: ends_far_beyond,
}
"""Those of a log that remembers no ids and knows no exact time."""
