"""The laws of ``Queue`` about loans: how they end, how they are lost, and what comes again."""

import asyncio

from tropism.ports.queue import Queue
from tropism.testing.checks import require, require_equal, settle
from tropism.testing.queue_site import LONG_SECONDS, QueueSite, ids_of, messages


async def check_loans_run_out(site: QueueSite) -> None:
    """A message that is not acknowledged within its lease is received again, on its next attempt."""
    since = site.monotonic()
    await site.queue.send("work", messages("a", "b"))
    first = await site.receive(2, seconds=2 * site.short_seconds)
    await site.require_kept_back(2 * site.short_seconds, since, "on loan")
    again = await site.receive(2)
    require_equal(sorted(ids_of(again)), ["a", "b"], "messages received again")
    if site.queue.capabilities.attempt_count and site.advance:
        require_equal([one.attempt for one in first + again], [1, 1, 2, 2], "attempts")
    require(not {one.receipt for one in first} & {one.receipt for one in again}, "two loans, one receipt")


async def check_loans_are_bounded(site: QueueSite) -> None:
    """``receive`` lends at most ``count_max`` messages."""
    await site.queue.send("work", messages(*(f"{n}" for n in range(10))))
    found = await site.queue.receive("work", count_max=3, lease_seconds=LONG_SECONDS)
    require(1 <= len(found) <= 3, f"{len(found)} messages were received, at most 3 were asked for")
    require_equal(len(await site.receive(10 - len(found))), 10 - len(found), "the others")


async def check_acknowledged_messages_are_gone(site: QueueSite) -> None:
    """A message that was acknowledged is never received again; one beside it that was not, is."""
    await site.queue.send("work", messages("a", "b", "c"))
    loans = await site.receive(3, seconds=2 * site.short_seconds)
    kept = next(one for one in loans if one.message.id == "b")
    require_equal(list(await site.queue.ack([one for one in loans if one is not kept])), [], "lost loans")
    await site.pass_time(2.5 * site.short_seconds)
    require_equal(await site.finish(1), ["b"], "messages received again")
    await site.pass_time(2.5 * site.short_seconds)
    await site.require_none("messages after all were acknowledged")


async def check_late_acknowledgements_count(site: QueueSite) -> None:
    """A loan that ran out and was not given on may still be acknowledged."""
    await site.queue.send("work", messages("a"))
    loans = await site.receive(1, seconds=site.short_seconds)
    await site.pass_time(1.5 * site.short_seconds)
    require_equal(list(await site.queue.ack(loans)), [], "lost loans")
    await site.require_none("messages acknowledged late")


async def check_attempts_count_loans(site: QueueSite) -> None:
    """``attempt`` counts the loans of a message from 1, by whichever consumer."""
    if not site.queue.capabilities.attempt_count:
        return
    await site.queue.send("work", messages("a"))
    attempts = []
    for consumer in (site.queue, site.other, site.other, site.queue):
        (loan,) = await site.receive(1)
        attempts.append(loan.attempt)
        await consumer.nack([loan])
    require_equal(attempts, [1, 2, 3, 4], "attempts")


async def check_nacked_messages_come_at_once(site: QueueSite) -> None:
    """A message given back without a delay can be received by the next consumer."""
    await site.queue.send("work", messages("a", "b"))
    loans = await site.receive(2)
    require_equal(list(await site.queue.nack(loans)), [], "lost loans")
    require_equal(sorted(await site.finish(2)), ["a", "b"], "messages given back")


async def check_nacked_messages_wait_for_their_delay(site: QueueSite) -> None:
    """A message given back with a delay is not received before that is over, and then it is."""
    await site.queue.send("work", messages("a"))
    loans = await site.receive(1, seconds=site.short_seconds)
    delay, since = 2 * site.short_seconds, site.monotonic()
    require_equal(list(await site.queue.nack(loans, delay_seconds=delay)), [], "lost loans")
    await site.require_kept_back(delay, since, "given back with a delay")
    require_equal(await site.finish(1), ["a"], "messages after their delay")


async def check_renewals_keep_a_loan(site: QueueSite) -> None:
    """``renew`` keeps a loan for the seconds it names, from now."""
    if not site.queue.capabilities.lease_renewal:
        return
    await site.queue.send("work", messages("a", "b"))
    loans = await site.receive(2, seconds=2 * site.short_seconds)
    require_equal(list(await site.queue.renew(loans[:1], lease_seconds=LONG_SECONDS)), [], "lost loans")
    await site.pass_time(2.5 * site.short_seconds)
    require_equal(await site.finish(1), ids_of(loans[1:]), "messages whose loan was not renewed")
    await site.require_none("messages whose loan was renewed")
    require_equal(list(await site.queue.ack(loans[:1])), [], "lost loans after a renewal")


async def check_lost_loans_do_nothing(site: QueueSite) -> None:
    """Whatever is done with a loan that was given on is reported, and does not touch the new one."""
    queue = site.queue
    await queue.send("work", messages("a", key="k"))
    lost = await site.receive(1, seconds=site.short_seconds)
    await site.pass_time(1.5 * site.short_seconds)
    held = await site.receive(1)
    wanted = [lost[0].receipt]
    require_equal(list(await queue.nack(lost)), wanted, "lost loans told by nack")
    if queue.capabilities.lease_renewal:
        require_equal(list(await queue.renew(lost, lease_seconds=0.001)), wanted, "lost loans told by renew")
    require_equal(list(await queue.bury({wanted[0]: "late"}, "work")), wanted, "lost loans told by bury")
    require_equal(list(await queue.ack(lost)), wanted, "lost loans told by ack")
    await site.pass_time(site.short_seconds)
    await site.require_none("messages on a newer loan")
    require_equal(list(await queue.dead("work")), [], "dead letters")
    require_equal(list(await queue.ack(lost + held)), wanted, "lost loans beside a good one")
    require_equal((await queue.depth("work")).leased, 0, "messages on loan")


async def check_ended_loans_are_lost(site: QueueSite) -> None:
    """A loan ends with its ``ack`` or ``nack``: what is done with it afterwards is reported, and harmless."""
    await site.queue.send("work", messages("a", "b"))
    loans = sorted(await site.receive(2), key=lambda one: one.message.id)
    await site.queue.ack(loans[:1])
    await site.queue.nack(loans[1:])
    lost = [one.receipt for one in loans]
    require_equal(sorted(await site.other.ack(loans)), sorted(lost), "lost loans told by ack")
    require_equal(sorted(await site.other.nack(loans, delay_seconds=LONG_SECONDS)), sorted(lost), "by nack")
    require_equal(await site.finish(1), ["b"], "messages given back")
    await site.require_none("messages acknowledged")


async def check_consumers_share_no_message(site: QueueSite) -> None:
    """However many receive at once, each message is on loan to one of them."""
    wanted = [f"{n:03}" for n in range(120)]
    await site.queue.send("work", messages(*wanted))
    found: list[str] = []

    async def consume(queue: Queue, size: int) -> None:
        while len(found) < len(wanted):
            page = await queue.receive("work", count_max=size, lease_seconds=LONG_SECONDS)
            found.extend(ids_of(page))
            await asyncio.sleep(0)
            lost = list(await queue.ack(page))
            require_equal(lost, [], "lost loans")
            # Gives way, so that a limit of time holds even where an adapter never does.
            await asyncio.sleep(0)

    await asyncio.gather(*(consume((site.queue, site.other)[n % 2], 1 + n % 4) for n in range(12)))
    require_equal(sorted(found), wanted, "messages by all consumers")


async def check_cancelled_receives_lose_nothing(site: QueueSite) -> None:
    """What a cancelled ``receive`` may have borrowed comes again when its lease is over."""
    wanted = [f"{n}" for n in range(10)]
    await site.queue.send("work", messages(*wanted))
    for turn in range(10):
        receive = site.queue.receive("work", count_max=2, lease_seconds=site.short_seconds, wait_seconds=1)
        task = asyncio.ensure_future(receive)
        await settle(turn)
        task.cancel()
        await asyncio.wait([task])
    found: list[str] = []
    for _ in range(20):
        # What was asked and cancelled may still be on its way to the store, and its lease begins there.
        await site.pass_time(1.5 * site.short_seconds)
        page = await site.queue.receive("work", count_max=10, lease_seconds=LONG_SECONDS)
        found += ids_of(page)
        if len(found) >= len(wanted):
            break
    require_equal(sorted(found), wanted, "messages")


async def check_cancelled_acks_are_whole(site: QueueSite) -> None:
    """A cancelled ``ack`` ended all its loans or none, and the queue goes on."""
    for turn in range(6):
        queue = f"work-{turn}"
        await site.queue.send(queue, messages(*"abcde"))
        loans = await site.receive(5, queue=queue)
        task = asyncio.ensure_future(site.queue.ack(loans))
        await settle(turn)
        task.cancel()
        await asyncio.wait([task])
        # Where it did not happen the loans stand, and can be given back.
        lost = set(await site.queue.nack(loans))
        require(len(lost) in (0, 5), f"{len(lost)} of 5 loans were ended by a cancelled ack")
        require_equal(len(await site.receive(5 - len(lost), queue=queue)), 5 - len(lost), "the others")
