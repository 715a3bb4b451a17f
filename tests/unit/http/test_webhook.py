"""Events that are posted to others: in order, at least once, when the other side wants them."""

import asyncio
from datetime import timedelta

import pytest
from cloudevents.core.bindings.http import from_http_event
from tests.cloud_events import Paid, Seen, message_of

from tropism import App, Retry, testing
from tropism.adapters.http.sending import Answer, check_url, request_of, retry_after_seconds
from tropism.app.webhook import webhook
from tropism.core.cloudevents import taken_id
from tropism.core.envelope import Record
from tropism.core.errors import InvalidInputError, UnavailableError

URL = "https://billing.example/hooks?key=s3cret"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Other:
    """The other side: it takes what it is not told to answer otherwise."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.taken = []
        self.asked = []
        self.closed = False
        self.now = lambda: 0.0

    async def __call__(self, headers, body):
        event = from_http_event(message_of(headers, body))
        self.asked.append((event.get_subject(), self.now()))
        answer = self.answers.pop(0) if self.answers else Answer(202)
        if isinstance(answer, Exception):
            raise answer
        if answer.status < 300:
            self.taken.append(event)
        return answer

    async def close(self):
        self.closed = True


def shop(other, **more):
    return App(
        "shop", services=[webhook("billing", Paid, url=URL, post=lambda: other, **more)], events=[Seen]
    )


def sent(other, *events, mode="binary", hours=2, allow_dead_letters=False, **more):
    """Publish events, let time pass, and return the dead letters."""

    async def run():
        async with testing.run(shop(other, mode=mode, **more), allow_dead_letters=allow_dead_letters) as t:
            other.now = t.simulation.clock.monotonic
            await t.publish(*events)
            await t.advance(hours=hours)
            return t.dead_letters(read=False)

    return asyncio.run(run())


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_each_event_is_posted_as_a_cloud_event(mode):
    """The SDK reads from either mode what was published; types that were not named are not sent."""
    other = Other()
    assert not sent(other, Paid(order="ö1", amount=2.5), Seen(page="/"), mode=mode, source="/shop/")
    (event,) = other.taken
    assert (event.get_type(), event.get_subject(), event.get_source()) == ("orders.paid.v1", "ö1", "/shop/")
    assert event.get_data() == {"order": "ö1", "amount": 2.5}
    assert event.get_datacontenttype() == "application/json"
    assert event.get_extension("hops") == "1"
    assert other.closed


def test_keys_wait_for_their_own_events_only():
    """Refused for now, an event is sent again before the later ones of its key; others pass."""
    other = Other(Answer(503), UnavailableError("Cannot reach it: ConnectError. It is sent again by itself."))
    events = [Paid(order=key, amount=n) for n, key in enumerate(("a", "a", "b", "a"))]
    assert not sent(other, *events)
    taken = [(event.get_subject(), event.get_data()["amount"]) for event in other.taken]
    assert [amount for key, amount in taken if key == "a"] == [0, 1, 3]
    assert sorted(taken) == [("a", 0), ("a", 1), ("a", 3), ("b", 2)]


def test_it_waits_as_long_as_it_is_asked_to():
    """Retry-After holds back the event it was said to, and for up to five minutes all others."""
    other = Other(Answer(429, "120"))
    assert not sent(other, *(Paid(order=key, amount=1) for key in "abc"), in_flight_max=1)
    (first, began), *later = other.asked
    assert {key for key, _ in later} == {"a", "b", "c"}
    assert all(when - began >= 120 for _, when in later)
    assert first in {key for key, _ in later}


@pytest.mark.parametrize("status", [400, 401, 301, 410, 422])
def test_what_is_refused_for_good_is_a_dead_letter_at_once(status):
    other = Other(Answer(status))
    (letter,) = sent(other, Paid(order="a", amount=1), allow_dead_letters=True)
    assert (letter.attempts, letter.handler) == (1, "billing.send")
    assert f"answered {status}" in letter.cause
    assert "s3cret" not in letter.cause
    assert len(other.asked) == 1


def test_attempts_end():
    other = Other(*[Answer(500)] * 9)
    retry = Retry(attempts=3, first=timedelta(seconds=1), on=(UnavailableError,))
    (letter,) = sent(other, Paid(order="a", amount=1), retry=retry, allow_dead_letters=True)
    assert (letter.attempts, len(other.asked)) == (3, 3)


def test_what_came_in_goes_out_under_the_id_and_the_trace_it_came_with():
    """Id and source of whoever said it; a redriven event is to others the same event."""
    source = "https://till.example/"
    extensions = {"traceparent": TRACE, "tracestate": "a=1", "Bad Name": "x\r\ny: z"}
    record = Record(taken_id("7", source), "orders.paid.v1", "orders", "k", 0, b"{}", source, extensions)
    headers, body = request_of(record, "binary")
    assert (headers["traceparent"], headers["tracestate"], body) == (TRACE, "a=1", b"{}")
    assert not [name for name in headers if "bad" in name.lower()]
    event = from_http_event(message_of(headers, body))
    assert (event.get_id(), event.get_source()) == ("7", source)
    assert event.get_extension("traceparent") == TRACE


def test_a_redriven_event_goes_out_under_its_first_id():
    other = Other(Answer(400))

    async def run():
        async with testing.run(shop(other)) as t:
            (id,) = await t.publish(Paid(order="a", amount=1))
            await t.advance(hours=1)
            await t.redrive()
            await t.advance(hours=1)
            return id

    id = asyncio.run(run())
    (event,) = other.taken
    assert event.get_id() == id
    assert not {"redriveof", "redrivehandler"} & set(event.get_attributes())


def test_an_event_that_went_around_too_often_is_not_sent():
    """Its hops come along from whoever sent it here; one too many, and it is a dead letter that says so."""
    other = Other()

    async def run():
        async with testing.run(shop(other, hops_max=3), allow_dead_letters=True) as t:
            for hops in ("2", "3", "nonsense"):
                record = Record(
                    f"e{hops}",
                    "orders.paid.v1",
                    "orders",
                    "k",
                    0,
                    b'{"order":"k","amount":1}',
                    "/x",
                    {"hops": hops},
                )
                await t.simulation.store.log.append([record])
            await t.advance(hours=1)
            return t.dead_letters()

    (letter,) = asyncio.run(run())
    assert (letter.record.id, letter.attempts) == ("e3", 1)
    assert "4 hops" in letter.cause
    assert sorted(event.get_extension("hops") for event in other.taken) == ["1", "3"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("99999999999999", 86_400.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 60.0),
        ("Thu, 01 Jan 1960 00:01:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("-1", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, seconds):
    assert retry_after_seconds(text, 0) == seconds


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://h/x",
        "https://",
        "https://u:s3cret@h/x",
        "file:///etc/passwd",
        "https://[::1",
        "h/x",
        "https://h/ x",
        "https://h/ü",
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused_without_its_secrets(url):
    with pytest.raises(InvalidInputError, match=r"^Cannot send events .*\.$") as raised:
        check_url(url)
    assert "s3cret" not in str(raised.value)


def test_a_webhook_needs_events_and_a_budget():
    with pytest.raises(InvalidInputError, match="names no events"):
        webhook("w", url=URL)
    with pytest.raises(InvalidInputError, match="0 hops"):
        webhook("w", Paid, url=URL, hops_max=0)


def test_a_token_that_is_not_there_is_told_at_start(monkeypatch):
    monkeypatch.delenv("BILLING_TOKEN", raising=False)

    async def run():
        hook = webhook("billing", Paid, url=URL, token_variable="BILLING_TOKEN")  # noqa: S106 (a name)
        async with testing.run(App("shop", services=[hook])) as t:
            await t.advance(hours=1)

    with pytest.raises(InvalidInputError, match="'BILLING_TOKEN'"):
        asyncio.run(run())
