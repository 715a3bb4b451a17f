"""The example of windows and joins does what it says."""

import asyncio
import sys
from pathlib import Path

import pytest

from tropism import testing


def test_visits_end_once_and_sales_are_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visit is told when it is over; a sale is led back to the page that was seen before it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "examples"))
    import visits as example

    async def check() -> None:
        async with testing.run(example.app) as t:
            for page in ("home", "shoes", "home", "boots"):
                await t.publish(example.PageViewed(visitor="ada", page=page))
                await t.advance(minutes=5)
            await t.publish(
                example.Bought(order="1", visitor="ada"), example.Bought(order="2", visitor="bob")
            )
            await t.advance(hours=2)
            ended = t.only(example.VisitEnded).event
            assert (ended.visitor, ended.pages, ended.different, ended.left_from) == ("ada", 4, 3, "boots")
            assert ended.seconds == pytest.approx(900)
            assert {e.event.order: e.event.page for e in t.all(example.SaleTraced)} == {
                "1": "boots",
                "2": None,
            }

    asyncio.run(check())
    monkeypatch.delitem(sys.modules, "visits")
