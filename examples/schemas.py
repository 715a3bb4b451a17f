"""A pydantic model as an event that has changed twice: old facts are read as new ones."""

import asyncio
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, Field

from tropism import App, Event, Service, event, testing, upcasts


@upcasts("orders.paid.v1", to="orders.paid.v2")
def name_the_currency(old: dict[str, Any]) -> dict[str, Any]:
    return {**old, "currency": "EUR"}


@event(type="orders.paid.v2", key="order_id", upcasts=[name_the_currency])
class OrderPaid(BaseModel, frozen=True):
    order_id: str
    amount: Decimal = Field(gt=0)
    currency: str
    note: str = ""  # added later, with a default: events without it are read, and no upcast is needed


class Booked(Event, type="books.booked.v1", key="order_id"):
    order_id: str
    text: str


books = Service("books")


@books.on(OrderPaid)
async def book(paid: OrderPaid) -> Booked:
    return Booked(order_id=paid.order_id, text=f"{paid.amount} {paid.currency}")


app = App("shop", services=[books], compatibility={OrderPaid: "full"})


async def main() -> list[str]:
    """Publish an event as it was written before the changes, and one of today."""
    async with testing.run(app) as t:
        await t.publish_bytes("orders.paid.v1", b'{"order_id": "a", "amount": "9.50"}', key="a")
        await t.publish(OrderPaid(order_id="b", amount=Decimal(3), currency="CHF"))
        await t.advance(seconds=1)
        return [booked.event.text for booked in t.all(Booked)]


if __name__ == "__main__":
    print(asyncio.run(main()))  # noqa: T201 (a program to read)
