"""Orders are charged once, no faster than the bank bears, and what looks odd waits for a person."""

from tropism import App, Envelope, Event, Provider, RefusedError, Retry, Service, Step, Steps


class OrderPlaced(Event, type="orders.placed.v1", key="order"):
    order: str
    cents: int


class OrderPaid(Event, type="orders.paid.v1", key="order"):
    order: str
    receipt: str


class Bank:
    """Stands for a bank's client: it may fail, and may ask to wait."""

    def __init__(self) -> None:
        self.receipts: dict[str, str] = {}
        self.errors: list[Exception] = []

    async def charge(self, order: str, cents: int, idempotency_key: str = "") -> str:
        if self.errors:
            raise self.errors.pop(0)
        return self.receipts.setdefault(idempotency_key, f"{order}: {cents} cents")


def payments(bank: Bank, odd_cents: int = 100_000) -> Service:
    service = Service("payments")
    calls = Provider("bank", per_second=50, in_flight=8)

    @service.on(OrderPlaced, retry=Retry(attempts=3, by_type={ConnectionError: Retry(attempts=20)}))
    async def pay(placed: Envelope[OrderPlaced], steps: Steps) -> OrderPaid:
        order = placed.data
        if order.cents > odd_cents and placed.released is None:
            raise RefusedError("unusually large", {"cents": order.cents, "limit": odd_cents})
        receipt = await steps.run(Step("charge", provider=calls), bank.charge, order.order, order.cents)
        return OrderPaid(order=order.order, receipt=receipt)

    return service


app = App("shop", services=[payments(Bank())])
