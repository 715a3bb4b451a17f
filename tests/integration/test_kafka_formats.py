"""Avro and Protobuf topics on a Kafka broker, with Confluent's own serializers at the other end."""

import asyncio
import base64
import json
import logging
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, message_factory, timestamp_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from tests.confluent_registry import StandInRegistry
from tests.kafka_servers import noida

from tropism import App, Event, Retry, Service
from tropism.adapters.kafka import open_kafka
from tropism.adapters.memory import MemoryCompute, MemoryStore, VirtualClock
from tropism.core.codec import Codec, record_of
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.ports.platform import Platform
from tropism.runtime.dead import dead_letters
from tropism.runtime.runtime import Runtime, RuntimeOptions
from tropism.testing.log import read_all

AVRO = {
    "type": "record",
    "name": "Paid",
    "namespace": "orders",
    "fields": [
        {"name": "order", "type": "string"},
        {"name": "cents", "type": "long"},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "raw", "type": "bytes"},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "OLD"]}},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "tags", "type": {"type": "map", "values": "double"}, "default": {}},
        {
            "name": "lines",
            "type": {
                "type": "array",
                "items": {
                    "type": "record",
                    "name": "Line",
                    "fields": [{"name": "sku", "type": "string"}, {"name": "n", "type": ["int", "string"]}],
                },
            },
            "default": [],
        },
    ],
}


class Line(Event, type="orders.line.v1"):
    sku: str
    n: int | str


class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    cents: int
    price: Decimal
    at: datetime
    day: date
    raw: bytes
    state: str
    note: str | None = None
    tags: dict[str, float] = {}
    lines: list[Line] = []


PAID = Paid(
    order="a",
    cents=2**40,
    price=Decimal("12.50"),
    at=datetime(2026, 1, 2, 3, 4, 5, 678, UTC),
    day=date(2026, 1, 2),
    raw=b"\x00\xff",
    state="NEW",
    note="hi",
    tags={"x": 1.5},
    lines=[Line(sku="s", n=3), Line(sku="t", n="many")],
)
TOLD = {
    "order": "a",
    "cents": 2**40,
    "price": Decimal("12.50"),
    "at": PAID.at,
    "day": PAID.day,
    "raw": b"\x00\xff",
    "state": "NEW",
    "note": "hi",
    "tags": {"x": 1.5},
    "lines": [{"sku": "s", "n": 3}, {"sku": "t", "n": "many"}],
}


def proto_file():
    """Return the descriptor of a message, as protoc gives it: an import, an enum, a map, a message within."""
    file = descriptor_pb2.FileDescriptorProto(name="sent.proto", package="posts", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    file.message_type.add(name="Other")
    sent = file.message_type.add(name="Sent")
    kinds = descriptor_pb2.FieldDescriptorProto
    inner = sent.nested_type.add(name="Stop")
    inner.field.add(name="place", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    inner.field.add(name="order_id", number=2, type=kinds.TYPE_INT64, label=kinds.LABEL_OPTIONAL)
    entry = sent.nested_type.add(name="CountsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    entry.field.add(name="value", number=2, type=kinds.TYPE_UINT64, label=kinds.LABEL_OPTIONAL)
    state = sent.enum_type.add(name="State")
    state.value.add(name="NEW", number=0)
    state.value.add(name="DONE", number=1)
    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    for number, (name, type, label, of) in enumerate(
        [
            ("to", kinds.TYPE_STRING, one, ""),
            ("weight", kinds.TYPE_INT64, one, ""),
            ("stops", kinds.TYPE_MESSAGE, many, ".posts.Sent.Stop"),
            ("counts", kinds.TYPE_MESSAGE, many, ".posts.Sent.CountsEntry"),
            ("state", kinds.TYPE_ENUM, one, ".posts.Sent.State"),
            ("at", kinds.TYPE_MESSAGE, one, ".google.protobuf.Timestamp"),
            ("raw", kinds.TYPE_BYTES, one, ""),
        ],
        1,
    ):
        field = sent.field.add(name=name, number=number, type=type, label=label)
        if of:
            field.type_name = of
    return file


def proto_classes():
    pool = DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(proto_file())
    found = pool.FindFileByName("sent.proto").message_types_by_name
    return {name: message_factory.GetMessageClass(each) for name, each in found.items()}


class Stop(Event, type="posts.stop.v1"):
    place: str = ""
    order_id: int = 0


class Sent(Event, type="posts.sent.v1", key="to"):
    to: str
    weight: int
    stops: list[Stop] = []
    counts: dict[str, int] = {}
    state: str = "NEW"
    at: datetime | None = None
    raw: bytes = b""


SENT = Sent(
    to="b",
    weight=2**50,
    stops=[Stop(place="x", order_id=2**40)],
    counts={"y": 7},
    state="DONE",
    at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    raw=b"\x00\xff",
)


@pytest.fixture
def registry():
    made = StandInRegistry()
    yield made
    made.close()


@asynccontextmanager
async def opened(registry, prefix, **more):
    options = {"avro": "orders:orders.paid.v1", "protobuf": "posts:posts.sent.v1", "registry": registry.url}
    log = await open_kafka(noida().url(prefix=prefix, partitions=1, **{**options, **more}))
    try:
        yield log
    finally:
        await log.close()


@pytest.fixture
def prefix():
    return f"f{uuid4().hex[:10]}."


def record(event, **more):
    data = Codec([type(event)]).encode(event)
    return record_of(event, data, id=uuid4().hex, time_us=1_000_000, **more)


def events(log, topic, kind):
    async def read():
        pages = await read_all(log, topic)
        return [(s.record, Codec([kind]).decode(s.record)) for page in pages.values() for s in page]

    return read()


def produced(topic, key, value, headers=()):
    producer = Producer({"bootstrap.servers": noida().servers})
    producer.produce(topic, value, key, headers=list(headers))
    assert producer.flush(20) == 0


def consumed(topic, count):
    consumer = Consumer(
        {"bootstrap.servers": noida().servers, "group.id": uuid4().hex, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    try:
        found = []
        while len(found) < count:
            message = consumer.poll(20)
            assert message is not None
            if message.error() is None:
                found.append(message)
        return found
    finally:
        consumer.close()


def client(registry):
    return SchemaRegistryClient({"url": registry.url})


def context(topic):
    return SerializationContext(topic, MessageField.VALUE)


def test_what_confluents_avro_serializer_wrote_is_read_as_events(registry, prefix):
    """A message of another product, without attributes of an event, is one of the type that the URL names."""
    topic = f"{prefix}orders"
    serialize = AvroSerializer(client(registry), json.dumps(AVRO))

    async def main():
        async with opened(registry, prefix) as log:
            await log.create_topics({"orders": 1})
            produced(topic, "a", serialize(TOLD, context(topic)))
            ((found, event),) = await events(log, "orders", Paid)
            assert event == PAID
            assert (found.type, found.subject, found.extensions) == ("orders.paid.v1", "a", None)

    asyncio.run(main())


def test_what_is_written_to_an_avro_topic_is_read_by_confluents_deserializer(registry, prefix):
    """The newest schema of the subject is used, none is registered, and our own reading gives the event back."""
    registry.register(f"{prefix}orders-value", AVRO)
    before = len(registry.schemas)

    async def main():
        async with opened(registry, prefix) as log:
            await log.append([record(PAID), record(PAID)])
            assert [event for _, event in await events(log, "orders", Paid)] == [PAID, PAID]

    asyncio.run(main())
    (message, _) = consumed(f"{prefix}orders", 2)
    assert AvroDeserializer(client(registry))(message.value(), context(message.topic())) == TOLD
    headers = dict(message.headers())
    assert (headers["ce_type"], headers["content-type"]) == (b"orders.paid.v1", b"application/avro")
    assert len(registry.schemas) == before
    assert registry.asked.count(f"/subjects/{prefix}orders-value/versions/latest") == 1


def test_protobuf_goes_both_ways_with_confluents_own(registry, prefix):
    """Long numbers, times, maps, messages within and a message that is not the first: read, and written."""
    topic, classes = f"{prefix}posts", proto_classes()
    message = classes["Sent"](to="b", weight=2**50, counts={"y": 7}, state=1, raw=b"\x00\xff")
    message.stops.add(place="x", order_id=2**40)
    message.at.FromDatetime(SENT.at)
    serialize = ProtobufSerializer(classes["Sent"], client(registry))

    async def main():
        async with opened(registry, prefix) as log:
            await log.create_topics({"posts": 1})
            produced(topic, "b", serialize(message, context(topic)))
            ((found, event),) = await events(log, "posts", Sent)
            assert event == SENT
            assert (found.type, found.subject) == ("posts.sent.v1", "b")

    asyncio.run(main())

    class_ = proto_classes()["Other"]
    only = proto_file()
    del only.message_type[0]
    registry.register(f"{prefix}posts-value", base64.b64encode(only.SerializeToString()).decode(), "PROTOBUF")

    async def write():
        async with opened(registry, prefix) as log:
            await log.append([record(SENT)])
            assert [event for _, event in await events(log, "posts", Sent)] == [SENT, SENT]

    asyncio.run(write())
    written = consumed(topic, 2)[1]
    found = ProtobufDeserializer(classes["Sent"], {}, client(registry))(written.value(), context(topic))
    assert found == message
    assert class_ is not None


def shop():
    service = Service("books")

    @service.on(Paid, guarantee="at_least_once", retry=Retry(attempts=1))
    def ship(paid: Paid) -> Sent:
        return SENT if paid.cents > 0 else Sent(to="b", weight=2**70)

    return App("shop", services=[service])


@pytest.mark.parametrize("apart", [True, False], ids=["state elsewhere", "state on Kafka"])
def test_services_take_and_give_formats_and_bad_messages_become_dead_letters(registry, prefix, caplog, apart):
    """The whole way: Avro in, Protobuf out. What cannot be decoded, or has no place in the schema, is given up."""
    topic = f"{prefix}orders"
    serialize = AvroSerializer(client(registry), json.dumps(AVRO))
    only = proto_file()
    del only.message_type[0]
    registry.register(f"{prefix}posts-value", base64.b64encode(only.SerializeToString()).decode(), "PROTOBUF")
    good = serialize(TOLD, context(topic))
    bad = {
        "unknown schema": b"\0\0\0\xff\xff" + good[5:],
        "no frame": b"\x07nothing",
        "cut off": good[:-3],
        "more": good + b"x",
        "has no place": serialize({**TOLD, "cents": -1}, context(topic)),
    }

    async def main():
        async with opened(registry, prefix, transactions="false" if apart else "true") as log:
            await log.create_topics({"orders": 1, "posts": 1})
            produced(topic, "a", good)
            for key, value in bad.items():
                produced(topic, key, value)
            produced(topic, "z", good)
            clock = VirtualClock(2_000_000_000_000_000)
            store = MemoryStore(clock=clock)
            state = store.state if apart else log.state
            assert (log.capabilities.commit_domain == state.commit_domain) is not apart
            platform = Platform(log, state, store.blobs, MemoryCompute(), clock, store.queue)
            runtime = Runtime(shop().services, platform, options=RuntimeOptions(live=True))
            await runtime.start()
            try:
                async with asyncio.timeout(20):
                    while len(await dead_letters(state)) < len(bad) or not runtime.is_idle:
                        await log.wait_beyond({("orders", 0): 6})
                        await asyncio.sleep(0)
                letters = {letter.record.subject: letter for letter in await dead_letters(state)}
                assert [event for _, event in await events(log, "posts", Sent)] == [SENT, SENT]
            finally:
                await runtime.stop(drain_seconds=0)
        assert letters.keys() == bad.keys()
        assert "field '$.weight' does not fit message 'posts.Sent'" in letters["has no place"].cause
        assert letters["cut off"].record.data == bad["cut off"]
        assert str(2**70) not in letters["has no place"].cause

    with caplog.at_level(logging.WARNING, "tropism"):
        asyncio.run(main())
    assert "/schemas/ids/65535" in caplog.text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"order": 1}, "field '$.order' is no string"),
        ({"extra": 1}, "field '$.extra' is not in the schema"),
        ({"cents": 2**63}, "field '$.cents' is too large for long"),
        ({"state": "GONE"}, "field '$.state' is none of the symbols"),
        ({"raw": "?"}, "field '$.raw' is no base64"),
        ({"day": "soon"}, "field '$.day' is no date"),
        ({"lines": [{"sku": "s", "n": 1.5}]}, "field '$.lines[0].n' fits none of"),
        ({"tags": {"x": True}}, "field '$.tags.x' is no double"),
        ({"at": None}, "field '$.at' is no timestamp-micros"),
    ],
)
def test_what_has_no_place_in_the_avro_schema_is_refused_by_field(registry, prefix, change, told):
    """Nothing is left out or bent to fit, and the error never repeats a value."""
    registry.register(f"{prefix}orders-value", AVRO)
    plain = record(PAID)
    data = json.dumps({**json.loads(plain.data), **change}).encode()

    async def main():
        async with opened(registry, prefix, protobuf="") as log:
            wrong = record_of(PAID, data, id="x", time_us=0)
            with pytest.raises(InvalidInputError) as found:
                await log.append([plain, wrong])
            assert told in str(found.value)
            with pytest.raises(InvalidInputError):
                log.capabilities.check(wrong)
            assert not await log.ends(["orders"])

    asyncio.run(main())


def test_schemas_may_build_on_others_and_lie_under_a_subject_for_each_type(registry, prefix):
    """References are fetched, and several types of a topic have a schema each, named by topic and type."""
    registry.register(
        "lines", {"type": "record", "name": "parts.Line", "fields": [{"name": "n", "type": "int"}]}
    )
    fields = [{"name": "order", "type": "string"}, {"name": "line", "type": "parts.Line"}]
    references = [{"name": "parts.Line", "subject": "lines", "version": 1}]
    schema = {"type": "record", "name": "orders.held.v1", "fields": fields}
    registry.register(f"{prefix}orders-orders.held.v1", schema, references=references)
    gone = {"type": "record", "name": "orders.gone.v1", "fields": fields[:1]}
    registry.register(f"{prefix}orders-orders.gone.v1", gone)

    class Part(Event, type="orders.part.v1"):
        n: int

    class Held(Event, type="orders.held.v1", key="order"):
        order: str
        line: Part

    class Gone(Event, type="orders.gone.v1", key="order"):
        order: str

    held, gone_ = Held(order="a", line=Part(n=3)), Gone(order="b")

    async def main():
        async with opened(registry, prefix, avro="orders", subjects="topic-record") as log:
            await log.append([record(held), record(gone_)])
            pages = await read_all(log, "orders")
            codec = Codec([Held, Gone])
            assert [codec.decode(s.record) for page in pages.values() for s in page] == [held, gone_]
            # A message of another product then says by its record what it is.
            value = consumed(f"{prefix}orders", 1)[0].value()
            produced(f"{prefix}orders", "a", value)
            pages = await read_all(log, "orders")
            assert [s.record.type for s in pages["orders", 0]][-1] == "orders.held.v1"

    asyncio.run(main())


def test_a_registry_that_does_not_answer_loses_nothing(registry, prefix):
    """Reading and writing say that it is away; when it is back, all that lies there is read."""
    registry.register(f"{prefix}orders-value", AVRO)

    async def main():
        async with opened(registry, prefix) as log:
            await log.append([record(PAID)])
        async with opened(registry, prefix) as log:
            for answer in ((500, {}), (200, b"<html>")):
                registry.down = answer
                with pytest.raises(UnavailableError, match="Cannot reach schema registry"):
                    await events(log, "orders", Paid)
                with pytest.raises(UnavailableError):
                    await log.append([record(PAID)])
            registry.down = None
            assert [event for _, event in await events(log, "orders", Paid)] == [PAID]

    asyncio.run(main())


def test_a_login_goes_along_and_is_never_told(prefix):
    """User and password of the URL reach the registry; a refusal names it without them."""
    server = StandInRegistry(login="me:sec:ret")
    right = server.url.replace("://", "://me:sec%3Aret@")
    wrong = server.url.replace("://", "://me:hunter2@")

    class Named:
        url = right.replace("%", "%25")

    async def main():
        async with opened(Named, prefix):
            pass
        Named.url = wrong
        with pytest.raises(InvalidInputError, match="refuses the login") as found:
            async with opened(Named, prefix):
                pass
        assert "hunter2" not in str(found.value)

    try:
        asyncio.run(main())
    finally:
        server.close()
