"""A small system whose every effect can be accounted for: what the fault suites and the simulation run.

Accounts are posted to; ``books`` numbers and chains the postings of each account, ``branches`` those of
each branch, which is another key, and ``notices`` does in batches what ``books`` does one by one. Each
keeps a ``Tally`` and tells it with every output: an effect that is lost, doubled or out of order shows in
all tallies of its key that follow.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

import msgspec

from tropism.core.envelope import Envelope, Record
from tropism.core.event import Event
from tropism.core.time import seconds
from tropism.runtime.inject import Output, State, use
from tropism.runtime.retry import Retry
from tropism.runtime.service import Service

BRANCHES = 3
COPIES = "by-branches.total"
"""The topic, and the service, through which bookings come under the keys of their branches."""

RETRY = Retry(attempts=5, first=seconds(0.5), longest=seconds(5))

Mishap = Callable[[str, str, str], Awaitable[None]]
"""Called with a handler's name, an event's id and its account before its effect: may raise, wait, or end
the process."""

MishapNow = Callable[[str, Sequence[tuple[str, str]]], None]
"""The same for a handler of batches, which does not wait: it is told the ids and accounts of all events."""


class Tally(msgspec.Struct, frozen=True):
    """How many events a key has had, and a checksum over which, in their order."""

    count: int = 0
    chain: int = 0

    def then(self, id: str) -> "Tally":
        """Return the tally with one more event."""
        return Tally(self.count + 1, crc32(id.encode(), self.chain))


class Posted(Event, type="ledger.posted.v1", key="account"):
    """An amount came to an account; ``number`` counts what its publisher has said of it."""

    account: str
    number: int


class Booked(Event, type="books.booked.v1", key="account"):
    """A posting was booked, as the account's n-th."""

    account: str
    number: int
    count: int
    chain: int


class Totalled(Event, type="totals.totalled.v1", key="branch"):
    """A booking was added up, as its branch's n-th."""

    branch: str
    count: int
    chain: int


class Noticed(Event, type="notices.noticed.v1", key="account"):
    """A booking was noticed, as its account's n-th."""

    account: str
    count: int
    chain: int


@dataclass(frozen=True, slots=True)
class Stage:
    """What one service makes of what lies in one topic: ``lane`` is the key it goes by."""

    service: str
    handler: str
    topic: str
    takes: str
    gives: str
    state: str


STAGES = (
    Stage("books", "books.book", "ledger", "ledger.posted.v1", "books.booked.v1", "books/state/tally"),
    Stage(
        "branches",
        "branches.total",
        COPIES,
        "books.booked.v1",
        "totals.totalled.v1",
        "branches/state/tally",
    ),
    Stage(
        "notices",
        "notices.notice",
        "books",
        "books.booked.v1",
        "notices.noticed.v1",
        "notices/state/tally",
    ),
)
TYPES: tuple[type[Event], ...] = (Posted, Booked, Totalled, Noticed)
TOPICS = ("ledger", "books", COPIES, "totals", "notices")


async def nothing(handler: str, id: str, account: str) -> None:
    """Let a call go well."""


def nothing_now(handler: str, events: Sequence[tuple[str, str]]) -> None:
    """Let a call of a batch go well."""


def branch_of(account: str) -> str:
    """Return the branch of an account."""
    return f"branch-{crc32(account.encode()) % BRANCHES}"


def record_of_posting(account: str, number: int, time_us: int) -> Record:
    """Return a posting as it is published: its id says of which account it is, and which number."""
    data = msgspec.json.encode({"account": account, "number": number})
    return Record(f"{account}/{number:05}", Posted.event_type, "ledger", account, time_us, data)


def books(mishap: Mishap = nothing, *, retry: Retry = RETRY, timeout_seconds: float = 20.0) -> Service:
    """Return the service that books what is posted."""
    service = Service("books")

    @service.on(Posted, retry=retry, timeout_seconds=timeout_seconds)
    async def book(posted: Envelope[Posted], tally: State[Tally] = use("tally")) -> Booked:
        now = (tally.get() or Tally()).then(posted.id)
        # Set before what may go wrong: a call that fails must leave nothing behind.
        tally.set(now)
        await mishap("books.book", posted.id, posted.data.account)
        return Booked(posted.data.account, posted.data.number, now.count, now.chain)

    return service


def branches(mishap: Mishap = nothing, *, retry: Retry = RETRY, timeout_seconds: float = 20.0) -> Service:
    """Return the service that adds up bookings by branch."""
    service = Service("branches")

    @service.on(
        Booked, by=lambda booked: branch_of(booked.account), retry=retry, timeout_seconds=timeout_seconds
    )
    async def total(booked: Envelope[Booked], tally: State[Tally] = use("tally")) -> Totalled:
        now = (tally.get() or Tally()).then(booked.id)
        tally.set(now)
        await mishap("branches.total", booked.id, booked.data.account)
        return Totalled(branch_of(booked.data.account), now.count, now.chain)

    return service


def notices(mishap: MishapNow = nothing_now, *, retry: Retry = RETRY) -> Service:
    """Return the service that takes bookings in batches."""
    service = Service("notices")

    @service.on(Booked, retry=retry, emits=[Noticed])
    def notice(booked: list[Envelope[Booked]], tally: State[Tally] = use("tally")) -> list[Output]:
        outputs = []
        for each in booked:
            account = each.data.account
            now = (tally.get(account) or Tally()).then(each.id)
            tally.set(now, account)
            outputs.append(Output(Noticed(account, now.count, now.chain), by=each))
        mishap("notices.notice", [(each.id, each.data.account) for each in booked])
        return outputs

    return service


def ledger(
    mishap: Mishap = nothing,
    mishap_now: MishapNow = nothing_now,
    *,
    retry: Retry = RETRY,
    timeout_seconds: float = 20.0,
) -> list[Service]:
    """Return all three services."""
    return [
        books(mishap, retry=retry, timeout_seconds=timeout_seconds),
        branches(mishap, retry=retry, timeout_seconds=timeout_seconds),
        notices(mishap_now, retry=retry),
    ]
