"""The laws of ``Queue`` about dead letters."""

from tropism.ports.queue import Message
from tropism.testing.checks import require, require_equal
from tropism.testing.queue_site import QueueSite, messages


async def _bury(site: QueueSite, *ids: str, key: str = "") -> None:
    await site.queue.send("work", messages(*ids, key=key))
    loans = await site.receive(1 if key else len(ids))
    lost = await site.queue.bury({one.receipt: f"cause of {one.message.id}" for one in loans}, "work")
    require_equal(list(lost), [], "lost loans")


async def check_buried_messages_are_dead_letters(site: QueueSite) -> None:
    """``bury`` makes of a message one dead letter, with its cause and attempts, and it is not lent again."""
    sent = Message("a", b"\0body", "k", {"x": "y"})
    await site.queue.send("work", [sent])
    await site.queue.nack(await site.receive(1))
    (loan,) = await site.receive(1)
    require_equal(list(await site.queue.bury({loan.receipt: "it broke: \u00fc"}, "work")), [], "lost loans")
    lost = list(await site.queue.bury({loan.receipt: "again"}, "work"))
    require_equal(lost, [loan.receipt], "lost loans told by a second bury")
    (letter,) = await site.other.dead("work")
    require_equal((letter.message, letter.cause), (sent, "it broke: \u00fc"), "the dead letter")
    require(letter.died_us >= 0, f"it died at {letter.died_us}")
    if site.queue.capabilities.attempt_count:
        require_equal(letter.attempts, 2, "attempts of the dead letter")
    await site.require_none("buried messages")
    require_equal((await site.queue.depth("work")).dead, 1, "dead letters counted")


async def check_burying_frees_the_key(site: QueueSite) -> None:
    """A buried message makes way for the next one of its key."""
    await _bury(site, "a", "b", key="k")
    require_equal(await site.finish(1), ["b"], "the message behind a buried one")


async def check_dead_letters_come_in_pages(site: QueueSite) -> None:
    """``dead`` returns letters in order of id by code points, at most ``count_max``, behind an id."""
    ids = ["A", "a", "a0", "b", "\u00e9", "\uffff", "\U0001f6eb"]
    await _bury(site, *ids[::2], *ids[1::2])
    found: list[str] = []
    while page := await site.queue.dead("work", after=found[-1] if found else "", count_max=3):
        require(len(page) <= 3, f"a page of {len(page)}")
        found += [letter.message.id for letter in page]
        require(len(found) <= len(ids), "pages repeat letters")
    require_equal(found, ids, "ids by pages")
    (behind,) = await site.queue.dead("work", after="a00", count_max=1)
    require_equal((behind.message.id, behind.cause), ("b", "cause of b"), "behind an id that is not there")


async def check_redriven_messages_are_new(site: QueueSite) -> None:
    """``redrive`` sends dead letters again as new ones: attempts count anew, and no window swallows them."""
    await _bury(site, "a", "b")
    require_equal(await site.other.redrive("work", ["a", "x", "a"]), 1, "letters redriven")
    require_equal(await site.queue.redrive("work", ["a"]), 0, "letters redriven twice")
    (loan,) = await site.receive(1)
    require_equal((loan.message.id, loan.message.body), ("a", b"a"), "the message redriven")
    if site.queue.capabilities.attempt_count:
        require_equal(loan.attempt, 1, "its attempt")
    left = [letter.message.id for letter in await site.queue.dead("work")]
    require_equal(left, ["b"], "letters left")
    require_equal(list(await site.queue.ack([loan])), [], "lost loans")
    await site.require_none("messages after the redriven one")


async def check_redriven_messages_go_behind_their_key(site: QueueSite) -> None:
    """A redriven message comes behind the others of its key that wait, and waits for them."""
    if site.queue.capabilities.ordering != "key":
        return
    await _bury(site, "a", "b", "c", key="k")
    await site.queue.redrive("work", ["a"])
    found = [(await site.finish(1))[0] for _ in range(3)]
    require_equal(found, ["b", "c", "a"], "messages of the key")


async def check_discarded_letters_are_gone(site: QueueSite) -> None:
    """``discard`` deletes the dead letters it names, and counts those that were there."""
    await _bury(site, "a", "b", "c")
    require_equal(await site.other.discard("work", ["a", "c", "x", "a"]), 2, "letters discarded")
    require_equal([letter.message.id for letter in await site.queue.dead("work")], ["b"], "letters left")
    require_equal(await site.queue.redrive("work", ["a", "c"]), 0, "discarded letters redriven")
    await site.require_none("discarded messages")
