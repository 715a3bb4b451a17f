"""CloudEvents that are posted: what is taken, what is refused, and what is in the log then."""

import asyncio
import json

import pytest
from tests.cloud_events import NOW, Paid, Seen, batch, binary, official, request, structured

from tropism.adapters.http.ingress import Ingress, IngressOptions
from tropism.adapters.memory import MemoryStore, VirtualClock
from tropism.core.codec import Codec
from tropism.core.errors import UnavailableError
from tropism.core.time import instant_us
from tropism.models.events import DriftDetected
from tropism.testing.log import read_all

NOW_US = instant_us(NOW)
SECRET = "s3cret"  # noqa: S105 (it is looked for where none may be)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def ingress(store=None, **options):
    log = (store or MemoryStore(clock=VirtualClock(NOW_US))).log
    return Ingress(log, Codec([Paid, Seen, DriftDetected]), VirtualClock(NOW_US), IngressOptions(**options))


def stored(store, topic="orders"):
    pages = asyncio.run(read_all(store.log, topic))
    return [stored.record for page in pages.values() for stored in page]


def posted(application, headers, body, **more):
    return asyncio.run(request(application, headers, body, **more))


def refused(headers, body, status, word, *, application=None, **more):
    """Send a request that stores nothing, and is told why in the house's form."""
    store = MemoryStore(clock=VirtualClock(NOW_US))
    application = application or ingress(store)
    code, told, answer = posted(application, headers, body, **more)
    assert (code, word in told["error"]) == (status, True), told
    assert told["error"].startswith("Cannot ")
    assert told["error"].endswith(".")
    assert stored(store) == []
    return answer


@pytest.mark.parametrize("mode", [binary, structured, batch])
def test_each_content_mode_stores_the_same_event(mode):
    """Binary, structured and batched: what the SDK sent lies in the log, as one and the same record."""
    store = MemoryStore(clock=VirtualClock(NOW_US))
    event = official(subject="o1", flavour="crème brûlée", traceparent=TRACE, tracestate="a=1")
    assert posted(ingress(store), *mode(event))[:2] == (202, {"accepted": 1, "new": 1})
    (record,) = stored(store)
    assert (record.type, record.topic, record.subject, record.time_us) == (
        "orders.paid.v1",
        "orders",
        "o1",
        NOW_US,
    )
    assert record.source == "https://shop.example/till"
    assert record.extensions == {"flavour": "crème brûlée", "traceparent": TRACE, "tracestate": "a=1"}
    assert json.loads(record.data) == {"order": "o1", "amount": 2.5}


def test_an_event_is_one_by_source_and_id():
    """The same source and id is stored once; the same id of another source is another event."""
    store = MemoryStore(clock=VirtualClock(NOW_US))
    application = ingress(store)
    other = official(source="https://other.example/")
    for event, new in ((official(), 1), (official(), 0), (other, 1), (other, 0)):
        assert posted(application, *binary(event))[1] == {"accepted": 1, "new": new}
    assert posted(application, *batch(official(), other, official(id="2")))[1] == {"accepted": 3, "new": 1}
    ids = {record.id for record in stored(store)}
    assert len(ids) == 3
    assert all(id.startswith(("1~", "2~")) for id in ids)


def test_the_key_of_its_type_orders_an_event_and_its_own_subject_stays_known():
    store = MemoryStore(clock=VirtualClock(NOW_US))
    posted(ingress(store), *binary(official(subject="/orders/o1")))
    (record,) = stored(store)
    assert (record.subject, record.extensions) == ("o1", {"originalsubject": "/orders/o1"})
    posted(ingress(store), *binary(official({"page": "/"}, type="pages.seen.v1", subject="visitor-7")))
    (record,) = stored(store, "pages")
    assert (record.subject, record.extensions) == ("visitor-7", None)


def test_without_a_time_it_is_now_and_a_sender_s_clock_may_go_wrong_by_minutes_only():
    store = MemoryStore(clock=VirtualClock(NOW_US))
    headers, body = binary(official())
    del headers["ce-time"]  # which the SDK adds by itself
    assert posted(ingress(store), headers, body)[0] == 202
    assert [record.time_us for record in stored(store)] == [NOW_US]
    for time in (
        "2026-01-31T13:00:00Z",
        "0999-01-01T00:00:00Z",
        "yesterday",
        "2026-01-31",
        "20260131T120000Z",
    ):
        refused({**headers, "ce-time": time}, body, 400, "time")
    assert (
        posted(ingress(store), {**headers, "ce-id": "2", "ce-time": "2026-01-31t13:04:59.5+01:00"}, body)[0]
        == 202
    )


def test_the_request_s_trace_is_taken_where_the_event_names_none():
    """A valid trace of the event comes first, then one of the request; what is invalid is left out."""
    other = TRACE.replace("0af7", "1bf7")
    for own, of_request, kept in (
        (None, TRACE, TRACE),
        (other, TRACE, other),
        ("00-0-0-00", TRACE, TRACE),
        (None, TRACE.upper(), None),
        ("nonsense", "", None),
    ):
        store = MemoryStore(clock=VirtualClock(NOW_US))
        headers, body = binary(official(traceparent=own))
        posted(ingress(store), {**headers, "traceparent": of_request, "tracestate": "a=1"}, body)
        (record,) = stored(store)
        assert (record.extensions or {}).get("traceparent") == kept


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"ce-id": None}, 400, "no 'id'"),
        ({"ce-source": None}, 400, "no 'source'"),
        ({"ce-type": None}, 400, "no 'type'"),
        ({"ce-specversion": "0.3"}, 400, "specversion"),
        ({"ce-type": "orders.lost.v1"}, 400, "orders.paid.v1"),
        ({"ce-type": DriftDetected.event_type}, 400, "none that is taken"),
        ({"ce-bad_name": "x"}, 400, "no name"),
        ({"ce-flavour": "%C0%A0"}, 400, "UTF-8"),
        ({"ce-flavour": "100%"}, 400, "UTF-8"),
        ({"ce-datacontenttype": "application/json"}, 400, "Content-Type"),
        ({"content-type": "application/xml"}, 415, "application/json"),
        ({"content-type": "application/json; charset=latin-1"}, 415, "UTF-8"),
        ({"content-type": "application/cloudevents+avro"}, 415, "application/cloudevents+json"),
        ({"content-length": "99999999"}, 413, "bytes"),
    ],
)
def test_what_is_no_event_of_the_app_is_refused(change, status, word):
    headers, body = binary(official())
    changed = {name: value for name, value in {**headers, **change}.items() if value is not None}
    refused(changed, body, status, word)


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b'{"order": 7, "amount": 1}', 400, "order"),
        (b'{"order": "o1"}', 400, "amount"),
        (b"", 400, "JSON"),
        (b"\xff", 400, "JSON"),
        (b"[" * 100_000, 400, "Cannot"),
    ],
)
def test_data_that_does_not_fit_its_type_is_refused_without_repeating_it(body, status, word):
    refused(binary(official())[0], body, status, word)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"7",
        b'{"id": {}}',
        b'{"id": "1", "data": 1, "data_base64": "AA=="}',
        b'{"id": "1", "data_base64": "?"}',
        b"[" * 100_000,
    ],
)
def test_structured_nonsense_is_refused(document):
    refused({"content-type": "application/cloudevents+json"}, document, 400, "CloudEvent")


def test_a_batch_is_taken_wholly_or_not_at_all():
    """One bad event among good ones: none is stored, and the answer names it."""
    refused(*batch(official(), official(id="bad", type="orders.lost.v1")), 400, "'bad'")
    refused(
        *batch(*(official(id=str(n)) for n in range(5))), 400, "5", application=ingress(batch_count_max=4)
    )
    assert posted(ingress(), *batch())[:2] == (202, {"accepted": 0, "new": 0})


def test_bodies_are_bounded_also_where_nobody_said_how_long_they_are():
    headers, body = binary(official())
    small = ingress(body_bytes_max=len(body) - 1)
    refused(headers, body, 413, "bytes", application=small, chunks=5)
    assert posted(ingress(), headers, body, chunks=5)[0] == 202


@pytest.mark.parametrize("length", ["9" * 20, "9" * 5000])
def test_a_body_said_to_be_longer_than_numbers_go_is_refused(length):
    headers, body = binary(official())
    refused({**headers, "content-length": length}, body, 413, "bytes")


@pytest.mark.parametrize("attribute", ["ce-id", "ce-type", "ce-" + "x" * 70_000])
def test_attributes_are_bounded_and_not_repeated(attribute):
    """Logs index ids and keys, and errors repeat them: a megabyte of one is neither stored nor sent back."""
    headers, body = binary(official())
    refused({**headers, attribute: "y" * 70_000}, body, 413, "characters, more than")


def test_nobody_outside_says_that_an_event_was_redriven_or_released():
    """Who released an event, and for whom it is redriven, is told by this app alone; the rest is kept."""
    headers, body = binary(official())
    ours = {"ce-released": "trust me", "ce-redriveof": "other", "ce-redrivehandler": "h", "ce-hops": "3"}
    store = MemoryStore(clock=VirtualClock(NOW_US))
    assert posted(ingress(store), {**headers, **ours}, body)[0] == 202
    (record,) = stored(store)
    assert record.extensions == {"hops": "3"}


def test_a_token_may_have_any_characters():
    headers, body = binary(official())
    application = ingress(token="schlüssel à")  # noqa: S106 (a test's own)
    given = "Bearer schlüssel à".encode().decode("latin-1")
    assert posted(application, {**headers, "authorization": given}, body)[0] == 202


def test_a_body_that_does_not_come_is_given_up():
    headers, body = binary(official())
    refused(headers, body, 408, "took longer", application=ingress(body_seconds=0.01), ends=False)


def test_only_the_bearer_of_the_token_is_heard():
    headers, body = binary(official())
    application = ingress(token=SECRET)
    for given in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {SECRET}"}):
        answer = refused({**headers, **given}, body, 401, "token", application=application)
        assert answer["www-authenticate"] == "Bearer"
    assert posted(application, {**headers, "authorization": f"bearer {SECRET}"}, body)[0] == 202
    assert SECRET not in repr(IngressOptions(token=SECRET))


def test_nobody_outside_speaks_as_a_service_or_says_what_is_not_accepted():
    headers, body = binary(official(source="billing"))
    refused(headers, body, 400, "service of this app", application=ingress(sources=frozenset({"billing"})))
    refused(headers, body, 400, "pages.seen.v1", application=ingress(accepts=frozenset({"pages.seen.v1"})))


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/events", 405), ("POST", "/", 404), ("OPTIONS", "/events", 405)]
)
def test_other_places_and_methods_are_told_where_to_go(method, path, status):
    answer = refused(*binary(official()), status, "Cannot", method=method, path=path)
    assert (answer.get("allow") == "POST") == (status == 405)


def test_health_is_answered_to_everybody():
    assert posted(ingress(token=SECRET), {}, b"", method="GET", path="/health")[:2] == (200, {"status": "ok"})


class Failing:
    """A log that is not there, or one that answers when told to."""

    def __init__(self, log, error=None):
        self.log, self.error, self.waiting, self.go = log, error, asyncio.Event(), asyncio.Event()
        self.capabilities = log.capabilities

    async def append(self, records):
        if self.error is not None:
            raise self.error
        self.waiting.set()
        await self.go.wait()
        return await self.log.append(records)


def test_a_log_that_cannot_take_it_is_told_as_unavailable():
    error = UnavailableError("Cannot append: the disk is full. Free some space.")
    store = MemoryStore()
    application = Ingress(Failing(store.log, error), Codec([Paid]), VirtualClock(NOW_US))
    answer = refused(*binary(official()), 503, "disk is full", application=application)
    assert answer["retry-after"] == "1"


def test_the_answer_comes_after_the_append_and_no_more_wait_than_are_bounded():
    """202 is not said before the log has the event; one more request than may wait is sent away."""

    async def run():
        store = MemoryStore(clock=VirtualClock(NOW_US))
        log = Failing(store.log)
        application = Ingress(log, Codec([Paid]), VirtualClock(NOW_US), IngressOptions(in_flight_max=1))
        first = asyncio.ensure_future(request(application, *binary(official())))
        await log.waiting.wait()
        assert not first.done()
        assert (await request(application, *binary(official(id="2"))))[0] == 503
        log.go.set()
        assert (await first)[0] == 202
        assert (await request(application, *binary(official(id="2"))))[0] == 202

    asyncio.run(run())
