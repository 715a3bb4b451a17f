"""What the event benches consume: orders of some 200 bytes, whose customers come as often as Zipf says."""

import random
from itertools import accumulate

import msgspec

from tropism.core.codec import record_of
from tropism.core.envelope import Record, derived_id
from tropism.core.event import Event

KEYS = 5_000
START_US = 1_700_000_000_000_000


class Ordered(Event, type="bench.ordered.v1", key="customer"):
    order: str
    customer: str
    product: str
    quantity: int
    price: float
    currency: str
    country: str
    note: str


class Order(msgspec.Struct, frozen=True):
    """The same without anything of ours: what the peers decode into."""

    order: str
    customer: str
    product: str
    quantity: int
    price: float
    currency: str
    country: str
    note: str


def customers(count: int, seed: int = 0) -> list[str]:
    """Return keys: of 5,000, the n-th comes 1/n as often as the first."""
    shares = list(accumulate(1 / rank for rank in range(1, KEYS + 1)))
    names = [f"customer-{n:04d}" for n in range(KEYS)]
    return random.Random(seed).choices(names, cum_weights=shares, k=count)  # noqa: S311 (the same every time)


def orders(count: int, seed: int = 0) -> list[Ordered]:
    return [
        Ordered(
            f"order-{n:09d}", customer, f"product-{n % 97:03d}", n % 9 + 1, n % 991 / 4, "EUR", "DE", "n" * 40
        )
        for n, customer in enumerate(customers(count, seed))
    ]


def records(events: list[Event], seed: int = 0) -> list[Record]:
    """Return events as a log takes them, a millisecond apart."""
    encode = msgspec.json.Encoder().encode
    return [
        record_of(
            event,
            encode(event),
            id=derived_id(f"{seed}/{n}", "bench", 0, START_US // 1000 + n),
            time_us=START_US + n * 1000,
            source="bench",
        )
        for n, event in enumerate(events)
    ]
