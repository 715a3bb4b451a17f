"""An order is confirmed once, though its process is killed twice and its store refuses every fifth call."""

import asyncio

from tropism import App, Event, Service, State, testing, use


class Ordered(Event, type="orders.ordered.v1", key="customer"):
    customer: str
    pieces: int


class Confirmed(Event, type="confirmations.confirmed.v1", key="customer"):
    customer: str
    pieces_so_far: int


shop = Service("shop")


@shop.on(Ordered)
async def confirm(order: Ordered, pieces: State[int] = use("pieces")) -> Confirmed:
    pieces.set((pieces.get() or 0) + order.pieces)
    return Confirmed(customer=order.customer, pieces_so_far=pieces.get() or 0)


app = App("shop", services=[shop])


async def main() -> list[int]:
    faults = testing.Faults(unavailable=frozenset(range(5, 1000, 5)), delays={12: 3.0})
    async with testing.run(app, faults=faults) as t:
        for pieces in range(1, 7):
            await t.publish(Ordered(customer="ada", pieces=pieces))
            if pieces % 3 == 0:
                await t.crash()  # nothing is finished, nothing is given back
            await t.advance(minutes=1)
        return [confirmed.event.pieces_so_far for confirmed in t.all(Confirmed)]


if __name__ == "__main__":
    print(asyncio.run(main()))  # noqa: T201 (a program to read): [1, 3, 6, 10, 15, 21]
