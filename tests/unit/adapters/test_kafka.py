"""Kafka URLs, names, messages and pages: what needs no broker."""

import asyncio

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from tropism.adapters.kafka.address import parse_address
from tropism.adapters.kafka.appending import Outgoing
from tropism.adapters.kafka.errors import Complaints, translated
from tropism.adapters.kafka.messages import encoded, may_exceed, size_of, stored_of
from tropism.adapters.kafka.topics import kafka_name
from tropism.adapters.kafka.track import Page, Track
from tropism.adapters.kafka.transactions import Transactions
from tropism.core.envelope import Record, Stored
from tropism.core.errors import CorruptError, InvalidInputError, TropismError, UnavailableError
from tropism.ports.opening import open_url

SECRET = "topsecret"  # noqa: S105 (it is looked for where none may be)


def message(key, value, headers, *, offset=3, sent_ms=5):
    return Message("t", 1, offset, key, value, headers, None, (1, sent_ms))


def there_and_back(record):
    key, value, headers = encoded(record)
    return stored_of(message(key, value, headers), record.topic, 0)


@pytest.mark.parametrize(
    "record",
    [
        Record("a", "o.p.v1", "o", "k", 1_700_000_000_123_456, b"{}"),
        Record("a", "o.p.v1", "o", "k", -1, b"{}", "/shop", {"causationid": "x", "traceparent": ""}),
        Record("a", "o.p.v1", "o", "", 2**62, b"", "/tropism", {"datacontenttype": "application/avro"}),
        Record(
            "\u00fc",
            "\u00e9",
            "o",
            "\U0001f6eb",
            -(2**62),
            b"\xff",
            "",
            {"datacontenttype": "application/json"},
        ),
        Record("a", "b", "o", "k", -62_135_596_800_000_000, b"1", "", {"datacontenttype": ""}),
        Record("a", "b", "o", "k", 253_402_300_799_999_999, b"1"),
        Record("a", "b", "o", "k", 0, b'{"id":"1"}', "", {"datacontenttype": "application/cloudevents+json"}),
    ],
)
def test_a_record_returns_from_a_message_as_it_was(record):
    assert there_and_back(record).record == record


def test_a_message_is_a_cloud_event_in_binary_mode():
    """Key, attributes and content type stand where the Kafka binding of CloudEvents 1.0.2 puts them."""
    record = Record("a", "o.p.v1", "o", "k", 1_000_001, b'{"n":1}', "", {"causationid": "c"})
    key, value, headers = encoded(record)
    assert (key, value) == (b"k", b'{"n":1}')
    assert dict(headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"a",
        "ce_source": b"/tropism",
        "ce_type": b"o.p.v1",
        "ce_subject": b"k",
        "ce_time": b"1970-01-01T00:00:01.000001Z",
        "ce_causationid": b"c",
        "content-type": b"application/json",
    }


def test_other_products_messages_are_read_as_well_as_they_can_be():
    """Binary events of others, structured ones, and what is no event."""
    other = {
        "ce_id": b"1",
        "ce_type": b"x.y",
        "ce_source": b"/s",
        "ce_time": b"1970-01-01T02:00:01+02:00",
        "ce_specversion": b"1.0",
    }
    found = stored_of(message(b"k", b"{}", list(other.items())), "t", 0).record
    assert found == Record("1", "x.y", "t", "", 1_000_000, b"{}", "/s")
    text = b'{"specversion":"1.0","id":"1","type":"x.y","source":"/s","subject":"k","more":7,"data":{"n":1}}'
    headers = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
    found = stored_of(message(b"q", text, headers), "t", 0).record
    assert found == Record("1", "x.y", "t", "k", 5000, b'{"n":1}', "/s", {"more": "7"})
    for headers in (None, [("ce_id", None)], [("content-type", b"application/cloudevents+json")]):
        found = stored_of(message(b"\xff", None, headers), "t", 0).record
        assert (found.id, found.type, found.data) == ("t/1/3", "t.unknown.v1", b"")


@pytest.mark.parametrize("time", [b"9" * 30, b"-" + b"9" * 30, b"9" * 5000, b"soon", b"", None])
def test_a_time_that_cannot_be_is_not_taken_over(time):
    """A header of ours with nonsense in it makes a message of somebody else's, known when the broker took it."""
    headers = [("ce_id", b"a"), ("ce_source", b"/x"), ("ce_type", b"t.a.v1"), ("tropism_time_us", time)]
    found = stored_of(message(b"k", b"{}", headers), "t", 0)
    assert (found.record.type, found.record.id, found.known_us) == ("t.unknown.v1", "t/1/3", 5000)


def test_known_is_never_before_the_record_the_broker_or_the_one_in_front():
    record = Record("a", "o.p.v1", "o", "k", 7_000, b"{}")
    key, value, headers = encoded(record)
    assert stored_of(message(key, value, headers, sent_ms=5), "o", 0).known_us == 7_000
    assert stored_of(message(key, value, headers, sent_ms=9), "o", 0).known_us == 9_000
    assert stored_of(message(key, value, headers, sent_ms=9), "o", 11_000).known_us == 11_000


@pytest.mark.parametrize("extensions", [{"id": "x"}, {"x": "\ud800"}])
def test_what_cannot_be_a_header_is_refused(extensions):
    with pytest.raises(InvalidInputError, match="Cannot append event 'a'"):
        encoded(Record("a", "o.p.v1", "o", "k", 0, b"{}", "", extensions))


def test_what_cannot_exceed_a_size_does_not():
    """The cheap bound is never below the size."""
    record = Record("\u00fc" * 100, "o.p.v1", "o", "\U0001f6eb" * 50, 2**62, b"x" * 100, "/s")
    size = size_of(encoded(record))
    assert may_exceed(record, size - 1)
    assert not may_exceed(record, 10 * size)


def test_topic_names_are_told_apart():
    """Every text has a name of its own, of characters that Kafka knows."""
    topics = ["orders", "a_b", "a_x2F_b", "a/b", "a b", "\u00fc", "a.b", "a-b", "_x", "x"]
    names = {kafka_name("shop.", topic) for topic in topics}
    assert len(names) == len(topics)
    assert all(name.isascii() and set(name) <= set("._-") | set(filter(str.isalnum, name)) for name in names)
    assert kafka_name("shop.", "my_orders") == "shop.my_orders"
    for topic in ("", "x" * 250):
        with pytest.raises(InvalidInputError, match="Cannot use topic"):
            kafka_name("", topic)
    with pytest.raises(InvalidInputError, match="Cannot use topic"):
        kafka_name("", ".")


def test_a_url_says_where_and_how():
    url = "kafka://a:1,b:2?prefix=x.&partitions=8&replication=3&transactions=true&sasl.password.env=P&linger.ms=1&fetch.min.bytes=2"
    address = parse_address(url, {"P": SECRET})
    assert (address.servers, address.prefix, address.partitions, address.replication) == (
        "a:1,b:2",
        "x.",
        8,
        3,
    )
    assert address.transactions
    assert address.producer_settings() == {"sasl.password": SECRET, "linger.ms": "1"}
    assert address.consumer_settings() == {"sasl.password": SECRET, "fetch.min.bytes": "2"}
    assert SECRET not in repr(address)
    assert address.name == "kafka://a:1,b:2?prefix=x."


@pytest.mark.parametrize(
    "url",
    [
        "kafka://",
        f"kafka://u:{SECRET}@h:1",
        f"kafka://h:1/path?sasl.password={SECRET}",
        f"kafka://h:1?sasl.password={SECRET}&acks=0",
        f"kafka://h:1?sasl.password={SECRET}&partitions=0",
        f"kafka://h:1?sasl.password={SECRET}&partitions=1.5",
        f"kafka://h:1?sasl.password={SECRET}&transactions=maybe",
        f"kafka://h:1?sasl.password={SECRET}&sasl.username.env=TROPISM_NOT_SET",
        f"kafka://h:1?sasl.password={SECRET}&no.such.setting=1",
        f"kafka://h:1?sasl.password={SECRET}&security.protocol={SECRET}",
    ],
)
def test_a_url_that_says_nothing_usable_is_refused_without_its_secrets(url):
    async def run():
        from tropism.adapters.kafka import open_kafka

        await open_kafka(url)

    with pytest.raises(InvalidInputError, match=r"^Cannot .*\.$") as raised:
        asyncio.run(run())
    assert SECRET not in str(raised.value)


def test_a_scheme_nobody_serves_is_named_without_secrets():
    with pytest.raises(TropismError) as raised:
        asyncio.run(open_url(f"nosuch://u:{SECRET}@h:1?sasl.password={SECRET}&prefix=x"))
    assert SECRET not in str(raised.value)
    assert "nosuch://" in str(raised.value)


@pytest.mark.parametrize(
    ("code", "kind", "word"),
    [
        (KafkaError._ALL_BROKERS_DOWN, UnavailableError, "do not answer"),
        (KafkaError._AUTHENTICATION, UnavailableError, "sasl.username"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, InvalidInputError, "right"),
        (KafkaError.MSG_SIZE_TOO_LARGE, InvalidInputError, "message.max.bytes"),
        (KafkaError._BAD_MSG, CorruptError, "damaged"),
    ],
)
def test_errors_say_what_to_do(code, kind, word):
    """Kafka's codes become the errors of the ports; its own words, which may repeat secrets, are left out."""
    found = translated(KafkaError(code, SECRET), "append to", "kafka://h:1", Complaints())
    assert type(found) is kind
    assert word in str(found)
    assert SECRET not in str(found)


def test_a_refused_login_explains_what_timed_out():
    complaints = Complaints()
    complaints.note(KafkaError(KafkaError._TRANSPORT))
    complaints.note(KafkaError(KafkaError._AUTHENTICATION, SECRET))
    found = translated(KafkaError(KafkaError._TIMED_OUT), "append to", "kafka://h:1", complaints)
    assert "did not let it log in" in str(found)
    assert SECRET not in str(found)


def track(*offsets, at=0):
    made = Track(at)
    for offset in offsets:
        made.put(
            Stored(0, offset, offset, Record("a", "even" if offset % 2 == 0 else "odd", "t", "k", 0, b"")), 10
        )
    return made


def offsets_of(page):
    return [stored.offset for stored in page]


def test_a_page_is_filled_over_gaps_and_says_how_far_it_read():
    made = track(2, 3, 5, 8, 9, 13)
    assert made.covers(0)
    assert made.covers(14)
    assert not made.covers(15)
    page = Page(made, 2, ())
    assert page.is_full()
    assert offsets_of(page.finish()) == [2, 3]
    assert (made.at, made.next, made.bytes) == (4, 14, 40)
    page = Page(made, 2, {"odd"})
    assert not page.is_full()
    made.put(Stored(0, 20, 20, Record("a", "even", "t", "k", 0, b"")), 10)
    assert page.is_full()
    assert offsets_of(page.finish()) == [8, 20]
    page = Page(track(1, 2, 3), 5, {"odd"})
    assert not page.is_full()
    assert offsets_of(page.finish()) == [2, 3]
    assert Page(track(), 5, {"odd"}).finish() == []


def test_a_track_is_read_on_from_any_place_that_it_covers():
    made = track(2, 3, 5)
    made.go_to(4)
    assert (made.at, offsets_of(made.held)) == (4, [5])
    made.next = 9  # the consumer said that nothing is left up to there
    page = Page(made, 5, ())
    assert not page.is_full()
    assert offsets_of(page.finish()) == [5]
    assert made.covers(6)
    assert made.covers(9)
    assert not made.covers(5)


class Full:
    """A producer whose queue is full, and stays so."""

    def __getattr__(self, name):
        return lambda *_, **__: None

    def produce(self, *_, **__):
        raise BufferError


def test_a_queue_that_stays_full_is_told_within_a_bound():
    """Brokers that take nothing hold up an append for its timeout, and those behind it no longer."""

    async def check():
        transactions = Transactions(Full, 0.2)
        there = [Outgoing("t", ("t", 0), encoded(Record("a", "t.b.v1", "t", "k", 0, b"{}")))]
        for _ in range(2):
            with pytest.raises(KafkaException, match="QUEUE_FULL"):
                await asyncio.wait_for(transactions.append(lambda: there), 30)
        await asyncio.wait_for(transactions.close(), 30)

    asyncio.run(check())


def test_the_usual_headers_are_read_like_any():
    """Whatever their order, with one more or one that has no value, a message is the same event."""
    record = Record("a", "o.p.v1", "o", "k", 1_700_000_000_123_456, b"{}", "/shop")
    key, value, headers = encoded(record)

    def read(*given):
        return stored_of(message(key, value, list(given)), "o", 0).record

    assert read(*headers) == read(*reversed(headers)) == read(*headers, ("other", b"1")) == record
    for missing in ("ce_time", "ce_subject", "ce_id", "ce_type", "ce_source", "content-type"):
        kept = [(name, None if name == missing else value) for name, value in headers]
        assert read(*kept) == read(*kept, ("other", b"1"))
    unnamed = encoded(Record("a", "o.p.v1", "o", "k", 0, b"{}", "")).headers
    meant = encoded(Record("a", "o.p.v1", "o", "k", 0, b"{}", "/tropism")).headers
    assert (read(*unnamed).source, read(*meant).source) == ("", "/tropism")
