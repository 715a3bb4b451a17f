"""CloudEvents as the official SDK makes and reads them, and requests to an ASGI application."""

import asyncio
import json
from datetime import UTC, datetime

from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from tropism import Event

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    amount: float


class Seen(Event, type="pages.seen.v1"):
    page: str


def official(data=None, **more):
    """Return an event of the SDK, with the given attributes."""
    attributes = {"id": "1", "source": "https://shop.example/till", "type": "orders.paid.v1"}
    attributes |= {"specversion": "1.0", "time": NOW, "datacontenttype": "application/json", **more}
    given = {name: value for name, value in attributes.items() if value is not None}
    return CloudEvent(given, {"order": "o1", "amount": 2.5} if data is None else data)


def binary(event):
    message = to_binary_event(event)
    return message.headers, message.body


def structured(event):
    message = to_structured_event(event)
    return message.headers, message.body


def batch(*events):
    body = b"[" + b",".join(structured(event)[1] for event in events) + b"]"
    return {"content-type": "application/cloudevents-batch+json; charset=utf-8"}, body


def message_of(headers, body):
    return HTTPMessage(dict(headers), body)


async def request(application, headers, body, *, method="POST", path="/events", chunks=1, ends=True):
    """Send one request, its body in chunks; return status, document and headers of the answer."""
    size = max(1, -(-len(body) // chunks))
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if ends:
        messages[-1]["more_body"] = False
    answer = {}

    async def receive():
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        return None

    async def send(message):
        answer.update(message)

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in dict(headers).items()]
    scope = {"type": "http", "method": method, "path": path, "headers": raw}
    await application(scope, receive, send)
    told = {name.decode(): value.decode() for name, value in answer["headers"]}
    return answer["status"], json.loads(answer["body"]), told
