"""Visits to a site: what was looked at without a long pause, told once it is over; and what led to a sale."""

from tropism import (
    App,
    Closed,
    Event,
    Service,
    View,
    count,
    distinct,
    join_as_of,
    last,
    minutes,
    session,
    use,
)


class PageViewed(Event, type="web.page-viewed.v1", key="visitor"):
    visitor: str
    page: str


class Bought(Event, type="shop.bought.v1", key="order"):
    order: str
    visitor: str


class VisitEnded(Event, type="visits.ended.v1", key="visitor"):
    visitor: str
    pages: int
    different: int
    left_from: str
    seconds: float


class SaleTraced(Event, type="sales.traced.v1", key="order"):
    order: str
    page: str | None


visits = View(
    "visits",
    PageViewed,
    by=lambda e: e.visitor,
    window=session(minutes(30)),
    lateness=minutes(2),
    pages=count(),
    different=distinct(lambda e: e.page),
    left_from=last(lambda e: e.page),
)
looked_at = join_as_of(
    "looked-at", PageViewed, by=lambda e: e.visitor, key=lambda sale: sale.visitor, tolerance=minutes(30)
)
following, tracing = Service("following"), Service("tracing")


@following.closed(visits)
async def end(visit: Closed) -> VisitEnded:
    row, seconds = visit.row, (visit.end_us - visit.start_us) / 1e6 - 30 * 60
    return VisitEnded(visit.key, row.pages, row.different, row.left_from, seconds)


@tracing.on(Bought)
async def trace(sale: Bought, seen: PageViewed | None = use(looked_at)) -> SaleTraced:
    return SaleTraced(order=sale.order, page=None if seen is None else seen.page)


app = App("visits", services=[following, tracing], views=[visits])
