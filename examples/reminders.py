"""Invoices that are not paid in time are reminded of; a report tells of them on weekdays at six.

Run it: ``python examples/reminders.py``. Days pass in virtual time.
"""

import asyncio
from datetime import UTC, datetime

from tropism import App, Cancel, Event, Later, Service, State, Tick, days, testing, use


class Invoiced(Event, type="invoices.invoiced.v1", key="invoice"):
    invoice: str


class Paid(Event, type="invoices.paid.v1", key="invoice"):
    invoice: str


class Overdue(Event, type="reminders.overdue.v1", key="invoice"):
    invoice: str


class Reported(Event, type="reports.reported.v1", key="report"):
    report: str
    overdue: int


billing, reports = Service("billing"), Service("reports")


@billing.on(Invoiced)
async def watch(event: Invoiced) -> Later[Overdue]:
    return Later(Overdue(invoice=event.invoice), days(14), name="payment")


@billing.on(Paid)
async def settle(event: Paid) -> Cancel:
    return Cancel(Overdue, "payment")


@reports.on(Overdue, by=lambda _: "all")
async def count(event: Overdue, overdue: State[int] = use("overdue")) -> None:
    overdue.set((overdue.get() or 0) + 1)


@reports.cron("0 6 * * MON-FRI", timezone="Europe/Paris", key="all")
async def report(tick: Tick, overdue: State[int] = use("overdue")) -> Reported:
    return Reported(report="all", overdue=overdue.get() or 0)


app = App("billing", services=[billing, reports])


async def main() -> list[tuple[str, int]]:
    """Return when each report with something to say came, and how many invoices it told of."""
    async with testing.run(app, start=datetime(2026, 1, 5, 9, tzinfo=UTC)) as t:
        await t.publish(Invoiced(invoice="A"), Invoiced(invoice="B"))
        await t.advance(days(10))
        await t.publish(Paid(invoice="B"))
        await t.advance(days(6))
        return [(f"{r.time:%a %d %H:%M}", r.event.overdue) for r in t.all(Reported) if r.event.overdue]


if __name__ == "__main__":
    for when, overdue in asyncio.run(main()):
        print(f"{when} UTC: {overdue} overdue")  # noqa: T201 (what it is for)
