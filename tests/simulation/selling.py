"""Shops that sell, some sales told late; windows of every kind over them, and what they are when closed."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from tropism import (
    Closed,
    Event,
    Reader,
    Service,
    State,
    View,
    count,
    distinct,
    maximum,
    minutes,
    session,
    sliding,
    total,
    tumbling,
    use,
)
from tropism.core.envelope import Stored
from tropism.core.time import to_us
from tropism.runtime.windows import Window

MINUTE = to_us(minutes(1))
START = 1_700_000_000_000_000 // (60 * MINUTE) * 60 * MINUTE
LATENESS = minutes(10)
SHOPS = ("north", "south", "east", "west", "inn")

WINDOWS: dict[str, Window] = {
    "hourly": tumbling(minutes(60)),
    "hopping": sliding(minutes(30), every=minutes(15)),
    "visits": session(minutes(12)),
}


class Sold(Event, type="sales.sold.v1", key="id"):
    id: str
    shop: str
    amount: float


class Asked(Event, type="asks.asked.v1", key="id"):
    id: str
    shop: str


class Told(Event, type="tells.told.v1", key="id"):
    id: str
    n: int
    amount: float


class Summed(Event, type="sums.summed.v1", key="shop"):
    shop: str
    view: str
    start_us: int
    end_us: int
    n: int
    amount: float
    largest: float
    amounts: int
    so_far: int


def view_of(name: str) -> View:
    return View(
        name,
        Sold,
        by=lambda e: e.shop,
        window=WINDOWS[name],
        lateness=LATENESS,
        n=count(),
        amount=total(lambda e: e.amount),
        largest=maximum(lambda e: e.amount),
        amounts=distinct(lambda e: e.amount),
    )


async def at_once(_: Closed) -> None:
    """Wait for nothing."""


def service(hold: Callable[[Closed], Awaitable[None]] = at_once) -> Service:
    """A service that sums up every window that closes, counts them per shop, and answers who asks."""
    selling = Service("selling")
    views = {name: view_of(name) for name in WINDOWS}

    def summed(closed: Closed, seen: State[int]) -> Summed:
        seen.set((seen.get() or 0) + 1)
        row = closed.row
        return Summed(
            shop=closed.key,
            view=closed.view,
            start_us=closed.start_us,
            end_us=closed.end_us,
            n=row.n,
            amount=row.amount,
            largest=row.largest,
            amounts=row.amounts,
            so_far=seen.get() or 0,
        )

    @selling.closed(views["hourly"])
    def hourly(closed: Closed, seen: State[int] = use("hourly")) -> Summed:
        return summed(closed, seen)

    @selling.closed(views["hopping"], timeout_seconds=1e9)
    async def hopping(closed: Closed, seen: State[int] = use("hopping")) -> Summed:
        await hold(closed)
        return summed(closed, seen)

    @selling.closed(views["visits"], timeout_seconds=1e9)
    async def visits(closed: Closed, seen: State[int] = use("visits")) -> Summed:
        await hold(closed)
        return summed(closed, seen)

    @selling.on(Asked)
    def answer(
        asked: Asked, hourly: Reader = use(views["hourly"]), visits: Reader = use(views["visits"])
    ) -> Told:
        return Told(id=asked.id, n=visits(asked.shop).n, amount=hourly(asked.shop).amount)

    return selling


def totals() -> Service:
    """A service that keeps windows of what the first one says of its own."""
    service = Service("totals")
    summed = View(
        "summed",
        Summed,
        by=lambda e: e.shop,
        window=tumbling(minutes(120)),
        n=count(),
        amount=total(lambda e: e.amount),
    )

    @service.closed(summed)
    def close(closed: Closed) -> Told:
        return Told(id=f"{closed.key}/{closed.start_us}", n=closed.row.n, amount=closed.row.amount)

    return service


@dataclass(frozen=True)
class Sale:
    """A sale, and when it is published: maybe later than it was made."""

    sold: Sold
    time_us: int
    published_us: int


def sales(seed: int, number: int, *, later_than_allowed: bool) -> list[Sale]:
    """Return sales in order of being published; most at once, some late, and some too late if told."""
    random = Random(seed)
    found = []
    for n in range(number):
        time_us = START + random.randrange(0, 5 * 60 * MINUTE)
        behind_us = random.choice((0, 0, random.randrange(0, to_us(LATENESS))))
        if later_than_allowed and n % 9 == 0:
            behind_us = to_us(LATENESS) + random.randrange(1, 40 * MINUTE)
        sold = Sold(id=f"s{n}", shop=random.choice(SHOPS), amount=random.choice((0.1, 0.2, 7.3, 1e6)))
        found.append(Sale(sold, time_us, time_us + behind_us))
    return sorted(found, key=lambda s: (s.published_us, s.sold.id))


# -- the reference -------------------------------------------------------------------------------------------

Window_ = tuple[str, str, int, int]
"""A view, a shop, and from when to when."""


def wanted(stored: Sequence[Stored], sold: dict[str, Sold], until_us: int) -> dict[Window_, list[Sold]]:
    """Return what is in each window that closes up to a moment, by looking at the log."""
    taken = [s for s in stored if s.known_us - s.record.time_us <= to_us(LATENESS)]
    taken.sort(key=lambda s: (s.record.time_us, s.record.id))
    found: dict[Window_, list[Sold]] = {}
    for shop in SHOPS:
        mine = [(s.record.time_us, sold[s.record.id]) for s in taken if sold[s.record.id].shop == shop]
        for name, size, every in (("hourly", 60, 60), ("hopping", 30, 15)):
            for end in range(START - 60 * MINUTE, until_us + 1, every * MINUTE):
                within = [e for t, e in mine if end - size * MINUTE <= t < end]
                if within:
                    found[name, shop, end - size * MINUTE, end] = within
        found |= visits(shop, mine)
    return {w: events for w, events in found.items() if w[3] + to_us(LATENESS) <= until_us}


def visits(shop: str, mine: list[tuple[int, Sold]]) -> dict[Window_, list[Sold]]:
    runs: list[list[tuple[int, Sold]]] = []
    for time_us, event in mine:
        if runs and time_us - runs[-1][-1][0] < 12 * MINUTE:
            runs[-1].append((time_us, event))
        else:
            runs.append([(time_us, event)])
    return {("visits", shop, run[0][0], run[-1][0] + 12 * MINUTE): [e for _, e in run] for run in runs}


def as_summed(windows: dict[Window_, list[Sold]]) -> list[Summed]:
    """Return what the service says of windows."""
    found, so_far = [], dict[tuple[str, str], int]()
    for (name, shop, start_us, end_us), events in sorted(windows.items(), key=lambda w: (w[0][3], w[0])):
        amounts = [e.amount for e in events]
        so_far[name, shop] = so_far.get((name, shop), 0) + 1
        found.append(
            Summed(
                shop=shop,
                view=name,
                start_us=start_us,
                end_us=end_us,
                n=len(events),
                amount=sum(amounts, 0.0),
                largest=max(amounts),
                amounts=len(set(amounts)),
                so_far=so_far[name, shop],
            )
        )
    return found
