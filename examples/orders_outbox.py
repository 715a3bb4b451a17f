"""An ordinary program writes orders with SQLAlchemy; what it tells of them is published with its transaction.

Run it: ``python examples/orders_outbox.py``. It needs SQLAlchemy, and nothing else.
"""

import asyncio
import tempfile
from pathlib import Path

import sqlalchemy as sql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tropism import Event, create_outbox, publish_in
from tropism.adapters.memory import open_memory
from tropism.adapters.outbox import open_outgoing
from tropism.runtime.relay import publish_once


class Ordered(Event, type="orders.ordered.v1", key="order"):
    order: int
    book: str


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    book: Mapped[str]


def sell(engine: sql.Engine, book: str) -> None:
    """Store an order and tell of it: both, or neither."""
    with Session(engine) as session, session.begin():
        order = Order(book=book)
        session.add(order)
        session.flush()  # now it has its number
        publish_in(session, Ordered(order=order.id, book=book))
        if not book:
            raise ValueError("no such book")


async def main(folder: Path) -> list[str]:
    """Sell two books and fail to sell another; return what was published."""
    engine = sql.create_engine(f"sqlite:///{folder}/shop.db")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        create_outbox(connection)
    for book in ("Emma", "", "Persuasion"):
        try:
            sell(engine, book)
        except ValueError:
            continue  # sold nothing, told nothing
    store = await open_memory()
    # In production: tropism relay sqlite:///shop.db, or outbox = [...] in tropism.toml and tropism run.
    async with open_outgoing(f"sqlite:///{folder}/shop.db") as outgoing:
        await publish_once(outgoing, store.log)
    ends = await store.log.ends(["orders"])
    pages = await store.log.read(dict.fromkeys(ends, 0), count_max=10)
    engine.dispose()
    return sorted(s.record.data.decode() for page in pages.values() for s in page)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for line in asyncio.run(main(Path(name))):
            print(line)  # noqa: T201 (what it is for)
