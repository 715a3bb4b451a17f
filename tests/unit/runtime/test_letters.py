"""Letters: one for each fact that was given up, of a bounded size, and redriven once whatever crashes."""

import asyncio
from dataclasses import replace

import msgspec
import pytest

from tropism import App, BusyError, Event, RefusedError, Retry, Service, minutes, seconds, testing
from tropism.adapters.memory import MemoryStore
from tropism.core.codec import Codec, record_of
from tropism.core.envelope import Record
from tropism.ports.state import Commit
from tropism.runtime.archiving import HISTORY_MAX, LetterArchived, archived
from tropism.runtime.attempts import DIED
from tropism.runtime.dead import CAUSE_CHARS_MAX, DeadLetter, dead_letters, redrive, redrive_topic
from tropism.testing.simulation import OPTIONS, Simulation

LIVE = replace(OPTIONS, live=True)


class Bought(Event, type="shops.bought.v1", key="who"):
    who: str


class Returned(Event, type="returns.returned.v1", key="who"):
    who: str


CODEC = Codec([Bought, Returned])


def record(event: Event, id: str) -> Record:
    return record_of(event, CODEC.encode(event), id=id, time_us=1)


async def run(service: Service, *records: Record, apart: bool = False, letters_max: int = 100) -> Simulation:
    """Have a service handle records, live, and return when it is idle."""
    options = replace(LIVE, letters_max=letters_max, chunk=1)
    simulation = Simulation([service], [LetterArchived], options, start_us=1, apart=apart)
    await simulation.store.log.append(records)
    await simulation.start()
    await simulation.wait(lambda: simulation.runtime.is_idle)
    return simulation


def refusing(error: Exception) -> Service:
    """A service that gives everything up at once."""
    service = Service("s")

    @service.on(Bought, Returned, retry=Retry(attempts=1))
    async def take(event: Bought | Returned) -> None:
        raise error

    return service


@pytest.mark.parametrize("error", [ValueError("no"), RefusedError("no")], ids=["dead", "quarantine"])
def test_two_facts_of_one_id_leave_two_letters(error: Exception) -> None:
    """Ids are unique in a topic only: who takes events of two gives up on each of them by itself."""

    async def main() -> None:
        async with testing.run(App("a", services=[refusing(error)]), live=True) as t:
            records = [record(event, "x1") for event in (Bought(who="a"), Returned(who="a"))]
            await t.simulation.store.log.append(records)
            await t.advance(seconds=1)
            found = t.dead_letters() or t.quarantined()
            assert [each.record.type for each in found] == ["returns.returned.v1", "shops.bought.v1"]
            assert all(each.id.startswith("x1/s.take/") for each in found)

    asyncio.run(main())


def test_two_undecodable_events_of_one_id_leave_two_letters() -> None:
    """Where no handler is reached, too."""

    async def main() -> None:
        odd = [Record("x1", kind.event_type, kind.event_topic, "a", 1, b"{") for kind in (Bought, Returned)]
        simulation = await run(refusing(ValueError("no")), *odd)
        found = await dead_letters(simulation.store.state)
        assert sorted(each.record.topic for each in found) == ["returns", "shops"]
        await simulation.stop()

    asyncio.run(main())


class Dying:
    """A state whose process dies at the commit."""

    def __init__(self, store: MemoryStore) -> None:
        self._state = store.state

    def __getattr__(self, name: str) -> object:
        return getattr(self._state, name)

    async def commit(self, commit: Commit) -> None:
        raise KeyboardInterrupt


def test_a_redrive_that_died_between_log_and_state_puts_nothing_there_twice() -> None:
    """Where log and state are apart the event lies in the log already: again, it has the same id."""

    async def main() -> None:
        simulation = await run(refusing(ValueError("no")), record(Bought(who="a"), "x1"), apart=True)
        await simulation.stop()
        platform = simulation.runtime.platform
        letters = await dead_letters(platform.state)
        with pytest.raises(KeyboardInterrupt):
            await redrive(replace(platform, state=Dying(simulation.store)), letters)  # type: ignore[arg-type]
        simulation.clock.advance(seconds=3600.0)
        assert await redrive(platform, await dead_letters(platform.state)) == letters
        assert len(await simulation.records(redrive_topic("s"))) == 1

    asyncio.run(main())


def test_redriven_before_its_handler_is_back_it_stays_that_handlers() -> None:
    """A second redrive reaches nobody else: who handled the event the first time is not called again."""
    calls: list[str] = []
    fails = [True]

    def service(*, whole: bool) -> Service:
        made = Service("s")

        @made.on(Bought)
        async def ship(event: Bought) -> None:
            calls.append("ship")

        async def bill(event: Bought) -> None:
            calls.append("bill")
            if fails:
                raise ValueError("no")

        if whole:
            made.on(Bought, retry=Retry(attempts=1))(bill)
        return made

    async def main() -> None:
        simulation = await run(service(whole=True), record(Bought(who="a"), "x1"))
        state = simulation.store.state

        async def redriven_by(*, whole: bool) -> None:
            simulation.services = [service(whole=whole)]
            await simulation.crash()
            await redrive(simulation.runtime.platform, await dead_letters(state))
            await simulation.advance_to(simulation.clock.now_us() + 60_000_000)

        await redriven_by(whole=False)
        (letter,) = await dead_letters(state)
        assert letter.handler == "s.bill"
        assert "there is no 's.bill'" in letter.cause
        fails.clear()
        await redriven_by(whole=True)
        assert await dead_letters(state) == []
        assert sorted(calls) == ["bill", "bill", "ship"]
        await simulation.stop()

    asyncio.run(main())


def test_a_cause_is_told_up_to_a_bound_and_holds_up_nothing() -> None:
    """An error that says more than a log takes leaves a letter that can be kept, and archived."""

    async def main() -> None:
        error = ValueError("x" * 20_000_000)
        many = [record(Bought(who="a"), f"e{n}") for n in range(4)]
        simulation = await run(refusing(error), *many, letters_max=1)
        kept = await dead_letters(simulation.store.state)
        assert len(kept) + len(await simulation.records("tropism")) == 4
        assert all(len(each.cause) < CAUSE_CHARS_MAX + 10 for each in kept)
        assert all(each.cause.startswith("ValueError: xxx") for each in kept)
        await simulation.stop()

    asyncio.run(main())


class MuteError(Exception):
    """It fails to say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (FileNotFoundError("no file 'a\udcff'"), "FileNotFoundError: no file 'a\\udcff'"),
        (MuteError(), "MuteError: it cannot be told"),
        (RefusedError(ValueError("odd")), "odd"),  # type: ignore[arg-type]
        (RefusedError("a\udcff", {"a\udcff": "b\udcff", "c": object()}), "a\\udcff"),
        (BusyError("busy", "30"), "BusyError: busy"),  # type: ignore[arg-type]
        (BusyError("busy", float("inf")), "BusyError: busy"),
    ],
    ids=["surrogates", "mute", "an error as cause", "evidence", "seconds as text", "for ever"],
)
def test_whatever_an_error_says_its_event_is_given_up_once(
    error: Exception, cause: str, attempts: int
) -> None:
    """What no store takes as text neither stops the key nor the service."""
    service, passed = Service("s"), []

    @service.on(Bought, retry=Retry(attempts=attempts, patience=minutes(1)))
    async def take(event: Bought) -> None:
        raise error

    @service.on(Returned)
    async def give(event: Returned) -> None:
        passed.append(event.who)

    async def main() -> None:
        async with testing.run(App("a", services=[service]), live=True) as t:
            await t.publish(Bought(who="a"), Returned(who="a"))
            await t.advance(hours=1)
            (letter,) = t.dead_letters() or t.quarantined()
            assert letter.cause == cause
            assert passed == ["a"]

    asyncio.run(main())


def test_who_fails_when_told_of_a_letter_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The letter is kept, the key goes on, and the failure is in the program's own log."""

    class Closed(Simulation):
        def _gave_up(self, letter: DeadLetter, error: Exception) -> None:
            raise BrokenPipeError("nobody reads what this process says")

    async def main() -> None:
        simulation = Closed([refusing(ValueError("no"))], [LetterArchived], LIVE, start_us=1)
        await simulation.store.log.append([record(Bought(who="a"), f"e{n}") for n in range(2)])
        await simulation.start()
        await simulation.wait(lambda: simulation.runtime.is_idle)
        assert len(await dead_letters(simulation.store.state)) == 2
        await simulation.stop()

    asyncio.run(main())
    assert "nobody reads" in caplog.text


def test_what_no_log_would_take_whole_is_archived_shortened() -> None:
    """A history of years and much evidence are left behind where the log takes no more."""
    old = Record("1", "shops.bought.v1", "shops", "k", 0, b"{}")
    history = [f"ValueError: {n:05} {'x' * 400}" for n in range(5000)]
    letter = DeadLetter("1/h", "s", "h", "y" * 50_000, history, 5000, 5, old, {"rows": "z" * 50_000})
    codec = Codec([LetterArchived])
    assert codec.decode(archived(letter, 9, 10_000_000)).evidence == letter.evidence
    found = codec.decode(archived(letter, 9, 20_000))
    assert found.history == history[-HISTORY_MAX:]
    assert (found.attempts, found.evidence, len(found.cause)) == (5000, {}, CAUSE_CHARS_MAX)
    assert archived(msgspec.structs.replace(letter, evidence=None), 9, 20_000).id == archived(letter, 9, 1).id


def test_a_long_history_keeps_its_count_and_tells_the_last_in_full() -> None:
    """Who is tried again for a year does not make every commit a large one."""
    service, counts = Service("s"), iter(range(1000))

    @service.on(Bought, retry=Retry(attempts=200, first=seconds(1), longest=seconds(1)))
    async def take(event: Bought) -> None:
        raise ValueError(f"attempt {next(counts)} {'x' * 300}")

    async def main() -> None:
        async with testing.run(App("a", services=[service]), live=True) as t:
            await t.publish(Bought(who="a"))
            await t.advance(minutes=10)
            (letter,) = t.dead_letters()
            assert (letter.attempts, len(letter.history)) == (200, 200)
            assert sum(map(len, letter.history)) < 25 * 400 + 200 * 12
            assert letter.history[0] == "ValueError"
            assert letter.history[-1].startswith("ValueError: attempt 199")

    asyncio.run(main())
    assert DIED.partition(":")[0] == DIED  # deaths are counted by what is told of them
