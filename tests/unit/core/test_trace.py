"""Trace context: what W3C Trace Context level 1 counts as valid, and how it travels."""

import asyncio

import pytest
from confluent_kafka import Message
from tests.cloud_events import Paid

from tropism import App, Event, Service, testing
from tropism.adapters.kafka.messages import encoded, stored_of
from tropism.adapters.nats.headers import document_headers_of, headers_of, stored
from tropism.adapters.structured import document_of
from tropism.core.envelope import Record
from tropism.core.trace import is_traceparent, is_tracestate, trace_of

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
BOTH = {"traceparent": PARENT, "tracestate": "rojo=1,congo=t61"}
PLACE = {"Nats-Stream": "s", "Nats-Sequence": "1", "Nats-Time-Stamp": "1970-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (PARENT, True),
        (f"00-{TRACE}-{SPAN}-00", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-holds", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"cc-{TRACE}-{SPAN}-01x", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (PARENT.upper(), False),
        (PARENT[:-1], False),
        (f"{PARENT}\n", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_a_parent_is_valid_as_the_standard_says(text, valid):
    """Version, ids that are not all zeros, flags: in lower-case hexadecimal, and no more of them in version 0."""
    assert is_traceparent(text) is valid


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", True),
        ("a=1 ,\tb=2", True),
        ("a=1,,b=2", True),
        ("fw529a3039@dt=FfWQ", True),
        ("1a@b=x", True),
        (",".join(f"k{n}=v" for n in range(32)), True),
        (",".join(f"k{n}=v" for n in range(33)), False),
        ("a=1,a=2", False),
        ("A=1", False),
        ("1a=x", False),
        ("a=", False),
        ("a=b=c", False),
        ("a=x\x01", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_a_state_is_valid_as_the_standard_says(text, valid):
    """Up to 32 members of a key and a printable value, no key twice; empty members count for nothing."""
    assert is_tracestate(text) is valid


def test_a_state_without_a_valid_parent_is_nothing():
    """And one that is invalid leaves the parent as it is."""
    assert trace_of(BOTH) == BOTH
    assert trace_of({"tracestate": "a=1"}) == {}
    assert trace_of({"traceparent": "x", "tracestate": "a=1"}) == {}
    assert trace_of({"traceparent": PARENT, "tracestate": "a=1,a=2"}) == {"traceparent": PARENT}


def kafka(headers, value=b"{}"):
    return stored_of(Message("o", 0, 0, None, value, headers, None, (1, 0)), "o", 0).record


@pytest.mark.parametrize("structured", [False, True])
def test_kafka_and_nats_carry_a_trace_for_tools_that_know_no_cloud_events(structured):
    """It stands among the attributes and in headers of its own; either is enough to be read."""
    record = Record("a", "o.p.v1", "o", "k", 0, b"{}", "/s", dict(BOTH))
    _, value, headers = encoded(record, structured=structured)
    assert BOTH.items() <= {name: raw.decode() for name, raw in headers}.items()
    assert kafka(headers, value) == record
    bare = [(name, raw) for name, raw in headers if not name.startswith("ce_trace")]
    assert kafka(bare, value).extensions == BOTH
    named, data = headers_of(record), record.data
    if structured:
        named, data = document_headers_of(record), document_of(record)
    assert BOTH.items() <= named.items()
    assert stored("o", 0, {**PLACE, **named}, data, known_us=0).record == record
    without = {name: value for name, value in named.items() if not name.startswith("ce-trace")}
    assert stored("o", 0, {**PLACE, **without}, data, known_us=0).record.extensions == BOTH


def test_an_invalid_trace_in_a_header_is_not_taken():
    """Nor does it replace the event's own."""
    _, value, headers = encoded(Record("a", "o.p.v1", "o", "k", 0, b"{}", "/s"))
    assert kafka([*headers, ("traceparent", b"x"), ("tracestate", b"a=1")], value).extensions is None
    own = f"00-{TRACE}-{SPAN}-00"
    _, value, headers = encoded(Record("a", "o.p.v1", "o", "k", 0, b"{}", "/s", {"traceparent": own}))
    other = [(name, PARENT.encode() if name == "traceparent" else raw) for name, raw in headers]
    assert kafka(other, value).extensions == {"traceparent": own}


class Sent(Event, type="parcels.sent.v1", key="order"):
    order: str


def test_outputs_carry_on_the_trace_of_their_cause():
    """Parent and state, as they came; an invalid one ends here."""
    service = Service("parcels")

    @service.on(Paid)
    async def send(paid: Paid) -> Sent:
        return Sent(order=paid.order)

    async def run(extensions):
        async with testing.run(App("shop", services=[service])) as t:
            data = b'{"order": "o", "amount": 1}'
            record = Record("a", "orders.paid.v1", "orders", "o", 0, data, "/s", extensions)
            await t.simulation.store.log.append([record])
            await t.advance(seconds=1)
            return t.only(Sent).envelope.extensions

    assert asyncio.run(run(BOTH)) == {"causationid": "a", **BOTH}
    assert asyncio.run(run({"traceparent": "x", "tracestate": "a=1"})) == {"causationid": "a"}
