"""The example of payments does what its first line says."""

import asyncio
import importlib.util
import sys
from pathlib import Path

import pytest

from tropism import App, BusyError, minutes, testing


@pytest.fixture
def example(monkeypatch):
    spec = importlib.util.spec_from_file_location(
        "payments", Path(__file__).parents[2] / "examples" / "payments.py"
    )
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "payments", module)
    spec.loader.exec_module(module)
    return module


def test_the_payments_example(example) -> None:
    """Each order is charged once, whatever the bank answers, and an odd one when it was released."""
    bank = example.Bank()
    bank.errors = [BusyError("Cannot charge: later.", 30.0), *[ConnectionError("reset")] * 5]

    async def main() -> None:
        async with testing.run(App("shop", services=[example.payments(bank)])) as t:
            await t.publish(*(example.OrderPlaced(order=f"o-{n}", cents=n) for n in range(1, 20)))
            await t.publish(example.OrderPlaced(order="odd", cents=500_000))
            await t.advance(minutes(10))
            assert len(t.all(example.OrderPaid)) == 19
            await t.release(note="known customer")
            await t.advance(minutes(10))
            assert len(t.all(example.OrderPaid)) == len(bank.receipts) == 20

    asyncio.run(main())
