"""Confluent's framing, the client of its registry, and what a URL says of formats: what needs no broker."""

import asyncio
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from confluent_kafka.schema_registry.serde import SchemaId
from hypothesis import given
from hypothesis import strategies as st
from tests.confluent_registry import StandInRegistry

from tropism.adapters.confluent import registry as module
from tropism.adapters.confluent.formatted_log import FormattedLog
from tropism.adapters.confluent.framing import NotFramed, framed, message_of, unframed, with_message
from tropism.adapters.confluent.registry import SchemaRegistry
from tropism.adapters.confluent.topics import formats_of, topics_of
from tropism.adapters.kafka import open_kafka
from tropism.adapters.kafka.address import parse_address
from tropism.adapters.memory import MemoryStore
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError, NotFoundError, NotSupportedError, UnavailableError
from tropism.testing.log import read_all

paths = st.lists(st.integers(0, 300), min_size=1, max_size=4)


@given(st.integers(0, 2**32 - 1), paths, st.binary(max_size=9))
def test_frames_are_read_as_they_were_written(id, path, payload):
    """Whatever the id and the message's place, both come back, and the payload behind them."""
    found, rest = unframed(framed(id, with_message(path, payload)))
    assert (found, message_of(rest)) == (id, (path, payload))


@given(st.integers(0, 2**31 - 1), paths)
def test_frames_are_those_of_confluents_own_client(id, path):
    """Byte for byte: its serializer and ours write the same head."""
    theirs = SchemaId("PROTOBUF", id)
    theirs.message_indexes = path
    assert theirs.id_to_bytes() == framed(id, with_message(path, b""))


@given(st.binary(max_size=12))
def test_any_bytes_are_framed_or_refused(data):
    """No input takes long or fails in another way."""
    try:
        message_of(unframed(data)[1])
    except NotFramed:
        return
    assert data[0] == 0


@pytest.fixture
def server():
    made = StandInRegistry()
    yield made
    made.close()


def test_schemas_are_asked_for_once_and_no_more_than_so_many_are_remembered(server, monkeypatch):
    """A schema never changes under its id; those that were not used for long are forgotten."""
    monkeypatch.setattr(module, "SCHEMAS_MAX", 2)
    ids = [server.register("s", f'"{kind}"') for kind in ("int", "long", "string")]
    client = SchemaRegistry(server.url)
    for id in (ids[0], ids[0], ids[1], ids[0], ids[2], ids[0]):
        assert client.by_id(id).id == id
    assert len(server.asked) == 3
    client.by_id(ids[1])
    assert len(server.asked) == 4
    assert client.newest("s").text == '"string"'
    assert client.version("s", 1).text == '"int"'


def test_what_a_registry_may_answer_has_a_word_each(server):
    """Not there, refused, out of order, too long, gone: each is told by class and without the login."""
    client = SchemaRegistry(server.url.replace("://", "://me:hunter2@"), timeout_seconds=2)
    with pytest.raises(NotFoundError, match=r"'/schemas/ids/7'.*Register the schema"):
        client.by_id(7)
    for answer, kind, told in (
        ((403, {}), InvalidInputError, "refuses the login"),
        ((422, {}), InvalidInputError, "answers 422"),
        ((503, {}), UnavailableError, "status 503"),
        ((200, b"["), UnavailableError, "no JSON"),
    ):
        server.down = answer
        with pytest.raises(kind, match=told) as found:
            client.check()
        assert "hunter2" not in str(found.value)
    gone = SchemaRegistry("http://127.0.0.1:1")
    with pytest.raises(UnavailableError, match="Start it, or mend the address"):
        gone.check()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((400, {}), NotFoundError),
        ((422, {}), NotFoundError),
        ((429, {}), UnavailableError),
        ((200, []), UnavailableError),
        ((200, {"status": "closed for the weekend"}), UnavailableError),
        ((200, {"schema": '"int"', "references": [{"name": "x"}]}), UnavailableError),
    ],
)
def test_what_is_no_schema_is_absent_or_waited_for_and_stops_nobody(server, answer, kind):
    """An id that none can have is not there; who is busy, or answers in the registry's place, is asked again."""
    server.down = answer
    with pytest.raises(kind):
        SchemaRegistry(server.url).by_id(2**32 - 1)


def test_a_schema_that_is_not_there_is_asked_for_once_a_page(server):
    """However many messages name an id that nobody registered: each is given as it is stored."""
    store = MemoryStore()
    topics = topics_of({"avro": "orders"}, "topic", "")
    log = FormattedLog(store.log, topics, formats_of(topics), SchemaRegistry(server.url))
    bad = [Record(f"{n}", "orders.unknown.v1", "orders", "k", 0, framed(9, b"x")) for n in range(50)]

    async def check():
        await store.log.append(bad)
        pages = await read_all(log, "orders")
        assert [each.record for page in pages.values() for each in page] == bad

    asyncio.run(check())
    assert server.asked.count("/schemas/ids/9") <= 2


def test_an_answer_without_end_is_cut_off(server, monkeypatch):
    """Memory is bounded, whatever the other side sends."""
    monkeypatch.setattr(module, "ANSWER_BYTES_MAX", 100)
    server.down = (200, b" " * 1000)
    with pytest.raises(UnavailableError, match="more than 100 bytes"):
        SchemaRegistry(server.url).check()


def test_a_redirect_to_another_server_does_not_take_the_login_along(server):
    """Who answers for the registry is not given its password."""

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", f"{server.url}{self.path}")
            self.end_headers()

        def log_message(self, *_):
            pass

    server.login = "me:secret"
    front = HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = Thread(target=front.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        client = SchemaRegistry(f"http://me:secret@127.0.0.1:{front.server_address[1]}")
        with pytest.raises(InvalidInputError, match="refuses the login"):
            client.check()
    finally:
        front.shutdown()
        front.server_close()
        thread.join()


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "ftp://x", "http://", "http://h:port"])
def test_an_address_that_is_none_is_refused(url):
    """Only web addresses are asked, and the error repeats nothing of what was given."""
    with pytest.raises(InvalidInputError, match="no http:// or https:// address") as found:
        SchemaRegistry(url)
    assert "passwd" not in str(found.value)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("avro=orders", "go together"),
        ("registry=http://r", "go together"),
        ("avro=orders,orders&registry=http://r", "named twice"),
        ("avro=orders&protobuf=orders&registry=http://r", "named twice"),
        ("avro=orders:posts.sent.v1&registry=http://r", "is not of it"),
        ("avro=orders&registry=http://r&subjects=odd", "no such way"),
    ],
)
def test_what_a_url_says_of_formats_is_checked(query, told):
    """A slip in the URL is told when it is read."""
    with pytest.raises(InvalidInputError, match=told):
        parse_address(f"kafka://h:1?{query}")


def test_a_url_names_topics_types_and_registry():
    """None of it reaches librdkafka, and the registry's login is not in what may be shown."""
    query = "prefix=p.&avro=orders:orders.paid.v1,bills&protobuf=posts&registry=http://me:secret@r&subjects=record"
    address = parse_address(f"kafka://h:1?{query}&linger.ms=3")
    assert {name: (t.name, t.format, t.event_type) for name, t in address.formats.items()} == {
        "orders": ("p.orders", "AVRO", "orders.paid.v1"),
        "bills": ("p.bills", "AVRO", ""),
        "posts": ("p.posts", "PROTOBUF", ""),
    }
    assert address.settings == {"linger.ms": "3"}
    assert "secret" not in repr(address) + address.name


@pytest.mark.parametrize(("format", "vendor"), [("avro", "fastavro"), ("protobuf", "google.protobuf")])
def test_a_missing_extra_is_told_by_name(format, vendor, monkeypatch):
    """Who has no library for a format is told which extra brings it, and nobody else needs it."""
    monkeypatch.setitem(sys.modules, vendor, None)
    monkeypatch.delitem(sys.modules, f"tropism.adapters.confluent.{format}", raising=False)
    with pytest.raises(NotSupportedError, match=rf"pip install 'tropism\[{format}\]'"):
        asyncio.run(open_kafka(f"kafka://127.0.0.1:1?{format}=orders&registry=http://r"))
