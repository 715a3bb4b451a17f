"""Limits and pauses of providers: pure decisions, then whole services that keep to them."""

import asyncio
from datetime import timedelta
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest

from tropism import (
    App,
    BusyError,
    Event,
    Provider,
    Retry,
    Service,
    Step,
    Steps,
    minutes,
    testing,
)
from tropism.core.errors import InvalidInputError
from tropism.runtime.busy import busy_of, retry_after_seconds
from tropism.runtime.pace import Pace, answered, failed, refused, started, wait_seconds


class Sent(Event, type="posts.sent.v1", key="to"):
    to: str


class Taken(Event, type="posts.taken.v1", key="to"):
    to: str


ONCE = Retry(attempts=1)


class RefusalError(Exception):
    """What a client raises that looks like those of httpx and requests."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"status {status}")
        self.response = SimpleNamespace(
            status_code=status, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )


# -- pure -----------------------------------------------------------------------------------------------


def begin(provider: Provider, pace: Pace, now: float) -> tuple[Pace, float]:
    """Return the pace after the next call, and when it began."""
    now += wait_seconds(provider, pace, now)
    return started(provider, pace, now), now


def test_calls_begin_no_faster_than_the_rate() -> None:
    """After a burst, calls begin at even distances, however long nothing was asked before."""
    provider, pace, now, times = Provider("p", per_second=4, burst=3), Pace(at=0.0), 100.0, []
    for _ in range(7):
        pace, now = begin(provider, pace, now)
        times.append(now)
    assert times == pytest.approx([100, 100, 100, 100.25, 100.5, 100.75, 101])


def test_no_more_calls_are_under_way_than_allowed() -> None:
    """A call waits for another one to end, whether that one succeeds or fails."""
    provider, pace = Provider("p", in_flight=2), Pace()
    for _ in range(2):
        assert wait_seconds(provider, pace, 0.0) == 0.0
        pace = started(provider, pace, 0.0)
    assert wait_seconds(provider, pace, 9.0) == inf
    assert wait_seconds(provider, failed(pace), 9.0) == 0.0
    assert wait_seconds(provider, answered(provider, pace), 9.0) == 0.0


def test_a_pause_is_as_long_as_asked_but_bounded_and_the_return_is_gradual() -> None:
    """After it one call goes, then one more with each that succeeds, then as many as ever."""
    provider = Provider("p", longest=minutes(1))
    pace = refused(provider, started(provider, Pace(), 0.0), 0.0, 30.0)
    assert wait_seconds(provider, pace, 0.0) == 30.0
    assert wait_seconds(provider, refused(provider, pace, 40.0, 3600.0), 40.0) == 60.0
    under_way = 0
    for wanted in range(1, 65):
        while wait_seconds(provider, pace, 31.0) == 0.0:
            pace = started(provider, pace, 31.0)
            under_way += 1
        assert under_way == wanted
        while under_way:
            pace = failed(pace) if under_way > 1 else answered(provider, pace)
            under_way -= 1
    assert pace.window == inf


def test_pauses_double_where_nobody_says_how_long() -> None:
    """RefusalError after refusal, whoever calls waits longer; calls that began together are refused once."""
    provider, pace, now, pauses = Provider("p"), Pace(), 0.0, []
    for _ in range(4):
        pace = started(provider, started(provider, pace, now), now)
        pace = refused(provider, refused(provider, pace, now, None), now, None)
        pauses.append(wait_seconds(provider, pace, now))
        now += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    again = started(provider, pace, now)
    assert refused(provider, answered(provider, again), now, None).refusals == 1


@pytest.mark.parametrize(
    "options",
    [
        {"per_second": 0},
        {"per_second": float("nan")},
        {"in_flight": 0},
        {"burst": 0},
        {"longest": timedelta(0)},
    ],
)
def test_limits_that_let_nothing_through_are_refused(options: dict[str, Any]) -> None:
    """What could never be called is refused when it is declared."""
    with pytest.raises(InvalidInputError, match="Cannot limit provider 'p'"):
        Provider("p", **options)


NOW_US = 1_445_412_420_000_000  # Wed, 21 Oct 2015 07:27:00 GMT


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("120", 120.0),
        ("0.5", 0.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 60.0),
        ("Wed, 21 Oct 2015 07:26:00 GMT", 0.0),
        ("-1", 0.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Mon, 01 Jan 2020 00:00:00 +99999999999999", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_both_its_forms(text: str | None, found: float | None) -> None:
    """Seconds and dates are understood; what is neither says nothing."""
    assert retry_after_seconds(text, NOW_US) == found


def wrapped(error: Exception) -> Exception:
    """Return an error that another one caused."""
    outer = ValueError("payment failed")
    outer.__cause__ = error
    return outer


def bearing(**facts: Any) -> Exception:
    """Return an error with attributes of its own."""
    error = Exception("no")
    for name, value in facts.items():
        setattr(error, name, value)
    return error


class HostileError(Exception):
    """Its attributes raise."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise RuntimeError(name)


class HostileHeaders:
    """They cannot be read."""

    def items(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (RefusalError(429, Retry_After="7"), 7.0),
        (RefusalError(503, retry_after="7"), 7.0),
        (bearing(status=429, headers={"Retry-After": "3"}), 3.0),
        (bearing(code=429, headers={"retry-after": "3"}), 3.0),
        (bearing(http_status=429, headers=None), None),
        (
            bearing(
                response={
                    "ResponseMetadata": {"HTTPStatusCode": 429, "HTTPHeaders": {"retry-after": "2"}},
                    "Error": {"Code": "TooManyRequests"},
                }
            ),
            2.0,
        ),
        (bearing(status=429, headers=HostileHeaders()), None),
        (wrapped(wrapped(RefusalError(429, Retry_After="5"))), 5.0),
        (BusyError("no", 4.0), 4.0),
    ],
)
def test_what_clients_raise_is_recognised(error: Exception, seconds: float | None) -> None:
    """Whatever client it was, a 429, or a 503 that says when, means busy."""
    busy = busy_of(error, NOW_US)
    assert busy is not None
    assert busy.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        RefusalError(503),
        RefusalError(500, Retry_After="7"),
        RefusalError(404),
        bearing(code="429"),
        bearing(response={"other": 1}),
        bearing(code=True),
        HostileError("no"),
    ],
)
def test_other_errors_are_not(error: Exception) -> None:
    """Anything else is a failure like others, also where looking at it raises."""
    assert busy_of(error, NOW_US) is None


# -- services -------------------------------------------------------------------------------------------


class Post:
    """Two services, one of which calls a provider that refuses as told."""

    def __init__(self, provider: Provider | None, answers: list[Exception], **options: Any) -> None:
        self.calls: list[tuple[str, float]] = []
        self.others: list[float] = []
        self.most = self.under_way = 0
        self.answers = answers
        self.clock = lambda: 0.0
        outside, inside = Service("outside"), Service("inside")

        @outside.on(Sent, provider=provider, **options)
        async def call(event: Sent) -> Taken:
            self.calls.append((event.to, self.clock()))
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await asyncio.sleep(0)
            self.under_way -= 1
            if self.answers:
                raise self.answers.pop(0)
            return Taken(to=event.to)

        @inside.on(Sent)
        async def note(event: Sent) -> None:
            self.others.append(self.clock())

        self.app = App("post", services=[outside, inside])

    def times(self) -> list[float]:
        first = self.calls[0][1]
        return [when - first for _, when in self.calls]


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_a_busy_provider_pauses_its_handlers_and_burns_no_attempt(live: bool) -> None:
    """With one attempt only, nothing is lost: all wait as long as was asked, while others go on."""
    post = Post(Provider("mail"), [RefusalError(429, Retry_After="30")], retry=ONCE)

    async def main() -> None:
        async with testing.run(post.app, live=live) as t:
            post.clock = t.simulation.clock.monotonic
            await t.publish(*(Sent(to=str(n)) for n in range(5)))
            await t.advance(hours=1)
            assert len(t.all(Taken)) == 5
            assert t.simulation.runtime.gates.paused == {}

    asyncio.run(main())
    assert len(post.calls) == 6
    early = [when for when in post.times() if when < 30]
    assert len(early) <= 5
    assert all(when >= 30 for when in post.times()[len(early) :])
    assert set(post.others) == {post.calls[0][1]}


def test_a_rate_is_kept_and_waiting_is_not_hanging() -> None:
    """Calls begin one after the other at the rate, and a handler that waits its turn is not timed out."""
    post = Post(Provider("mail", per_second=0.1), [], retry=ONCE, timeout_seconds=5)

    async def main() -> None:
        async with testing.run(post.app, live=True) as t:
            post.clock = t.simulation.clock.monotonic
            await t.publish(*(Sent(to=str(n)) for n in range(20)))
            await t.advance(minutes=10)
            assert len(t.all(Taken)) == 20

    asyncio.run(main())
    assert post.times() == pytest.approx([10.0 * n for n in range(20)], abs=1e-3)


def test_no_more_calls_than_allowed_are_under_way() -> None:
    """Of a hundred keys, so many are called at a time as the provider bears."""
    post = Post(Provider("mail", in_flight=3), [])

    async def main() -> None:
        async with testing.run(post.app) as t:
            await t.publish(*(Sent(to=str(n)) for n in range(100)))
            await t.advance(minutes=1)
            assert len(t.all(Taken)) == 100

    asyncio.run(main())
    assert post.most == 3


def test_patience_is_bounded() -> None:
    """A provider that stays busy makes events fail in the end: after the patience, attempts count."""
    refusals = [RefusalError(429, Retry_After="60") for _ in range(100)]
    post = Post(Provider("mail"), refusals, retry=Retry(attempts=2, patience=minutes(10)))

    async def main() -> None:
        async with testing.run(post.app, live=True) as t:
            post.clock = t.simulation.clock.monotonic
            await t.publish(Sent(to="a"))
            await t.advance(hours=1)
            (letter,) = t.dead_letters()
            assert letter.attempts == 2
            assert "it is busy for 60 s" in letter.cause

    asyncio.run(main())
    assert 600 <= post.times()[-1] <= 900


def test_patience_may_be_that_of_the_error_s_type() -> None:
    """Also of who is busy the policy of the nearest class counts: without patience, each answer is a failure."""
    refusals = [RefusalError(429, Retry_After="60") for _ in range(100)]
    policy = Retry(attempts=9, by_type={BusyError: Retry(attempts=3, patience=timedelta(0))})
    post = Post(Provider("mail"), refusals, retry=policy)

    async def main() -> None:
        async with testing.run(post.app, live=True) as t:
            await t.publish(Sent(to="a"))
            await t.advance(hours=1)
            (letter,) = t.dead_letters()
            assert letter.attempts == 3

    asyncio.run(main())
    assert 3 <= len(post.calls) <= 4


def test_busy_without_a_provider_puts_one_key_off() -> None:
    """A handler may say by itself that it must wait: its key does, and no attempt is used up."""
    post = Post(
        None, [BusyError("Cannot send: closed.", 20.0), BusyError("Cannot send: closed.")], retry=ONCE
    )

    async def main() -> None:
        async with testing.run(post.app, live=True) as t:
            post.clock = t.simulation.clock.monotonic
            await t.publish(Sent(to="a"))
            await t.advance(minutes=1)
            assert t.only(Taken)

    asyncio.run(main())
    assert post.times() == pytest.approx([0.0, 20.0, 21.0])


def test_a_step_waits_for_its_provider_and_what_ran_before_is_not_repeated() -> None:
    """A busy provider of one step puts the event off; the steps before are found again."""
    service, calls = Service("shop"), []
    bank = Provider("bank", per_second=1)
    answers = [RefusalError(429, Retry_After="30")]

    async def charge(what: str) -> str:
        calls.append(what)
        if what == "second" and answers:
            raise answers.pop()
        return what

    @service.on(Sent, retry=ONCE, timeout_seconds=5)
    async def pay(event: Sent, steps: Steps) -> Taken:
        await steps.run(Step("one", provider=bank), charge, "first")
        await steps.run(Step("two", provider=bank), charge, "second")
        return Taken(to=event.to)

    async def main() -> None:
        async with testing.run(App("shop", services=[service]), live=True) as t:
            await t.publish(Sent(to="a"))
            await t.simulation.advance_to(t.simulation.clock.now_us() + 20_000_000)
            assert t.all(Taken) == []
            assert list(t.simulation.runtime.gates.paused) == ["bank"]
            await t.advance(minutes=1)
            assert t.only(Taken)

    asyncio.run(main())
    assert calls == ["first", "second", "second"]


def test_a_busy_provider_pauses_no_other_and_a_step_has_its_handlers_turn() -> None:
    """A step of the handler's own provider needs no second turn; one of another provider is refused."""
    service, other = Service("shop"), Service("other")
    bank, post = Provider("bank", in_flight=1), Provider("post", in_flight=1)

    async def charge(what: str) -> str:
        return what

    @service.on(Sent, provider=bank)
    async def pay(event: Sent, steps: Steps) -> Taken:
        await steps.run(Step("one", provider=bank), charge, "first")
        return Taken(to=event.to)

    @other.on(Sent, provider=bank, retry=ONCE)
    async def both(event: Sent, steps: Steps) -> None:
        await steps.run(Step("two", provider=post), charge, "second")

    async def main() -> None:
        async with testing.run(App("shop", services=[service, other]), live=True) as t:
            await t.publish(Sent(to="a"), Sent(to="b"))
            await t.advance(minutes=1)
            assert len(t.all(Taken)) == 2
            letters = t.dead_letters()
            assert len(letters) == 2
            assert "its handler has its turn with 'bank'" in letters[0].cause

    asyncio.run(main())


@pytest.mark.parametrize("after", [-5.0, 0.0, float("nan"), None])
def test_senseless_pauses_are_short_ones(after: float | None) -> None:
    """Whoever says to wait for no time at all is not asked again at once."""
    post = Post(None, [BusyError("Cannot send: closed.", after)], retry=ONCE)

    async def main() -> None:
        async with testing.run(post.app, live=True) as t:
            post.clock = t.simulation.clock.monotonic
            await t.publish(Sent(to="a"))
            await t.advance(minutes=1)

    asyncio.run(main())
    assert post.times() == pytest.approx([0.0, 1.0])
    pace = refused(Provider("p"), started(Provider("p"), Pace(), 0.0), 0.0, after)
    assert wait_seconds(Provider("p"), pace, 0.0) == 1.0


def test_a_batch_is_one_call_and_is_not_split_by_a_pause() -> None:
    """A provider of batches that is busy gets the same batch again."""
    service, batches = Service("shop"), []
    answers = [RefusalError(429, Retry_After="30")]

    @service.on(Sent, provider=Provider("bank"), retry=ONCE)
    async def many(events: list[Sent]) -> None:
        batches.append(sorted(e.to for e in events))
        if answers:
            raise answers.pop()

    async def main() -> None:
        async with testing.run(App("shop", services=[service]), live=True) as t:
            await t.publish(*(Sent(to=str(n)) for n in range(4)))
            await t.advance(minutes=1)

    asyncio.run(main())
    assert batches == [["0", "1", "2", "3"]] * 2


def test_a_crash_while_paused_loses_nothing() -> None:
    """The pause dies with the process; the event does not."""
    post = Post(Provider("mail"), [RefusalError(429, Retry_After="600")], retry=ONCE)

    async def main() -> None:
        async with testing.run(post.app, live=True) as t:
            await t.publish(*(Sent(to=str(n)) for n in range(3)))
            await t.simulation.settle()
            assert t.simulation.runtime.gates.paused == {"mail": 600.0}
            await t.crash()
            await t.advance(minutes=1)
            assert len(t.all(Taken)) == 3

    asyncio.run(main())


def test_stopping_waits_for_nobody_who_waits_for_a_provider() -> None:
    """Events whose turn has not come are left for the next start, and the lease is given back."""
    post = Post(Provider("mail", per_second=0.001), [], retry=ONCE)

    async def main() -> None:
        async with testing.run(post.app, live=True) as t:
            await t.publish(*(Sent(to=str(n)) for n in range(3)))
            await t.simulation.settle()
            begun = t.simulation.clock.monotonic()
            await t.simulation.runtime.stop(drain_seconds=100.0)
            assert t.simulation.clock.monotonic() == begun
            assert len(t.all(Taken)) == 1

    asyncio.run(main())


def test_two_providers_of_one_name_are_refused() -> None:
    """Which limit counts is never a matter of chance."""
    services = [Service("a"), Service("b")]

    async def call(event: Sent) -> None: ...

    services[0].on(Sent, provider=Provider("mail"))(call)
    services[1].on(Sent, provider=Provider("mail", per_second=1))(call)

    async def main() -> None:
        async with testing.run(App("post", services=services)):
            pass

    with pytest.raises(InvalidInputError, match="declared with other limits too"):
        asyncio.run(main())


def test_each_of_several_processes_has_its_share() -> None:
    """Workers that share a service share the limit: together they exceed it only where one call each does."""
    share = Provider("mail", per_second=10, in_flight=3, burst=4).share(2)
    assert (share.per_second, share.in_flight, share.burst) == (5.0, 1, 2)
    least = Provider("mail", per_second=10, in_flight=1, burst=1).share(3)
    assert (least.in_flight, least.burst) == (1, 1)
