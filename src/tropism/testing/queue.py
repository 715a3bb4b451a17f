"""The laws of ``Queue``: what is sent, and what is refused."""

import asyncio
import math
from collections.abc import Sequence

from tropism.core.errors import InvalidInputError
from tropism.ports.queue import Depth, Message
from tropism.testing.checks import BrokenLaw, Check, require, require_equal, require_raises, settle
from tropism.testing.queue_letters import (
    check_buried_messages_are_dead_letters,
    check_burying_frees_the_key,
    check_dead_letters_come_in_pages,
    check_discarded_letters_are_gone,
    check_redriven_messages_are_new,
    check_redriven_messages_go_behind_their_key,
)
from tropism.testing.queue_loans import (
    check_acknowledged_messages_are_gone,
    check_attempts_count_loans,
    check_cancelled_acks_are_whole,
    check_cancelled_receives_lose_nothing,
    check_consumers_share_no_message,
    check_ended_loans_are_lost,
    check_late_acknowledgements_count,
    check_loans_are_bounded,
    check_loans_run_out,
    check_lost_loans_do_nothing,
    check_nacked_messages_come_at_once,
    check_nacked_messages_wait_for_their_delay,
    check_renewals_keep_a_loan,
)
from tropism.testing.queue_order import (
    check_delayed_messages_hold_back_their_key,
    check_keys_do_not_wait_for_each_other,
    check_keys_keep_their_order,
    check_lost_loans_keep_their_place,
    check_nacked_messages_keep_their_place,
    check_one_of_a_key_is_on_loan,
)
from tropism.testing.queue_site import LONG_SECONDS, QueueSite, ids_of, messages
from tropism.testing.queue_waiting import (
    check_receiving_ends_when_time_is_up,
    check_receiving_wakes_when_a_delay_ends,
    check_receiving_wakes_when_a_key_is_free,
    check_receiving_wakes_when_something_is_sent,
)

__all__ = ["QUEUE_CHECKS", "QueueSite"]


async def check_sends_are_counted(site: QueueSite) -> None:
    """``send`` returns how many messages were new; none is no error."""
    require_equal(await site.queue.send("work", []), 0, "sending nothing")
    require_equal(await site.queue.send("work", messages("a", "b")), 2, "sending two")
    require_equal(sorted(await site.finish(2)), ["a", "b"], "ids")


async def check_messages_return_as_they_were(site: QueueSite) -> None:
    """A message received is the message sent, attribute by attribute; bodies may be empty, ids any text."""
    sent = [
        Message("a", bytes(range(256)), "k", {"traceparent": "00-ab-cd-01", "": "\u00df\n"}),
        Message("\u00fc\U0001f6eb '\"%", b"", "\u00e9 '\"%"),
        Message("c" * 200, b"null", "", None),
        Message("d.e:f/g", b"1", "x", {"a": ""}),
    ]
    await site.queue.send("\u00fc work", sent)
    found = {one.message.id: one for one in await site.receive(4, queue="\u00fc work")}
    require_equal(
        {id: one.message for id, one in found.items()}, {item.id: item for item in sent}, "messages"
    )
    require_equal({one.queue for one in found.values()}, {"\u00fc work"}, "queues named by loans")


async def check_queues_are_apart(site: QueueSite) -> None:
    """A message is received from the queue it was sent to, and its id is that queue's alone."""
    await site.queue.send("work", messages("a", "b"))
    require_equal(await site.queue.send("rest", messages("a")), 1, "an id that another queue took")
    require_equal(await site.finish(1, queue="rest"), ["a"], "messages of one queue")
    await site.require_none("messages left in it", queue="rest")
    require_equal(sorted(await site.finish(2)), ["a", "b"], "messages of the other")


async def check_unknown_queues_are_empty(site: QueueSite) -> None:
    """A queue that nobody sent to has nothing in it, and nothing that is done to it fails."""
    queue = site.queue
    await site.require_none("messages of an unknown queue")
    require_equal(await queue.depth("work"), Depth(0, 0, 0, 0), "depth")
    require_equal(list(await queue.dead("work")), [], "dead letters")
    found = await queue.redrive("work", ["a"]), await queue.discard("work", ["a"])
    require_equal(found, (0, 0), "dead letters redriven and discarded")
    require_equal((list(await queue.ack([])), list(await queue.bury({}, "work"))), ([], []), "lost loans")


async def check_ids_are_taken_once(site: QueueSite) -> None:
    """An id taken within the window is not stored again, acknowledged or not; the first message stays."""
    if not site.queue.capabilities.dedup_seconds:
        return
    batch = [Message("a", b"1"), Message("b", b"1"), Message("a", b"2")]
    require_equal(await site.queue.send("work", batch), 2, "new messages of a batch with one twice")
    again = [Message("b", b"2"), Message("c", b"1")]
    require_equal(await site.other.send("work", again), 1, "new messages beside one known")
    found = await site.receive(3)
    require_equal(sorted(ids_of(found)), ["a", "b", "c"], "ids")
    require(all(one.message.body == b"1" for one in found), "a later message took the place of the first")
    await site.queue.ack(found)
    require_equal(await site.queue.send("work", messages("a")), 0, "new messages after their ack")
    await site.require_none("messages sent again")


async def check_ids_are_forgotten_after_the_window(site: QueueSite) -> None:
    """An id is remembered for ``dedup_seconds`` from when it was taken, and may be sent again after that."""
    window = site.queue.capabilities.dedup_seconds
    if site.advance is None or not 0 < window < math.inf:
        return
    await site.queue.send("work", messages("a"))
    await site.finish(1)
    await site.pass_time(window * 0.9)
    require_equal(await site.queue.send("work", messages("a", "b")), 1, "new messages within the window")
    await site.pass_time(window * 0.2)
    require_equal(await site.queue.send("work", messages("a", "b")), 1, "new messages after it")
    require_equal(sorted(await site.finish(2)), ["a", "b"], "messages")


async def check_delayed_messages_wait(site: QueueSite) -> None:
    """A message sent with a delay is not received before that is over, and then it is."""
    if site.queue.capabilities.delay_seconds_max < 2 * site.short_seconds:
        return
    delay, since = 2 * site.short_seconds, site.monotonic()
    await site.queue.send("work", messages("a", "b"), delay_seconds=delay)
    await site.require_kept_back(delay, since, "sent with a delay")
    require_equal(sorted(await site.finish(2)), ["a", "b"], "messages after their delay")


async def check_impossible_delays_are_refused(site: QueueSite) -> None:
    """A delay below 0 or above ``delay_seconds_max`` is refused, and nothing is stored."""
    queue, most = site.queue, site.queue.capabilities.delay_seconds_max
    if most < math.inf:
        too_long = queue.send("work", messages("a"), delay_seconds=most * 1.01 + 1)
        await require_raises(InvalidInputError, too_long, "a delay that is too long")
    before = queue.send("work", messages("b"), delay_seconds=-1)
    await require_raises(InvalidInputError, before, "a delay below 0")
    require_equal(await queue.depth("work"), Depth(0, 0, 0, 0), "depth afterwards")
    await queue.send("work", messages("c"))
    loans = await site.receive(1)
    await require_raises(InvalidInputError, queue.nack(loans, delay_seconds=-1), "a nack's delay below 0")
    require_equal(list(await queue.ack(loans)), [], "loans lost by a refused call")


async def check_too_large_stores_nothing(site: QueueSite) -> None:
    """A message beyond ``record_bytes_max`` is refused, and none of its call is stored."""
    large = Message("large", bytes(site.queue.capabilities.record_bytes_max + 1))
    send = site.queue.send("work", [*messages("a"), large])
    await require_raises(InvalidInputError, send, "a message that is too large")
    await site.require_none("messages of a refused call")
    require_equal(await site.queue.send("work", messages("a")), 1, "new messages afterwards")


async def check_too_many_store_nothing(site: QueueSite) -> None:
    """More messages than ``batch_count_max`` are refused, and none of them is stored."""
    count = site.queue.capabilities.batch_count_max + 1
    send = site.queue.send("work", messages(*(f"{n}" for n in range(count))))
    await require_raises(InvalidInputError, send, "too many messages")
    await site.require_none("messages of a refused call")
    require_equal(await site.queue.send("work", messages("0")), 1, "new messages afterwards")


async def check_impossible_loans_are_refused(site: QueueSite) -> None:
    """Borrowing less than one message, or for no time, is refused."""
    await site.queue.send("work", messages("a"))
    for count, seconds in ((0, LONG_SECONDS), (1, 0.0), (1, -1.0)):
        receive = site.queue.receive("work", count_max=count, lease_seconds=seconds)
        await require_raises(InvalidInputError, receive, f"{count} messages for {seconds:g} seconds")
    require_equal(await site.finish(1), ["a"], "messages afterwards")


async def check_depth_counts_by_kind(site: QueueSite) -> None:
    """``depth`` counts what is ready, waits for its delay, is on loan, and was given up."""
    await site.queue.send("work", messages(*"abcdef"))
    loans = await site.receive(5)
    await site.queue.ack(loans[:1])
    await site.queue.bury({loans[1].receipt: "broken"}, "work")
    await site.queue.nack(loans[2:3], delay_seconds=LONG_SECONDS)
    await site.other.send("other", messages("a"))
    require_equal(await site.other.depth("work"), Depth(ready=1, delayed=1, leased=2, dead=1), "depth")


async def check_concurrent_sends_all_happen(site: QueueSite) -> None:
    """Messages sent at the same time are all stored, each once."""
    batches = [messages(*(f"{batch}-{n}" for n in range(10))) for batch in range(8)]
    sends = [(site.queue, site.other)[n % 2].send("work", batch) for n, batch in enumerate(batches)]
    require_equal(await asyncio.gather(*sends), [10] * 8, "new messages")
    wanted = sorted(item.id for batch in batches for item in batch)
    require_equal(sorted(await site.finish(80)), wanted, "ids")
    await site.require_none("messages beyond those sent")


async def check_cancelled_sends_are_whole(site: QueueSite) -> None:
    """A cancelled ``send`` happened wholly or not at all, and the queue goes on."""
    for attempt in range(10):
        batch = messages(*(f"{attempt}-{n}" for n in range(20)))
        task = asyncio.ensure_future(site.queue.send("work", batch))
        await settle(attempt)
        task.cancel()
        await asyncio.wait([task])
    await site.queue.send("work", messages("last"))
    found: dict[str, int] = {}
    while not found.get("last"):
        for id in await site.finish(1):
            batch_name = id.partition("-")[0]
            found[batch_name] = found.get(batch_name, 0) + 1
    while page := await site.queue.receive("work", count_max=100, lease_seconds=LONG_SECONDS):
        for id in ids_of(page):
            found[id.partition("-")[0]] += 1
    found.pop("last")
    if set(found.values()) - {20}:
        raise BrokenLaw(f"messages stored by cancelled sends: {found}")


async def check_capabilities_are_honest(site: QueueSite) -> None:
    """Capabilities say in words how durable a message is, and name limits that can be kept."""
    found = site.queue.capabilities
    require(
        len(found.durability) > 20 and found.durability.endswith("."), f"durability: {found.durability!r}"
    )
    require(bool(found.commit_domain), "no commit domain is named")
    require(found.ordering in ("none", "key"), f"ordering: {found.ordering!r}")
    require(found.batch_count_max >= 1 and found.record_bytes_max >= 1, f"limits: {found}")
    require(found.dedup_seconds >= 0 and found.delay_seconds_max >= 0, f"times: {found}")
    require(found.url is None or ":" in found.url, f"url: {found.url!r}")
    require_equal(site.other.capabilities, found, "capabilities of another connection")


QUEUE_CHECKS: Sequence[Check[QueueSite]] = (
    check_sends_are_counted,
    check_messages_return_as_they_were,
    check_queues_are_apart,
    check_unknown_queues_are_empty,
    check_ids_are_taken_once,
    check_ids_are_forgotten_after_the_window,
    check_delayed_messages_wait,
    check_impossible_delays_are_refused,
    check_too_large_stores_nothing,
    check_too_many_store_nothing,
    check_impossible_loans_are_refused,
    check_depth_counts_by_kind,
    check_concurrent_sends_all_happen,
    check_cancelled_sends_are_whole,
    check_capabilities_are_honest,
    check_loans_run_out,
    check_loans_are_bounded,
    check_acknowledged_messages_are_gone,
    check_late_acknowledgements_count,
    check_attempts_count_loans,
    check_nacked_messages_come_at_once,
    check_nacked_messages_wait_for_their_delay,
    check_renewals_keep_a_loan,
    check_lost_loans_do_nothing,
    check_ended_loans_are_lost,
    check_consumers_share_no_message,
    check_cancelled_receives_lose_nothing,
    check_cancelled_acks_are_whole,
    check_keys_keep_their_order,
    check_one_of_a_key_is_on_loan,
    check_keys_do_not_wait_for_each_other,
    check_nacked_messages_keep_their_place,
    check_lost_loans_keep_their_place,
    check_delayed_messages_hold_back_their_key,
    check_buried_messages_are_dead_letters,
    check_burying_frees_the_key,
    check_dead_letters_come_in_pages,
    check_redriven_messages_are_new,
    check_redriven_messages_go_behind_their_key,
    check_discarded_letters_are_gone,
    check_receiving_wakes_when_something_is_sent,
    check_receiving_wakes_when_a_delay_ends,
    check_receiving_wakes_when_a_key_is_free,
    check_receiving_ends_when_time_is_up,
)
"""Every law of ``Queue``: an adapter conforms if each holds."""
