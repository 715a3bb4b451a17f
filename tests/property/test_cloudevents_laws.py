"""CloudEvents on every way in and out, beside the official SDK: what we write it reads, and the reverse."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cloudevents.core.bindings import http, kafka
from cloudevents.core.bindings.http import HTTPMessage
from cloudevents.core.bindings.kafka import KafkaMessage
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tropism.adapters.http.request import Headers, events_of
from tropism.adapters.http.sending import request_of
from tropism.adapters.kafka.messages import encoded, stored_of
from tropism.adapters.nats.headers import document_headers_of, headers_of, stored
from tropism.adapters.structured import document_of
from tropism.core.cloudevents import from_header, record_of, to_header
from tropism.core.envelope import Record
from tropism.core.time import instant_us, moment

JSON = "application/json"
TOPIC = "orders"

# -- each way: a record of ours as the SDK reads it, and an event of the SDK as we read it ---------


def kafka_written(record, *, structured):
    key, value, headers = encoded(record, structured=structured)
    event = kafka.from_kafka_event(KafkaMessage(dict(headers), key, value))
    # The SDK takes Kafka's key for an attribute; ours is the subject, or the partition key itself.
    named = (record.extensions or {}).get("partitionkey", record.subject or None)
    assert event.get_extension("partitionkey") == named
    return event if "partitionkey" in (record.extensions or {}) else without(event, "partitionkey")


def kafka_read(event, *, structured):
    message = (kafka.to_structured_event if structured else kafka.to_binary_event)(event)
    key = message.key.encode() if isinstance(message.key, str) else message.key
    return stored_of(
        Message(TOPIC, 0, 0, key, message.value, list(message.headers.items()), None, (1, 0)), TOPIC, 0
    ).record


def http_written(record, *, structured):
    headers, body = request_of(record, "structured" if structured else "binary")
    return http.from_http_event(HTTPMessage(headers, body))


def http_read(event, *, structured):
    message = (http.to_structured_event if structured else http.to_binary_event)(event)
    raw = [(name.encode(), value.encode("latin-1")) for name, value in message.headers.items()]
    (parts,) = events_of(Headers.of(raw), message.body, 1)
    return msgspec.structs.replace(record_of(parts, now_us=0), topic=TOPIC)


def nats_written(record, *, structured):
    if structured:
        return http.from_structured_event(HTTPMessage(document_headers_of(record), document_of(record)))
    headers = headers_of(record)
    # The SDK has no binding of NATS; it is HTTP's, but for the type of data, which is an attribute like others.
    headers["content-type"] = from_header(headers.pop("ce-datacontenttype"))
    return http.from_binary_event(HTTPMessage(headers, record.data))


def nats_read(event, *, structured):
    message = (http.to_structured_event if structured else http.to_binary_event)(event)
    headers = {"Nats-Stream": "s", "Nats-Sequence": "1", "Nats-Time-Stamp": "1970-01-01T00:00:00Z"}
    for name, value in message.headers.items():
        kind = name == "content-type" and not structured
        headers["ce-datacontenttype" if kind else name] = to_header(value) if kind else value
    return stored(TOPIC, 0, headers, message.body, known_us=0).record


WAYS = {
    "kafka": (kafka_written, kafka_read),
    "http": (http_written, http_read),
    "nats": (nats_written, nats_read),
}
CASES = [(name, structured) for name in WAYS for structured in (False, True)]
every_way = pytest.mark.parametrize(
    ("way", "structured"), CASES, ids=[f"{w}-{'structured' if s else 'binary'}" for w, s in CASES]
)

# -- events ---------------------------------------------------------------------------------------

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12).filter(
    lambda text: text == text.strip()
)
names = st.from_regex(r"[a-z][a-z0-9]{2,11}", fullmatch=True).filter(
    lambda name: (
        name not in {"specversion", "source", "type", "subject", "time", "data", "traceparent", "tracestate"}
        and name not in {"datacontenttype", "partitionkey"}
    )
)
extensions = st.dictionaries(names, texts, max_size=3)
times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
documents = st.dictionaries(texts, st.integers(-(2**53), 2**53) | texts | st.none(), max_size=3)
json_data = st.tuples(st.sampled_from([JSON, "application/vnd.shop+json"]), documents)
other_data = st.tuples(
    st.sampled_from(["text/plain", "application/avro", "application/xml; charset=utf-8"]),
    st.binary(min_size=1, max_size=20) | texts,
)


def without(event, name):
    attributes = {key: value for key, value in event.get_attributes().items() if key != name}
    return CloudEvent(attributes, event.get_data())


def bytes_of(data):
    return data if isinstance(data, bytes) else data.encode()


def as_sdk_reads(data):
    """Return bytes as the SDK gives data that is no JSON: text where it is, in binary mode."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


@every_way
@settings(max_examples=20)
@given(
    id=texts,
    source=texts,
    subject=texts | st.just(""),
    time=times,
    more=extensions,
    kind=json_data | other_data,
)
@example(
    "Euro € 😀", 'a "quoted" %41', "100%", datetime(2024, 1, 1, tzinfo=UTC), {"partitionkey": "p"}, (JSON, {})
)
def test_the_sdk_reads_what_we_write(way, structured, id, source, subject, time, more, kind):
    """Every attribute and the data arrive as they were, in both content modes, on every way."""
    content_type, data = kind
    is_json = "json" in content_type
    raw = json.dumps(data).encode() if is_json else bytes_of(data)
    said = {**more, **({} if content_type == JSON else {"datacontenttype": content_type})}
    record = Record(id, "orders.paid.v1", TOPIC, subject, instant_us(time), raw, source, said or None)
    event = WAYS[way][0](record, structured=structured)
    assert event.get_attributes() == {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": "orders.paid.v1",
        **({"subject": subject} if subject else {}),
        "time": time,
        "datacontenttype": content_type,
        **more,
    }
    found = event.get_data()
    assert found == (data if is_json else raw if structured else as_sdk_reads(raw))


@every_way
@settings(max_examples=20)
@given(
    id=texts,
    source=texts,
    subject=texts | st.none(),
    time=times,
    more=extensions,
    kind=json_data | other_data,
)
@example("Euro € 😀", 'a "quoted" %41', "100%", datetime(2024, 1, 1, tzinfo=UTC), {}, (JSON, {"a": None}))
def test_we_read_what_the_sdk_writes(way, structured, id, source, subject, time, more, kind):
    """An event of the SDK becomes a record with each attribute and the very data."""
    content_type, data = kind
    if way == "http" and "json" not in content_type:
        content_type, data = JSON, {"only": "JSON is taken there"}
    attributes = {
        "id": id,
        "source": source,
        "type": "orders.paid.v1",
        "specversion": "1.0",
        "time": time,
        **more,
    }
    if subject is not None:
        attributes["subject"] = subject
    record = WAYS[way][1](
        CloudEvent({**attributes, "datacontenttype": content_type}, data), structured=structured
    )
    said = dict(record.extensions or {})
    assert said.pop("datacontenttype", JSON) == content_type
    assert said == more
    assert (record.id, record.source, record.type, record.subject) == (
        id,
        source,
        "orders.paid.v1",
        subject or "",
    )
    assert moment(record.time_us) == time
    if "json" in content_type:
        assert json.loads(record.data) == data
    else:
        assert record.data == bytes_of(data)


@given(text=st.text(st.characters(exclude_categories=("Cs",))))
@example("Euro € 😀")
def test_header_values_are_encoded_as_the_binding_says(text):
    """Only printable ASCII without space, quote and percent; decoded, it is what it was."""
    value = to_header(text)
    assert all("!" <= character <= "~" and character != '"' for character in value)
    assert from_header(value) == text
    assert http._encode_header_value(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("Euro%20%e2%82%ac", "Euro €"),
        ('"Euro \\"x\\" %41"', 'Euro "x" A'),
        ("%41%42", "AB"),
        ("", ""),
    ],
)
def test_what_older_senders_write_is_read(value, text):
    """Lower-case codes, needless codes, and quoted strings with escapes."""
    assert from_header(value) == text


@pytest.mark.parametrize("value", ["%C0%A0", "%80", "%", "%4", "%zz", "%ED%A0%80"])
def test_codes_that_are_no_utf8_are_refused(value):
    """An overlong or broken sequence is no text."""
    with pytest.raises(ValueError, match=r"\w"):
        from_header(value)


def test_a_time_in_any_zone_is_the_same_instant():
    """What a sender writes with an offset is read as the instant that it is."""
    event = CloudEvent(
        {
            "id": "1",
            "source": "/s",
            "type": "orders.paid.v1",
            "specversion": "1.0",
            "time": datetime.fromisoformat("2024-02-29T23:59:59.123456-11:30"),
        },
        {},
    )
    for way, structured in CASES:
        record = WAYS[way][1](event, structured=structured)
        assert moment(record.time_us) == event.get_time()
        assert event.get_time().utcoffset() == timedelta(hours=-11.5)


def test_booleans_and_numbers_among_the_attributes_are_their_canonical_text():
    """Structured mode has types that headers have not."""
    document = (
        b'{"specversion":"1.0","id":"1","source":"/s","type":"o.p.v1","a":true,"b":-7,"c":null,"data":1}'
    )
    headers = [("content-type", b"Application/CloudEvents+JSON; charset=UTF-8"), ("ce_id", b"other")]
    record = stored_of(Message(TOPIC, 0, 0, None, document, headers, None, (1, 0)), TOPIC, 0).record
    assert (record.id, record.extensions, record.data) == ("1", {"a": "true", "b": "-7"}, b"1")


def test_a_nats_message_without_headers_is_an_event_too():
    """As version 1.0.2 of the binding has it, and as clients of old servers send it."""
    document = b'{"specversion":"1.0","id":"1","source":"/s","type":"orders.paid.v1","data":{"n":1}}'
    place = {"Nats-Stream": "s", "Nats-Sequence": "3", "Nats-Time-Stamp": "1970-01-01T00:00:01Z"}
    found = stored(TOPIC, 0, place, document, known_us=0)
    assert found.record == Record("1", "orders.paid.v1", TOPIC, "", 1_000_000, b'{"n":1}', "/s")
    assert (found.offset, found.known_us) == (2, 1_000_000)
    other = stored(TOPIC, 0, place, b"hello", known_us=0).record
    assert (other.id, other.type, other.data) == ("s/3", "", b"hello")
    canonical = {
        **place,
        "Ce-Id": "7",
        "Ce-Type": "orders.paid.v1",
        "CE-SOURCE": "/s",
        "Ce-Specversion": "1.0",
    }
    assert stored(TOPIC, 0, canonical, b"{}", known_us=0).record.id == "7"
