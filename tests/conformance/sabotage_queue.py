"""Queues that break exactly one law: each shows that its check can fail."""

import asyncio
import math
from dataclasses import replace

import msgspec

from tropism.ports.queue import Depth, Message
from tropism.testing import queue


def _sends(change):
    """Return a saboteur of ``send`` alone: ``change(site, queue, messages, delay_seconds, original)``."""

    def break_it(site):
        original = site.queue.send

        async def send(queue, messages, *, delay_seconds=0.0):
            return await change(site, queue, messages, delay_seconds, original)

        return {"queue.send": send}

    return break_it


def _receives(change):
    """Return a saboteur of ``receive`` alone: ``change(site, queue, arguments, original)``."""

    def break_it(site):
        original = site.queue.receive

        async def receive(queue, **arguments):
            return await change(site, queue, arguments, original)

        return {"queue.receive": receive}

    return break_it


def _called(name, change):
    """Return a saboteur of one method: ``change(site, original, *arguments, **options)``."""

    def break_it(site):
        original = getattr(site.queue, name)

        async def call(*arguments, **options):
            return await change(site, original, *arguments, **options)

        call.__name__ = name
        return {f"queue.{name}": call}

    return break_it


def _inner(site, name="work"):
    return site.queue._queues.get(name)


async def _counts_what_was_given(site, queue, messages, delay, send):
    await send(queue, messages, delay_seconds=delay)
    return len(messages)


async def _sends_plus_one(site, queue, messages, delay, send):
    return await send(queue, messages, delay_seconds=delay) + 1


async def _loses_attributes(site, queue, messages, delay, send):
    bare = [Message(one.id, one.body, one.key) for one in messages]
    return await send(queue, bare, delay_seconds=delay)


async def _one_queue(site, queue, messages, delay, send):
    return await send("work", messages, delay_seconds=delay)


async def _forgets_ids(site, queue, messages, delay, send):
    if _inner(site, queue):
        _inner(site, queue).taken_us.clear()
    return await send(queue, messages, delay_seconds=delay)


async def _remembers_for_ever(site, queue, messages, delay, send):
    found = _inner(site, queue)
    if found:
        found.taken_us.update(dict.fromkeys(found.taken_us, 2**60))
    return await send(queue, messages, delay_seconds=delay)


async def _without_delay(site, queue, messages, delay, send):
    if not 0 <= delay <= site.queue.capabilities.delay_seconds_max:
        return await send(queue, messages, delay_seconds=delay)
    return await send(queue, messages)


async def _any_delay(site, queue, messages, delay, send):
    delay = min(max(delay, 0), site.queue.capabilities.delay_seconds_max)
    return await send(queue, messages, delay_seconds=delay)


async def _one_by_one(site, queue, messages, delay, send):
    return sum([await send(queue, [one], delay_seconds=delay) for one in messages])


async def _the_first_ones(site, queue, messages, delay, send):
    most = site.queue.capabilities.batch_count_max
    new = await send(queue, messages[:most], delay_seconds=delay)
    if len(messages) > most:
        await send(queue, messages, delay_seconds=delay)
    return new


async def _by_halves(site, queue, messages, delay, send):
    new = await send(queue, messages[:7], delay_seconds=delay)
    await asyncio.sleep(0)
    return new + await send(queue, messages[7:], delay_seconds=delay)


async def _last_writer_wins(site, queue, messages, delay, send):
    before = len(_inner(site, queue).waiting) if _inner(site, queue) else 0
    await asyncio.sleep(0)
    new = await send(queue, messages, delay_seconds=delay)
    found = _inner(site, queue)
    if found and before + new < len(found.waiting):
        for number in list(found.waiting)[before:-new]:
            del found.waiting[number]
    return new


async def _without_keys(site, queue, messages, delay, send):
    return await send(queue, [Message(one.id, one.body, "", {"key": one.key}) for one in messages], delay_seconds=delay)  # fmt: skip


async def _one_line(site, queue, messages, delay, send):
    return await send(queue, [msgspec.structs.replace(one, key="one") for one in messages], delay_seconds=delay)  # fmt: skip


def _keyed(found):
    """Return messages as they were sent, where the order of keys was lost on purpose."""
    return [
        msgspec.structs.replace(one, message=Message(one.message.id, one.message.body, (one.message.attributes or {}).get("key", "")))
        for one in found
    ]  # fmt: skip


def keys_have_no_order(site):
    receive = site.queue.receive

    async def unordered(queue, **arguments):
        return _keyed(await receive(queue, **arguments))

    return {**_sends(_without_keys)(site), "queue.receive": unordered}


async def _raises_on_unknown(site, queue, arguments, receive):
    return await receive(queue, **arguments) if _inner(site, queue) else None


async def _lends_more(site, queue, arguments, receive):
    return await receive(queue, **{**arguments, "count_max": 100})


async def _lends_something(site, queue, arguments, receive):
    if arguments["count_max"] < 1 or arguments["lease_seconds"] <= 0:
        return []
    return await receive(queue, **arguments)


async def _lends_for_ever(site, queue, arguments, receive):
    return await receive(queue, **{**arguments, "lease_seconds": 10_000_000.0})


async def _first_attempt(site, queue, arguments, receive):
    return [msgspec.structs.replace(one, attempt=1) for one in await receive(queue, **arguments)]


async def _lends_twice(site, queue, arguments, receive):
    found = await receive(queue, **arguments)
    for one in found[:1]:
        item = site.queue._loan(queue, one.receipt)
        if item is not None and item.attempt == 1:
            _inner(site).schedule(item, 0)
    return found


async def _takes_away(site, queue, arguments, receive):
    taken = await receive(queue, **{**arguments, "wait_seconds": 0.0})
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        await site.queue.ack(taken)
        raise
    return taken


async def _never_waits(site, queue, arguments, receive):
    return await receive(queue, **{**arguments, "wait_seconds": 0.0})


async def _waits_for_ever(site, queue, arguments, receive):
    return await receive(queue, **{**arguments, "wait_seconds": arguments.get("wait_seconds", 0.0) * 1000})


def _deaf(site):
    site.queue._stirs.stir = lambda _: None
    return {}


def _deaf_to_time(site):
    take = site.queue._take
    return {"queue._take": lambda *arguments: (take(*arguments)[0], None)}


def _deaf_to_keys(site):
    def end(queue, item):
        site.queue._queues[queue].remove(item)

    return {"queue._end": end}


async def _keeps_acked(site, ack, received):
    await ack([])
    return []


async def _strict_ack(site, ack, received):
    now_us = site.queue._now_us()
    items = {one.receipt: site.queue._loan(one.queue, one.receipt) for one in received}
    late = [receipt for receipt, item in items.items() if item is None or item.due_us <= now_us]
    return [*late, *await ack([one for one in received if one.receipt not in late])]


async def _acks_by_id(site, ack, received):
    for one in received:
        item = _inner(site, one.queue).waiting.get(int(one.receipt.partition(".")[0]))
        if item:
            site.queue._end(one.queue, item)
    return []


async def _tells_nothing(site, call, *arguments, **options):
    await call(*arguments, **options)
    return []


async def _acks_one_by_one(site, ack, received):
    lost = []
    for one in received:
        lost += await ack([one])
        await asyncio.sleep(0)
    return lost


async def _nacks_for_ever(site, nack, received, *, delay_seconds=0.0):
    return await nack(received, delay_seconds=delay_seconds + 1)


async def _nacks_at_once(site, nack, received, *, delay_seconds=0.0):
    return await nack(received)


async def _any_nack(site, nack, received, *, delay_seconds=0.0):
    return await nack(received, delay_seconds=max(delay_seconds, 0.0))


async def _nacks_to_the_end(site, nack, received, *, delay_seconds=0.0):
    for one in received:
        line = _inner(site).keys.get(one.message.key)
        if line and len(line) > 1:
            line.rotate(-1)
            _inner(site).schedule(line[0], line[0].due_us)
    return await nack(received, delay_seconds=delay_seconds)


async def _renews_nothing(site, renew, received, *, lease_seconds):
    return []


def lost_loans_lose_their_place(site):
    receive = site.queue.receive

    async def late(queue, **arguments):
        found = _inner(site, queue)
        for line in found.keys.values() if found else ():
            if line[0].leased and line[0].due_us <= site.queue._now_us() and len(line) > 1:
                line.rotate(-1)
                found.schedule(line[0], line[0].due_us)
                line[-1].due_us = 2**60
        return await receive(queue, **arguments)

    return {"queue.receive": late}


async def _delays_alone(site, queue, messages, delay, send):
    new = await send(queue, messages, delay_seconds=delay)
    for line in _inner(site, queue).keys.values():
        for item in line:
            if item.due_us <= site.queue._now_us():
                _inner(site, queue).schedule(item, item.due_us)
    return new


async def _lends_a_key_together(site, queue, arguments, receive):
    found = await receive(queue, **arguments)
    for one in found:
        for item in list(_inner(site, queue).keys.get(one.message.key, ()))[1:]:
            if not item.leased:
                _inner(site, queue).schedule(item, item.due_us)
    return found


async def _buries_without_cause(site, bury, received, queue):
    return await bury(dict.fromkeys(received, ""), queue)


async def _buries_and_keeps_the_key(site, bury, received, queue):
    lost = await bury(received, queue)
    for line in _inner(site).keys.values():
        line[0].due_us = 2**60
    return lost


async def _letters_by_utf16(site, dead, queue, *, after="", count_max=100):
    letters = sorted(await dead(queue), key=lambda one: one.message.id.encode("utf-16-be"))
    ids = [one.message.id for one in letters]
    start = ids.index(after) + 1 if after in ids else sum(id <= after for id in ids)
    return letters[start : start + count_max]


async def _redrives_through_send(site, redrive, queue, ids):
    letters = [one.message for one in await site.queue.dead(queue) if one.message.id in ids]
    await site.queue.discard(queue, ids)
    return await site.queue.send(queue, letters)


async def _redrives_to_the_front(site, redrive, queue, ids):
    count = await redrive(queue, ids)
    for line in _inner(site).keys.values():
        line.rotate(1)
        _inner(site).schedule(line[0], 0)
        for item in list(line)[1:]:
            item.due_us = -2
    return count


async def _discards_all(site, discard, queue, ids):
    count = await discard(queue, ids)
    await discard(queue, [one.message.id for one in await site.queue.dead(queue)])
    return count


async def _counts_all_as_ready(site, depth, queue):
    found = await depth(queue)
    return Depth(found.ready + found.delayed, 0, found.leased, found.dead)


def promises_the_impossible(site):
    site.queue._capabilities = replace(site.queue.capabilities, durability="durable", dedup_seconds=math.inf)
    return {}


QUEUE_SABOTEURS = {
    queue.check_sends_are_counted: _sends(_sends_plus_one),
    queue.check_messages_return_as_they_were: _sends(_loses_attributes),
    queue.check_queues_are_apart: _sends(_one_queue),
    queue.check_unknown_queues_are_empty: _receives(_raises_on_unknown),
    queue.check_ids_are_taken_once: _sends(_forgets_ids),
    queue.check_ids_are_forgotten_after_the_window: _sends(_remembers_for_ever),
    queue.check_delayed_messages_wait: _sends(_without_delay),
    queue.check_impossible_delays_are_refused: _sends(_any_delay),
    queue.check_too_large_stores_nothing: _sends(_one_by_one),
    queue.check_too_many_store_nothing: _sends(_the_first_ones),
    queue.check_impossible_loans_are_refused: _receives(_lends_something),
    queue.check_depth_counts_by_kind: _called("depth", _counts_all_as_ready),
    queue.check_concurrent_sends_all_happen: _sends(_last_writer_wins),
    queue.check_cancelled_sends_are_whole: _sends(_by_halves),
    queue.check_capabilities_are_honest: promises_the_impossible,
    queue.check_loans_run_out: _receives(_lends_for_ever),
    queue.check_loans_are_bounded: _receives(_lends_more),
    queue.check_acknowledged_messages_are_gone: _called("ack", _keeps_acked),
    queue.check_late_acknowledgements_count: _called("ack", _strict_ack),
    queue.check_attempts_count_loans: _receives(_first_attempt),
    queue.check_nacked_messages_come_at_once: _called("nack", _nacks_for_ever),
    queue.check_nacked_messages_wait_for_their_delay: _called("nack", _nacks_at_once),
    queue.check_renewals_keep_a_loan: _called("renew", _renews_nothing),
    queue.check_lost_loans_do_nothing: _called("ack", _acks_by_id),
    queue.check_ended_loans_are_lost: _called("nack", _tells_nothing),
    queue.check_consumers_share_no_message: _receives(_lends_twice),
    queue.check_cancelled_receives_lose_nothing: _receives(_takes_away),
    queue.check_cancelled_acks_are_whole: _called("ack", _acks_one_by_one),
    queue.check_keys_keep_their_order: _called("nack", _nacks_to_the_end),
    queue.check_one_of_a_key_is_on_loan: _receives(_lends_a_key_together),
    queue.check_keys_do_not_wait_for_each_other: _sends(_one_line),
    queue.check_nacked_messages_keep_their_place: _called("nack", _nacks_to_the_end),
    queue.check_lost_loans_keep_their_place: lost_loans_lose_their_place,
    queue.check_delayed_messages_hold_back_their_key: _sends(_delays_alone),
    queue.check_buried_messages_are_dead_letters: _called("bury", _buries_without_cause),
    queue.check_burying_frees_the_key: _called("bury", _buries_and_keeps_the_key),
    queue.check_dead_letters_come_in_pages: _called("dead", _letters_by_utf16),
    queue.check_redriven_messages_are_new: _called("redrive", _redrives_through_send),
    queue.check_redriven_messages_go_behind_their_key: _called("redrive", _redrives_to_the_front),
    queue.check_discarded_letters_are_gone: _called("discard", _discards_all),
    queue.check_receiving_wakes_when_something_is_sent: _deaf,
    queue.check_receiving_wakes_when_a_delay_ends: _deaf_to_time,
    queue.check_receiving_wakes_when_a_key_is_free: _deaf_to_keys,
    queue.check_receiving_ends_when_time_is_up: _receives(_waits_for_ever),
}

MORE_QUEUE_SABOTEURS = [
    (queue.check_ids_are_taken_once, _sends(_counts_what_was_given)),
    (queue.check_ended_loans_are_lost, _called("ack", _tells_nothing)),
    (queue.check_impossible_delays_are_refused, _called("nack", _any_nack)),
    (queue.check_keys_keep_their_order, keys_have_no_order),
    (queue.check_receiving_ends_when_time_is_up, _receives(_never_waits)),
]
"""Other ways to break some laws."""
