"""The laws of ``Queue`` about waiting for a message."""

import asyncio
from collections.abc import Sequence

from tropism.ports.queue import Queue, Received
from tropism.testing.checks import BrokenLaw, require, require_equal, settle
from tropism.testing.queue_site import LONG_SECONDS, QueueSite, ids_of, messages

_TURNS = 200  # of giving way, until what happens in real time (threads, sockets) has happened


def _waiting(queue: Queue, wait_seconds: float) -> "asyncio.Task[Sequence[Received]]":
    receive = queue.receive("work", count_max=5, lease_seconds=LONG_SECONDS, wait_seconds=wait_seconds)
    return asyncio.ensure_future(receive)


async def _asleep(site: QueueSite, task: "asyncio.Task[Sequence[Received]]") -> None:
    """Return when a call that has nothing to return has had the time to fall asleep."""
    await settle()
    # A question behind its own: by the answer it is asleep, or will see what changes.
    await site.other.depth("work")
    await settle()
    require(not task.done(), "it did not wait")


async def _woken(task: "asyncio.Task[Sequence[Received]]", what: str) -> list[str]:
    try:
        return ids_of(await asyncio.wait_for(asyncio.shield(task), 10))
    except TimeoutError:
        raise BrokenLaw(f"nobody was woken by {what}") from None
    finally:
        task.cancel()


async def check_receiving_wakes_when_something_is_sent(site: QueueSite) -> None:
    """A waiting ``receive`` returns when another connection sends, to a new queue as well."""
    for id in ("a", "b"):
        task = _waiting(site.queue, LONG_SECONDS)
        await _asleep(site, task)
        await site.other.send("work", messages(id))
        require_equal(await _woken(task, "a send"), [id], "messages")


async def check_receiving_wakes_when_a_delay_ends(site: QueueSite) -> None:
    """A waiting ``receive`` returns when a delay ends, though nobody sends anything."""
    await site.queue.send("work", messages("a"))
    await site.queue.nack(await site.receive(1), delay_seconds=site.short_seconds)
    task = _waiting(site.queue, LONG_SECONDS)
    await _asleep(site, task)
    for _ in range(_TURNS):
        if task.done():
            break
        await site.pass_time(site.short_seconds / 10)
    require_equal(await _woken(task, "the end of a delay"), ["a"], "messages")


async def check_receiving_wakes_when_a_key_is_free(site: QueueSite) -> None:
    """A waiting ``receive`` returns when another connection ends the loan of its key's first message."""
    if site.queue.capabilities.ordering != "key":
        return
    await site.queue.send("work", messages("a", "b", "c", key="k"))
    for end, wanted in ((site.other.ack, "b"), (site.other.nack, "b")):
        held = await site.receive(1)
        task = _waiting(site.queue, LONG_SECONDS)
        await _asleep(site, task)
        await end(held)
        require_equal(await _woken(task, end.__name__), [wanted], "messages")
        await site.queue.nack(task.result())


async def check_receiving_ends_when_time_is_up(site: QueueSite) -> None:
    """``receive`` returns nothing once it waited as long as it was told to, and not before."""
    since = site.monotonic()
    task = _waiting(site.queue, site.short_seconds)
    for _ in range(_TURNS):
        await settle(5)
        if task.done():
            break
        await site.pass_time(site.short_seconds / 10)
    require(task.done(), "it still waits")
    require_equal(ids_of(task.result()), [], "messages")
    waited = site.monotonic() - since
    require(waited >= 0.99 * site.short_seconds, f"it waited {waited:g} of {site.short_seconds:g} seconds")
