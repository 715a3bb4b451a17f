"""The laws of ``Log``."""

import asyncio
from collections.abc import Sequence

from tropism.core.envelope import Record, Stored
from tropism.core.errors import ConflictError, InvalidInputError
from tropism.ports.log import Log, Partition
from tropism.testing.checks import Check, require, require_equal, require_raises, settle


def record(
    id: str,
    subject: str = "k",
    *,
    time_us: int = 0,
    topic: str = "orders",
    data: bytes = b"{}",
    what: str = "placed",
) -> Record:
    """Return a record to append."""
    return Record(id, f"{topic}.{what}.v1", topic, subject, time_us, data)


async def read_all(
    log: Log, topic: str = "orders", *, count_max: int = 1000
) -> dict[Partition, list[Stored]]:
    """Return all of a topic, read page by page."""
    cursors = dict.fromkeys(await log.ends([topic]), 0)
    found: dict[Partition, list[Stored]] = {partition: [] for partition in cursors}
    while pages := {
        key: page for key, page in (await log.read(cursors, count_max=count_max)).items() if page
    }:
        # Gives way, so that a limit of time holds even where an adapter never does.
        await asyncio.sleep(0)
        for partition, page in pages.items():
            require(page[0].offset >= cursors[partition], f"{partition} goes back before its cursor")
            found[partition].extend(page)
            cursors[partition] = page[-1].offset + 1
    return found


async def _ids(log: Log, topic: str = "orders") -> list[str]:
    pages = (await read_all(log, topic)).values()
    return sorted(stored.record.id for page in pages for stored in page)


def _remembers(log: Log) -> bool:
    """Say whether a log knows ids again; one that does not stores and counts whatever it is given."""
    return log.capabilities.dedup_seconds > 0


async def check_append_counts_what_is_new(log: Log) -> None:
    """``append`` returns how many records were new; none is no error."""
    require_equal(await log.append([]), 0, "appending nothing")
    require_equal(await log.append([record("a"), record("b")]), 2, "appending two new")
    new = 1 if _remembers(log) else 2
    require_equal(await log.append([record("b"), record("c")]), new, "appending one new, one known")


async def check_records_return_as_they_were(log: Log) -> None:
    """A record read is the record appended, attribute by attribute."""
    records = [
        Record("a", "orders.placed.v1", "orders", "k", 5, bytes(range(256)), "/shop", {"causationid": "x"}),
        Record("\u00fc\U0001f6eb", "orders.placed.v1", "orders", "\u00e9 '\"%", -1, b"", "", None),
        Record("c", "orders.other.v2", "orders", "", 2**60, b"null", "s", {"a": "", "b": "\u00df\n"}),
    ]
    await log.append(records)
    found = {stored.record.id: stored.record for page in (await read_all(log)).values() for stored in page}
    require_equal(found, {item.id: item for item in records}, "records read")


async def check_subjects_keep_their_order(log: Log) -> None:
    """Records of one subject stand in one partition, in the order they were appended."""
    for start in range(0, 60, 20):
        await log.append([record(f"{n:03}", f"k{n % 7}") for n in range(start, start + 20)])
    places: dict[str, set[Partition]] = {}
    for partition, page in (await read_all(log)).items():
        for subject in {stored.record.subject for stored in page}:
            places.setdefault(subject, set()).add(partition)
            ids = [stored.record.id for stored in page if stored.record.subject == subject]
            require_equal(ids, sorted(ids), f"order of subject {subject}")
    require(all(len(found) == 1 for found in places.values()), f"partitions of subjects: {places}")
    require_equal(len(places), 7, "subjects")


async def check_offsets_begin_at_zero_and_increase(log: Log) -> None:
    """Offsets begin at 0 and increase along a partition; records name their place."""
    for n in range(40):
        await log.append([record(f"{n}", f"k{n}")])
    for (_, number), page in (await read_all(log)).items():
        offsets = [stored.offset for stored in page]
        require(not page or offsets[0] == 0, f"first offset: {offsets[:1]}")
        require(sorted(set(offsets)) == offsets, f"offsets: {offsets}")
        require(all(stored.partition == number for stored in page), "records name another partition")


async def check_known_never_goes_back(log: Log) -> None:
    """``known_us`` is the record's time, or that of the record in front where that is later.

    Where event time is not exact, it may be later than both.
    """
    times = [5, 3, 9, 9, 1, 12, -4]
    await log.append([record(f"{n}", time_us=time_us) for n, time_us in enumerate(times[:4])])
    await log.append([record(f"{n}", time_us=time_us) for n, time_us in enumerate(times[4:], 4)])
    (page,) = [page for page in (await read_all(log)).values() if page]
    known = [stored.known_us for stored in page]
    least = [5, 5, 9, 9, 9, 12, 12]
    if log.capabilities.event_time:
        require_equal(known, least, f"known_us of times {times}")
    require(known == sorted(known), f"known_us goes back: {known}")
    require(all(map(int.__ge__, known, least)), f"known_us {known} is before times {times}")


async def check_ids_are_stored_once(log: Log) -> None:
    """A record whose id the topic holds is not stored again, in one call or another; the first one stays.

    Where ids are not remembered, it is stored as often as it is appended.
    """
    # Where ids are remembered by partition, only the same key leads to the same one.
    elsewhere = "elsewhere" if log.capabilities.dedup_scope == "topic" else "k"
    await log.append([record("a", data=b"1"), record("b", data=b"1"), record("a", data=b"2")])
    await log.append([record("b", elsewhere, data=b"2"), record("c", data=b"1")])
    found = [stored.record for page in (await read_all(log)).values() for stored in page]
    if not _remembers(log):
        require_equal(sorted(item.id for item in found), ["a", "a", "b", "b", "c"], "ids, none remembered")
        return
    require_equal(sorted(item.id for item in found), ["a", "b", "c"], "ids")
    require(all(item.data == b"1" for item in found), "a later record took the place of the first")


async def check_topics_hold_their_own_ids(log: Log) -> None:
    """The same id may stand in two topics."""
    require_equal(await log.append([record("a"), record("a", topic="bills")]), 2, "one id, two topics")
    require_equal((await _ids(log), await _ids(log, "bills")), (["a"], ["a"]), "ids by topic")


async def check_duplicates_use_no_offsets_of_others(log: Log) -> None:
    """A batch of known and new records stores the new ones in order, behind what was there."""
    await log.append([record(f"{n:02}") for n in range(10)])
    await log.append([record(f"{n:02}") for n in range(5, 15)])
    (page,) = [page for page in (await read_all(log)).values() if page]
    numbers = [*range(15)] if _remembers(log) else [*range(10), *range(5, 15)]
    require_equal([stored.record.id for stored in page], [f"{n:02}" for n in numbers], "ids in order")
    offsets = [stored.offset for stored in page]
    require_equal(offsets, sorted(set(offsets)), "offsets")


async def check_topics_are_created_with_their_partitions(log: Log) -> None:
    """``create_topics`` makes so many partitions, empty; creating again changes nothing."""
    await log.create_topics({"orders": 3, "bills": 1})
    await log.append([record("a")])
    await log.create_topics({"orders": 3})
    ends = await log.ends(["orders", "bills"])
    partitions = [("bills", 0), ("orders", 0), ("orders", 1), ("orders", 2)]
    require_equal(sorted(ends), partitions, "partitions")
    require_equal(sorted(end > 0 for end in ends.values()), [False, False, False, True], "ends beyond 0")


async def check_partitions_cannot_change(log: Log) -> None:
    """Creating a topic with another count, or none, is refused, and creates no other topic of the call."""
    await log.create_topics({"orders": 3})
    await require_raises(ConflictError, log.create_topics({"new": 2, "orders": 4}), "another count")
    await require_raises(InvalidInputError, log.create_topics({"new": 2, "none": 0}), "no partition")
    require_equal(
        sorted(await log.ends(["orders", "new", "none"])), [("orders", n) for n in range(3)], "topics"
    )


async def check_unknown_topics_are_made_by_append(log: Log) -> None:
    """A topic nobody created has no ends, and exists with its first record."""
    require_equal(dict(await log.ends(["orders"])), {}, "ends of an unknown topic")
    require_equal(dict(await log.read({("orders", 0): 0}, count_max=5)), {}, "an unknown topic")
    await log.append([record("a")])
    require_equal(sum(end > 0 for end in (await log.ends(["orders"])).values()), 1, "ends beyond 0")
    require_equal(await _ids(log), ["a"], "ids")


async def check_pages_are_bounded(log: Log) -> None:
    """``read`` returns at most ``count_max`` records of each partition, and goes on at the cursor."""
    await log.create_topics({"orders": 2})
    await log.append([record(f"{n:02}", f"k{n}") for n in range(30)])
    cursors = dict.fromkeys(await log.ends(["orders"]), 0)
    pages = await log.read(cursors, count_max=4)
    require_equal([len(page) for page in pages.values()], [4, 4], "records a partition")
    paged, whole = await read_all(log, count_max=3), await read_all(log)
    require_equal(paged, whole, "the log read by threes")
    require_equal(sum(map(len, whole.values())), 30, "records")


async def check_types_can_be_left_out(log: Log) -> None:
    """``read`` leaves out the types it is told to, and no other, and fills its pages with the rest."""
    kinds = ["placed", "paid", "sent", "\u00fc '\"%"]
    await log.create_topics({"orders": 1})
    await log.append([record(f"{n:02}", what=kinds[n % 4]) for n in range(40)])
    where = ("orders", 0)
    without = {f"orders.{kind}.v1" for kind in (kinds[1], kinds[3], "unheard")}
    found: list[str] = []
    start = 0
    for count in [7, 7, 7]:
        page = (await log.read({where: start}, count_max=count, without=without)).get(where, ())
        found += [stored.record.id for stored in page if stored.record.type not in without]
        start = page[-1].offset + 1
        require_equal(len(page), 7, "records of a page while there are more")
    require_equal(found, [f"{n:02}" for n in range(0, 40, 2)], "ids of the types not left out")
    whole = (await log.read({where: 0}, count_max=100, without=without))[where]
    require_equal([stored.record.id for stored in whole], [*found, "39"], "ids of a page that is not full")


async def check_pages_say_how_far_was_read(log: Log) -> None:
    """A page that is not full ends with the last record there is, even where its type is left out."""
    await log.create_topics({"orders": 2})
    await log.append([record(f"{n:02}", f"k{n}", time_us=n) for n in range(30)])
    ends = await log.ends(["orders"])
    without = ["orders.placed.v1"]
    pages = await log.read(dict.fromkeys(ends, 0), count_max=5, without=without)
    require_equal([len(pages.get(partition, ())) for partition in ends], [1, 1], "records a partition")
    reached = {partition: page[-1].offset + 1 for partition, page in pages.items()}
    last = {partition: page[-1].offset + 1 for partition, page in (await read_all(log)).items()}
    require_equal(reached, last, "how far was read")
    beyond = await log.read(reached, count_max=5, without=without)
    require(not any(beyond.values()), "there is something beyond what was read")


async def check_ends_lie_behind_the_last(log: Log) -> None:
    """``ends`` names an offset behind the last record and not behind the next: nothing is read there."""
    await log.append([record(f"{n}", f"k{n}") for n in range(20)])
    ends = await log.ends(["orders"])
    for partition, page in (await read_all(log)).items():
        require(ends[partition] > page[-1].offset if page else not ends[partition], f"end of {partition}")
    beyond = await log.read(ends, count_max=5)
    require(not any(beyond.values()), "there is something beyond the ends")
    require(not any((await log.read({("orders", 999): 0}, count_max=5)).values()), "no such partition")
    await log.append([record("next")])
    grown = await log.read(ends, count_max=5)
    require_equal(
        [stored.record.id for page in grown.values() for stored in page], ["next"], "what came next"
    )


async def check_too_large_stores_nothing(log: Log) -> None:
    """A record beyond ``record_bytes_max`` is refused, and none of its call is stored."""
    large = bytes(log.capabilities.record_bytes_max + 1)
    await require_raises(InvalidInputError, log.append([record("a"), record("b", data=large)]), "too large")
    require_equal(await _ids(log), [], "ids")
    await log.append([record("c")])
    require_equal(await _ids(log), ["c"], "ids afterwards")


async def check_waiting_ends_with_growth(log: Log) -> None:
    """``wait_beyond`` returns at once where a partition is beyond its end, else as soon as one is."""
    await log.create_topics({"orders": 1})
    waits = [asyncio.ensure_future(log.wait_beyond({("orders", 0): 0, ("bills", 0): 0})) for _ in range(3)]
    await settle()
    require(not any(wait.done() for wait in waits), "it returned though nothing grew")
    await log.append([record("a")])
    await asyncio.gather(*waits)
    await log.wait_beyond({("orders", 0): 0})


async def check_waiting_outlasts_other_growth(log: Log) -> None:
    """``wait_beyond`` goes on while only other partitions grow, and up to the end it was given."""
    await log.create_topics({"orders": 1, "bills": 1})
    wait = asyncio.ensure_future(log.wait_beyond({("orders", 0): 1}))
    await settle()
    await log.append([record("a", topic="bills"), record("b")])
    await settle()
    require(not wait.done(), "it returned before its partition was beyond its end")
    await log.append([record("c")])
    await wait


async def check_concurrent_appends_all_happen(log: Log) -> None:
    """Appends at the same time are all stored, each once, each batch in its own order."""
    batches = [[record(f"{batch}-{n:02}", f"k{batch}") for n in range(10)] for batch in range(8)]
    await asyncio.gather(*(log.append(batch) for batch in batches))
    require_equal(await _ids(log), sorted(item.id for batch in batches for item in batch), "ids")
    for page in (await read_all(log)).values():
        for subject in {stored.record.subject for stored in page}:
            ids = [stored.record.id for stored in page if stored.record.subject == subject]
            require_equal(ids, sorted(ids), "order within a batch")


async def check_cancelled_appends_are_whole(log: Log) -> None:
    """A cancelled ``append`` happened wholly or not at all, and the log goes on."""
    for attempt in range(10):
        batch = [record(f"{attempt}-{n}", f"k{n}") for n in range(20)]
        task = asyncio.ensure_future(log.append(batch))
        await settle(attempt)
        task.cancel()
        await asyncio.wait([task])
    await log.append([record("last")])
    found: dict[str, int] = {}
    for id in await _ids(log):
        found[id.partition("-")[0]] = found.get(id.partition("-")[0], 0) + 1
    require(found.pop("last", 0) == 1, "the log does not go on")
    require(set(found.values()) <= {20}, f"records stored by cancelled appends: {found}")


LOG_CHECKS: Sequence[Check[Log]] = (
    check_append_counts_what_is_new,
    check_records_return_as_they_were,
    check_subjects_keep_their_order,
    check_offsets_begin_at_zero_and_increase,
    check_known_never_goes_back,
    check_ids_are_stored_once,
    check_topics_hold_their_own_ids,
    check_duplicates_use_no_offsets_of_others,
    check_topics_are_created_with_their_partitions,
    check_partitions_cannot_change,
    check_unknown_topics_are_made_by_append,
    check_pages_are_bounded,
    check_types_can_be_left_out,
    check_pages_say_how_far_was_read,
    check_ends_lie_behind_the_last,
    check_too_large_stores_nothing,
    check_waiting_ends_with_growth,
    check_waiting_outlasts_other_growth,
    check_concurrent_appends_all_happen,
    check_cancelled_appends_are_whole,
)
"""Every law of ``Log``: an adapter conforms if each holds."""
