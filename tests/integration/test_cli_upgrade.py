"""``tropism run`` of old and new code on one store, as a rolling upgrade has them."""

import asyncio

from tropism.adapters.sqlite import open_sqlite
from tropism.core.envelope import Record

APP = """
from tropism import App, Event, Service, State, use
class Added(Event, type="carts.added.v1", key="cart"):
    cart: str
    n: int
class AddedNow(Event, type="carts.added.v1", key="cart"):
    cart: str
    n: int
    price: float = 1.0
class Removed(Event, type="carts.removed.v1", key="cart"):
    cart: str
    n: int
class Noted(Event, type="notes.noted.v1", key="cart"):
    cart: str
    n: int
    count: int
    by: str
def make(kinds, by, kind=int):
    carts = Service("carts")
    def note(event, count=use("count")) -> Noted:
        count.set((count.get() or 0) + 1)
        return Noted(cart=event.cart, n=event.n, count=count.get() or 0, by=by)
    note.__annotations__ = {"event": kinds, "count": State[kind], "return": Noted}
    carts.on()(note)
    return carts
old = App("shop", services=[make(Added, "old")])
new = App("shop", services=[make(AddedNow | Removed, "new")])
other = App("shop", services=[make(AddedNow, "other", kind=str)])
"""


async def append(folder, kind, numbers):
    """Publish through whoever owns the file, as another process would."""
    store = await open_sqlite(f"sqlite:///{folder.path}/.tropism/tropism.db")
    await store.log.append(
        [
            Record(f"e{n}", kind, "carts", f"c{n % 2}", n, b'{"cart":"c%d","n":%d}' % (n % 2, n))
            for n in numbers
        ]
    )
    await store.close()


def test_a_rolling_upgrade_loses_nothing_and_does_nothing_twice(folder):
    """The new process stands by, leaves nothing to the old one that it does not know, and takes over in order."""
    folder.write("shop.py", APP)
    first = folder.start("run", "--app", "shop:old")
    first.wait_for("Ready: shop with carts.")

    def publish(kind, *numbers):
        asyncio.run(append(folder, kind, numbers))

    publish("carts.added.v1", 0, 1)
    second = folder.start("run", "--app", "shop:new")
    second.wait_for("Waiting for carts")
    publish("carts.added.v1", 2)
    publish("carts.removed.v1", 3)
    publish("carts.added.v1", 4, 5)
    folder.wait_until(lambda: len(folder.events("notes")) == 4)
    assert "leaves events for newer code" in first.text
    assert first.stop() == 0
    second.wait_for("Ready: shop with carts.")
    publish("carts.added.v1", 6, 7)
    folder.wait_until(lambda: len(folder.events("notes")) == 8)
    told = sorted((e["cart"], e["count"], e["n"], e["by"]) for e in folder.events("notes"))
    assert told == [
        ("c0", 1, 0, "old"),
        ("c0", 2, 2, "old"),
        ("c0", 3, 4, "old"),
        ("c0", 4, 6, "new"),
        ("c1", 1, 1, "old"),
        ("c1", 2, 3, "new"),
        ("c1", 3, 5, "new"),
        ("c1", 4, 7, "new"),
    ]
    assert folder.run("dead-letters", "list", "--json").json["count"] == 0
    refused = folder.run("run", "--app", "shop:other", code=1, apart=True)
    assert "its state 'count' is str here, and a stored value is not" in refused.err
    assert second.stop() == 0
