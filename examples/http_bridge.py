"""Orders come in as CloudEvents over HTTP, and what follows from them goes out to another system.

BILLING_URL=https://billing.example/events tropism run --app http_bridge:app --http 127.0.0.1:8080
curl http://127.0.0.1:8080/events -H 'content-type: application/json' -H 'ce-specversion: 1.0' \\
  -H 'ce-id: 1' -H 'ce-source: /till/7' -H 'ce-type: orders.placed.v1' -d '{"order": "o1", "amount": 120}'
"""

import os

from tropism import App, Event, Service
from tropism.app.webhook import webhook


class OrderPlaced(Event, type="orders.placed.v1", key="order"):
    order: str
    amount: float


class InvoiceDue(Event, type="invoices.due.v1", key="order"):
    order: str
    amount: float


sales = Service("sales")


@sales.on(OrderPlaced)
async def bill(placed: OrderPlaced) -> InvoiceDue | None:
    return InvoiceDue(order=placed.order, amount=placed.amount) if placed.amount > 0 else None


billing = webhook("billing", InvoiceDue, url=os.environ.get("BILLING_URL", "http://127.0.0.1:9090/events"))

app = App("bridge", services=[sales, billing])
