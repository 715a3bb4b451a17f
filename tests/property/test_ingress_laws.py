"""Whatever is posted: an answer in the house's form, and the log has all of it or nothing."""

import asyncio
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.cloud_events import NOW, Paid, Seen, request

from tropism.adapters.http.ingress import Ingress
from tropism.adapters.memory import MemoryStore, VirtualClock
from tropism.core.codec import Codec
from tropism.core.time import instant_us
from tropism.testing.log import read_all

values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
plausible = st.fixed_dictionaries(
    {
        "specversion": st.sampled_from(["1.0", "0.3"]),
        "id": st.text(max_size=8) | values,
        "source": st.sampled_from(["/s", "till"]) | values,
        "type": st.sampled_from(["orders.paid.v1", "pages.seen.v1"]) | st.text(max_size=8),
    },
    optional={
        "time": st.sampled_from(["2026-01-31T12:00:00Z", "2026-02-30T00:00:00Z", "2026-01-31T12:00:60Z"])
        | values,
        "subject": st.text(max_size=8) | values,
        "datacontenttype": st.sampled_from(["application/json", "text/plain", "x"]) | values,
        "data": st.just({"order": "o", "amount": 1}) | st.just({"page": "/"}) | values,
        "data_base64": st.just("e30=") | values,
        "traceparent": st.text(max_size=60),
        "hops": values,
    },
)
documents = plausible | st.dictionaries(st.text(max_size=6), values, max_size=4)
bodies = st.binary(max_size=40) | documents.map(lambda d: json.dumps(d).encode())
batches = st.lists(documents, max_size=3).map(lambda found: json.dumps(found).encode())
header_values = st.text(st.characters(max_codepoint=255, exclude_categories=("Cc",)), max_size=12)
types = st.sampled_from(
    [
        "application/json",
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "text/plain",
        "",
    ]
)
binary = st.fixed_dictionaries(
    {
        "ce-specversion": st.just("1.0"),
        "ce-id": header_values,
        "ce-source": header_values,
        "ce-type": st.just("orders.paid.v1") | header_values,
    },
    optional={
        "ce-time": header_values,
        "ce-x": header_values,
        "ce-\xe9": header_values,
        "tracestate": header_values,
    },
)


@settings(max_examples=150)
@given(
    headers=binary | st.just({}),
    content_type=types,
    body=bodies | batches | st.just(b'{"order":"o","amount":1}'),
)
def test_any_request_is_answered_and_taken_wholly_or_not_at_all(headers, content_type, body):
    """202 and as many records as it says, or a refusal that is a sentence and leaves nothing behind."""

    async def run():
        clock = VirtualClock(instant_us(NOW))
        store = MemoryStore(clock=clock)
        ingress = Ingress(store.log, Codec([Paid, Seen]), clock)
        named = {**headers, **({"content-type": content_type} if content_type else {})}
        raw = {name.encode("latin-1").decode("latin-1"): value for name, value in named.items()}
        status, told, _ = await request(ingress, raw, body)
        pages = [await read_all(store.log, topic) for topic in ("orders", "pages")]
        return status, told, sum(len(page) for each in pages for page in each.values())

    status, told, count = asyncio.run(run())
    if status == 202:
        assert told["new"] == count <= told["accepted"]
    else:
        assert status in {400, 415}
        assert count == 0
        assert told["error"].startswith("Cannot ")
        assert told["error"].endswith(".")
