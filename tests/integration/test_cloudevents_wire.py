"""CloudEvents on real brokers, between our logs and plain clients with the official SDK."""

import asyncio
from uuid import uuid4

import nats
import pytest
from cloudevents.core.bindings import http, kafka
from confluent_kafka import Consumer, Producer, TopicPartition
from tests.cloud_events import message_of, official
from tests.kafka_servers import noida
from tests.nats_server import shared_server

from tropism.adapters.kafka import open_kafka
from tropism.adapters.nats import open_nats
from tropism.core.cloudevents import from_header
from tropism.core.envelope import Record
from tropism.testing.log import read_all

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RECORD = Record(
    "id 1",
    "orders.paid.v1",
    "orders",
    "ö1",
    1_700_000_000_123_456,
    b'{"order":"o1"}',
    "/till/7",
    {"note": 'Euro € "x" 100%', "traceparent": TRACE},
)
both_modes = pytest.mark.parametrize("mode", ["binary", "structured"])


def check_ours(event):
    """What the SDK made of our record."""
    assert (event.get_id(), event.get_source(), event.get_subject()) == ("id 1", "/till/7", "ö1")
    assert event.get_time().timestamp() == 1_700_000_000.123456
    assert event.get_extension("note") == 'Euro € "x" 100%'
    assert event.get_extension("traceparent") == TRACE
    assert event.get_data() == {"order": "o1"}


def check_theirs(record):
    """What our log made of the SDK's event."""
    assert (record.id, record.source, record.subject) == ("1", "https://shop.example/till", "o1")
    assert record.extensions == {"note": "Euro € 100%"}
    assert record.data == b'{"order": "o1", "amount": 2.5}'


def theirs():
    return official(subject="o1", note="Euro € 100%")


@both_modes
def test_kafka(mode):
    """A plain producer's event is read, and a plain consumer reads ours."""
    prefix = f"t{uuid4().hex[:12]}."

    async def run():
        log = await open_kafka(noida().url(prefix=prefix, partitions=1, mode=mode))
        await log.append([RECORD])
        message = (kafka.to_structured_event if mode == "structured" else kafka.to_binary_event)(theirs())
        producer = Producer({"bootstrap.servers": noida().servers})
        producer.produce(f"{prefix}orders", message.value, message.key, headers=list(message.headers.items()))
        await asyncio.to_thread(producer.flush, 30)
        while len(found := [s.record for page in (await read_all(log)).values() for s in page]) < 2:
            await log.wait_beyond({("orders", 0): len(found)})
        await log.close()
        return found

    ours, other = asyncio.run(run())
    assert ours == RECORD
    check_theirs(other)
    consumer = Consumer({"bootstrap.servers": noida().servers, "group.id": prefix})
    consumer.assign([TopicPartition(f"{prefix}orders", 0, 0)])
    message = consumer.poll(30)
    consumer.close()
    assert message.key().decode() == "ö1"
    check_ours(kafka.from_kafka_event(kafka.KafkaMessage(dict(message.headers()), None, message.value())))


@both_modes
def test_nats(mode):
    """A plain publisher's event is read, and a plain reader of the stream reads ours."""
    prefix = uuid4().hex[:12]

    async def run():
        log = await open_nats(f"{shared_server().url}?prefix={prefix}&mode={mode}&partitions=1")
        await log.append([RECORD])
        message = (http.to_structured_event if mode == "structured" else http.to_binary_event)(theirs())
        headers = dict(message.headers)
        if mode == "binary":
            headers["ce-datacontenttype"] = headers.pop("content-type")
        client = await nats.connect(shared_server().url)
        await client.jetstream().publish(f"{prefix}.log.orders.0", message.body, headers=headers)
        raw = await client.jetstream().get_msg(f"{prefix}-orders-0", seq=1)
        await client.close()
        (page,) = (await read_all(log)).values()
        await log.close()
        return [stored.record for stored in page], raw

    (ours, other), raw = asyncio.run(run())
    assert ours == RECORD
    check_theirs(other)
    headers = dict(raw.headers)
    if mode == "binary":
        headers["content-type"] = from_header(headers.pop("ce-datacontenttype"))
        check_ours(http.from_binary_event(message_of(headers, raw.data)))
    else:
        check_ours(http.from_structured_event(message_of(headers, raw.data)))
