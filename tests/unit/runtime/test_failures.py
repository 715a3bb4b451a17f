"""What becomes of events that cannot be handled: tried again, given up once, redriven."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tropism import (
    App,
    Event,
    Retry,
    Service,
    State,
    Tick,
    View,
    hours,
    minutes,
    seconds,
    testing,
    total,
    use,
)
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.runtime.dead import DeadLetter


class Sent(Event, type="posts.sent.v1", key="to"):
    to: str
    n: int = 0


class Taken(Event, type="posts.taken.v1", key="to"):
    to: str
    n: int


ONCE = Retry(attempts=1)


class Letterbox:
    """A service whose handler fails as told, and what it was given."""

    def __init__(self, retry: Retry | None = None, **options: Any) -> None:
        self.service = Service("box")
        self.fails: dict[str, Exception] = {}
        self.calls: list[tuple[str, int, float]] = []
        self.clock = lambda: 0.0

        @self.service.on(Sent, retry=retry, **options)
        async def take(event: Sent, n: State[int] = use("n")) -> Taken:
            self.calls.append((event.to, event.n, self.clock()))
            await asyncio.sleep(0)
            if event.to in self.fails:
                raise self.fails[event.to]
            n.set((n.get() or 0) + 1)
            return Taken(to=event.to, n=event.n)

    def run(self, **options: Any) -> Any:
        return testing.run(App("post", services=[self.service]), **options)

    def times(self, to: str) -> list[float]:
        return [when for who, _, when in self.calls if who == to]


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_pauses_grow_and_block_nobody_else(live: bool) -> None:
    """A failing event is tried again after first, first * factor and so on, while other keys go on."""
    box = Letterbox(Retry(attempts=4, first=seconds(10), factor=3, jitter=0))
    box.fails["bad"] = ValueError("no")

    async def main() -> None:
        async with box.run(live=live, allow_dead_letters=True) as t:
            box.clock = t.simulation.clock.monotonic
            await t.publish(Sent(to="bad"), Sent(to="bad", n=1), Sent(to="good"))
            await t.advance(hours=1)
            assert box.times("bad")[:4] == [when + box.times("bad")[0] for when in (0, 10, 40, 130)]
            assert box.times("good") == box.times("bad")[:1]
            assert [letter.attempts for letter in t.dead_letters()] == [4, 4]

    asyncio.run(main())


def test_the_pause_has_a_bound_and_a_jitter_that_depends_on_the_event_alone() -> None:
    """No pause is longer than the longest, and the same event waits alike in every run."""

    async def pauses() -> list[float]:
        box = Letterbox(Retry(attempts=5, first=seconds(10), factor=10, longest=minutes(1), jitter=0.5))
        box.fails["bad"] = ValueError("no")
        async with box.run(allow_dead_letters=True) as t:
            box.clock = t.simulation.clock.monotonic
            await t.publish(Sent(to="bad"))
            await t.advance(hours=1)
        times = box.times("bad")
        return [b - a for a, b in zip(times, times[1:], strict=False)]

    first, second = asyncio.run(pauses()), asyncio.run(pauses())
    assert first == second
    assert 5 <= first[0] <= 10
    assert all(30 <= pause <= 60 for pause in first[1:])


def test_only_the_named_errors_are_tried_again() -> None:
    """Any other error is the last straw at once."""
    box = Letterbox(Retry(attempts=5, on=(UnavailableError,)))
    box.fails = {"a": UnavailableError("later"), "b": ValueError("never")}

    async def main() -> None:
        async with box.run() as t:
            await t.publish(Sent(to="a"), Sent(to="b"))
            await t.advance(hours=1)
            assert {(x.record.subject, x.attempts) for x in t.dead_letters()} == {("a", 5), ("b", 1)}

    asyncio.run(main())


def test_a_dead_letter_comes_once_with_cause_and_history_and_releases_its_key() -> None:
    """What is given up stands among the dead letters once; what comes after it goes on."""
    box = Letterbox(Retry(attempts=3, first=seconds(1)))
    box.fails["a"] = ValueError("torn")

    async def main() -> None:
        async with box.run() as t:
            (id,) = await t.publish(Sent(to="a"))
            await t.advance(minutes=1)
            (letter,) = t.dead_letters("box")
            assert letter.cause == "ValueError: torn"
            assert letter.history == ["ValueError: torn"] * 3
            assert (letter.service, letter.handler, letter.record.id) == ("box", "box.take", id)
            del box.fails["a"]
            await t.publish(Sent(to="a", n=1))
            await t.advance(minutes=1)
            assert t.only(Taken).event.n == 1
            assert t.dead_letters() == [letter]

    asyncio.run(main())


def test_redrive_reaches_only_the_handler_that_gave_up_and_is_not_swallowed() -> None:
    """A redriven event is a new arrival for one handler; the letter is gone, also when it fails again."""
    service, calls = Service("box"), []
    broken = True

    @service.on(Sent, retry=ONCE)
    def fragile(event: Sent) -> Taken:
        calls.append("fragile")
        if broken:
            raise ValueError("no")
        return Taken(to=event.to, n=event.n)

    @service.on(Sent)
    def sound(event: Sent) -> None:
        calls.append("sound")

    other = Service("other")

    @other.on(Sent)
    def elsewhere(event: Sent) -> None:
        calls.append("elsewhere")

    async def main() -> None:
        nonlocal broken
        async with testing.run(App("post", services=[service, other])) as t:
            sent = Sent(to="a")
            await t.publish(sent)
            await t.advance(minutes=1)
            assert sorted(calls) == ["elsewhere", "fragile", "sound"]
            for turn in (1, 2):
                await t.redrive()
                await t.advance(minutes=1)
                assert calls.count("fragile") == 1 + turn
                assert len(t.dead_letters()) == 1
            broken = False
            await t.redrive(*t.dead_letters())
            await t.advance(minutes=1)
            assert t.dead_letters() == []
            assert sorted(set(calls)) == ["elsewhere", "fragile", "sound"]
            assert calls.count("sound") == calls.count("elsewhere") == 1
            assert t.only(Taken).caused_by(sent)

    asyncio.run(main())


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_attempts_survive_a_crash(live: bool) -> None:
    """Attempts made before a crash count after it, with what they died of."""
    box = Letterbox(Retry(attempts=3, first=seconds(100), jitter=0))
    box.fails["a"] = ValueError("first life")

    async def main() -> None:
        async with box.run(live=live) as t:
            await t.publish(Sent(to="a"))
            t.simulation.advance_sources(t.simulation.clock.now_us())
            await t.simulation.settle()
            assert len(box.calls) == 1
            box.fails["a"] = ValueError("second life")
            await t.crash()
            await t.advance(hours=1)
            (letter,) = t.dead_letters()
            assert letter.history == ["ValueError: first life", *["ValueError: second life"] * 2]
            assert len(box.calls) == 3

    asyncio.run(main())


def test_a_call_that_hangs_is_cancelled_and_given_up() -> None:
    """A call gets timeout_seconds, and not much more; then it has failed, and others were not held up."""
    box = Letterbox(Retry(attempts=2, first=seconds(1)), timeout_seconds=20.0)
    hanging = asyncio.Event

    other = Service("other")

    @other.on(Taken, retry=Retry(attempts=2, first=seconds(1)), timeout_seconds=20.0)
    async def hang(event: Taken) -> None:
        if event.to == "a":
            await hanging().wait()

    async def main() -> None:
        async with testing.run(App("post", services=[box.service, other])) as t:
            await t.publish(Sent(to="a"), Sent(to="b"))
            await t.advance(seconds=1)
            (letter,) = t.dead_letters()
            assert "took longer than 20 s" in letter.cause
            assert letter.attempts == 2
            assert t.simulation.clock.monotonic() < 60

    asyncio.run(main())


@pytest.fixture
def looped() -> Service:
    """A service that takes what it gives, which event time could not order."""
    return Service("loop")


def test_an_awaited_cancellation_is_a_failure_like_any_other() -> None:
    """A handler whose own awaitable is cancelled has failed: nobody waits for it for ever."""
    service = Service("s")

    @service.on(Sent, retry=ONCE)
    async def cancelled(event: Sent) -> None:
        raise asyncio.CancelledError

    async def main() -> None:
        async with testing.run(App("post", services=[service])) as t:
            await t.publish(Sent(to="a"))
            await t.advance(seconds=1)
            assert "was cancelled" in t.dead_letters()[0].cause

    asyncio.run(main())


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
@pytest.mark.parametrize(
    ("type", "data", "fact"),
    [
        ("posts.sent.v1", b"\xff\x00", "not"),
        ("posts.sent.v1", b'{"to": 5}', "Expected `str`, got `int`"),
        ("posts.sent.v1", b"{}", "missing required field `to`"),
        ("posts.unheard.v1", b"{}", "is unknown here"),
        ("posts.sent.v1", b'{"to": "a", "more": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
    ],
    ids=["bytes", "invalid", "incomplete", "unknown", "deep"],
)
def test_what_cannot_be_read_is_a_dead_letter_once(live: bool, type: str, data: bytes, fact: str) -> None:
    """Bad input is put aside once, also across a crash, and what follows is handled."""
    box = Letterbox()

    async def main() -> None:
        async with box.run(live=live) as t:
            await t.publish_bytes(type, data, key="a")
            await t.publish(Sent(to="a"))
            await t.advance(seconds=1)
            (letter,) = t.dead_letters()
            assert fact in letter.cause
            assert (letter.handler, letter.attempts, letter.record.data) == ("", 0, data)
            assert t.only(Taken)
            await t.crash()
            await t.advance(seconds=1)
            assert t.dead_letters() == [letter]
            assert len(t.simulation.errors) == 1

    asyncio.run(main())


def test_unknown_types_may_be_left_alone() -> None:
    """An app may say that events of unknown types are none of its business."""
    box = Letterbox()

    async def main() -> None:
        async with testing.run(App("post", services=[box.service], ignore_unknown=True)) as t:
            await t.publish_bytes("posts.unheard.v1", b"?")
            await t.advance(seconds=1)
            assert t.dead_letters() == []

    asyncio.run(main())


def test_a_view_that_cannot_take_an_event_puts_it_aside_and_goes_on() -> None:
    """A view function that raises harms neither the service nor the view; redrive feeds the view."""
    broken = True

    def amount(event: Sent) -> float:
        if broken and event.to == "bad":
            raise KeyError("no such thing")
        return event.n

    sums = View("sums", Sent, by=lambda e: "all", window=hours(5), n=total(amount))
    service = Service("s")

    @service.on(Taken)
    def read(event: Taken, sums=use(sums)) -> None:
        seen.append(sums("all").n)

    seen: list[float] = []

    async def main() -> None:
        nonlocal broken
        async with testing.run(App("post", services=[service])) as t:
            await t.publish(Sent(to="bad", n=1), Sent(to="good", n=10))
            await t.publish(Taken(to="x", n=0), at=t.now + seconds(1))
            await t.advance(seconds=2)
            (letter,) = t.dead_letters()
            assert letter.handler == "view sums"
            assert seen == [10.0]
            broken = False
            await t.redrive()
            await t.advance(seconds=1)
            await t.publish(Taken(to="x", n=0))
            await t.advance(seconds=1)
            assert seen == [10.0, 11.0]
            assert t.dead_letters() == []

    asyncio.run(main())


def test_leaving_with_unread_dead_letters_raises_the_handlers_own_error() -> None:
    """What a handler raised fails the test that did not look, unless it said that it would not."""
    box = Letterbox(ONCE)
    box.fails["a"] = error = ValueError("mine")

    async def main(**options: Any) -> list[DeadLetter]:
        async with box.run(**options) as t:
            await t.publish(Sent(to="a"))
            await t.advance(seconds=1)
            return t.dead_letters(read=False)

    with pytest.raises(ValueError, match="mine") as raised:
        asyncio.run(main())
    assert raised.value is error
    assert "box.take" in raised.value.__notes__[0]
    assert len(asyncio.run(main(allow_dead_letters=True))) == 1


def test_a_tick_that_fails_is_given_up_and_time_goes_on() -> None:
    """A periodic handler fails like any other; the next tick comes."""
    service, ticks = Service("s"), []

    @service.every(hours(1), retry=Retry(attempts=2, first=seconds(1)))
    def tick(tick: Tick) -> None:
        ticks.append(tick.time_us)
        if len(ticks) <= 2:
            raise ValueError("no")

    async def main() -> None:
        async with testing.run(App("a", services=[service])) as t:
            await t.advance(hours=3)
            assert len(t.dead_letters()) == 1
            assert len(set(ticks)) == 3

    asyncio.run(main())


KILLS = 3


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
@pytest.mark.parametrize("chunk", [1, 4, 1024])
def test_an_event_that_kills_the_process_is_found_and_put_aside(live: bool, chunk: int) -> None:
    """After a crash the window is taken one by one; only the event alone in flight is charged, till it is given up."""
    service, handled = Service("s"), []
    struck = asyncio.Event

    @service.on(Sent, retry=Retry(attempts=KILLS, first=seconds(1)))
    async def deadly(event: Sent, n: State[int] = use("n")) -> Taken:
        if event.to == "killer":
            t_holder[0].simulation.faults.struck = True
            await struck().wait()
        handled.append(event.to)
        n.set((n.get() or 0) + 1)
        return Taken(to=event.to, n=event.n)

    t_holder: list[Any] = []

    async def main() -> None:
        app = App("a", services=[service])
        async with testing.run(app, live=live, chunk=chunk, partitions=2) as t:
            t_holder.append(t)
            names = [*"abcdef", "killer", *"ghi"]
            for name in names:
                await t.publish(Sent(to=name))
            await t.advance(minutes=5)
            (letter,) = t.dead_letters()
            assert letter.record.subject == "killer"
            assert letter.attempts == KILLS
            assert all("process died" in line for line in letter.history)
            assert sorted(f.event.to for f in t.all(Taken)) == sorted("abcdefghi")
            assert all(t.state("s", "n", name) == 1 for name in "abcdefghi")
            assert t.simulation.crashes >= KILLS

    asyncio.run(main())


def test_a_service_that_takes_what_it_gives_is_refused_in_event_time(looped: Service) -> None:
    """Services that wait for each other could never begin: an error says so at start."""

    @looped.on(Sent)
    def again(event: Sent) -> Sent:
        return event

    async def main() -> None:
        async with testing.run(App("a", services=[looped])):
            pass

    with pytest.raises(Exception, match="wait for each other's events, 'loop' -> 'loop'"):
        asyncio.run(main())


def test_retry_refuses_what_could_never_work() -> None:
    """Less than one attempt, or a pause that shrinks, is an error."""
    for wrong in ({"attempts": 0}, {"factor": 0.5}, {"jitter": 2.0}):
        with pytest.raises(InvalidInputError, match="Cannot retry"):
            Retry(**wrong)  # type: ignore[arg-type]
    assert Retry(first=timedelta(seconds=3)).attempts == 5
