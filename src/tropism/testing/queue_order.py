"""The laws of ``Queue`` about the order of messages of one key, where the queue keeps one."""

import asyncio

from tropism.ports.queue import Message, Queue
from tropism.testing.checks import require, require_equal
from tropism.testing.queue_site import LONG_SECONDS, QueueSite, ids_of, messages


def _ordered(site: QueueSite) -> bool:
    return site.queue.capabilities.ordering == "key"


async def check_keys_keep_their_order(site: QueueSite) -> None:
    """Messages of a key are worked through in order of sending by many consumers, nacked ones first."""
    if not _ordered(site):
        return
    keys, count = [f"k{n}" for n in range(5)], 8
    for n in range(count):
        await site.queue.send("work", [Message(f"{key}-{n}", b"", key) for key in keys])
    done: dict[str, list[str]] = {key: [] for key in keys}
    busy: set[str] = set()

    async def consume(queue: Queue, number: int) -> None:
        while sum(map(len, done.values())) < len(keys) * count:
            page = await queue.receive("work", count_max=1 + number % 3, lease_seconds=LONG_SECONDS)
            for one in page:
                require(one.message.key not in busy, f"two of {one.message.key} are on loan at once")
                busy.add(one.message.key)
            await asyncio.sleep(0)
            for one in page:
                busy.discard(one.message.key)
                if one.attempt == 1 and one.message.id.endswith(("1", "4")):
                    await queue.nack([one])
                else:
                    done[one.message.key].append(one.message.id)
                    await queue.ack([one])
            await asyncio.sleep(0)

    await asyncio.gather(*(consume((site.queue, site.other)[n % 2], n) for n in range(6)))
    require_equal(done, {key: [f"{key}-{n}" for n in range(count)] for key in keys}, "messages by key")


async def check_one_of_a_key_is_on_loan(site: QueueSite) -> None:
    """While a message of a key is on loan no other of it is lent, in the same call or by another consumer."""
    if not _ordered(site):
        return
    await site.queue.send("work", messages("a", "b", key="k"))
    await site.other.send("work", messages("c", key="k"))
    for wanted in ("a", "b", "c"):
        found = await site.queue.receive("work", count_max=10, lease_seconds=LONG_SECONDS)
        require_equal(ids_of(found), [wanted], "messages of one key lent at once")
        await site.require_none("messages of a key on loan")
        await site.queue.ack(found)


async def check_keys_do_not_wait_for_each_other(site: QueueSite) -> None:
    """A key whose first message is on loan or waits holds back no other key, and nothing without a key."""
    await site.queue.send("work", messages("a", key="a"))
    await site.queue.send("work", messages("b", key="b"))
    held = await site.receive(2)
    await site.queue.nack([one for one in held if one.message.id == "b"], delay_seconds=LONG_SECONDS)
    await site.queue.send("work", [Message("c", b"", "c"), Message("d", b""), Message("e", b"")])
    require_equal(sorted(ids_of(await site.receive(3))), ["c", "d", "e"], "messages of other keys")


async def check_nacked_messages_keep_their_place(site: QueueSite) -> None:
    """A message given back with a delay comes before those behind it in its key, which wait with it."""
    if not _ordered(site):
        return
    await site.queue.send("work", messages("a", "b", key="k"))
    await site.queue.nack(await site.receive(1), delay_seconds=site.short_seconds)
    await site.require_none("messages behind one that waits")
    await site.pass_time(1.2 * site.short_seconds)
    require_equal(await site.finish(1) + await site.finish(1), ["a", "b"], "order after a nack")


async def check_lost_loans_keep_their_place(site: QueueSite) -> None:
    """A message whose loan ran out comes before those behind it in its key."""
    if not _ordered(site):
        return
    await site.queue.send("work", messages("a", "b", key="k"))
    await site.receive(1, seconds=site.short_seconds)
    await site.pass_time(1.5 * site.short_seconds)
    require_equal(await site.finish(1) + await site.finish(1), ["a", "b"], "order after a lost loan")


async def check_delayed_messages_hold_back_their_key(site: QueueSite) -> None:
    """A message sent with a delay comes before those sent behind it in its key."""
    if not _ordered(site) or site.queue.capabilities.delay_seconds_max < site.short_seconds:
        return
    await site.queue.send("work", messages("a", key="k"), delay_seconds=site.short_seconds)
    await site.queue.send("work", messages("b", key="k"))
    await site.require_none("messages behind one that waits")
    await site.pass_time(1.2 * site.short_seconds)
    require_equal(await site.finish(1) + await site.finish(1), ["a", "b"], "order behind a delay")
