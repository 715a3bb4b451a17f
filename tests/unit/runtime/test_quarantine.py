"""What a handler refuses goes to quarantine; and of neither that nor dead letters are there too many."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tropism import (
    App,
    Envelope,
    Event,
    RefusedError,
    Retry,
    Service,
    State,
    Steps,
    testing,
    use,
)
from tropism.core.codec import Codec, record_of
from tropism.core.envelope import Record
from tropism.core.errors import ConflictError, InvalidInputError
from tropism.runtime.archiving import LetterArchived, archived
from tropism.runtime.dead import CONSUMER, QUARANTINE, DeadLetter, dead_letters, discard
from tropism.runtime.letters import surplus
from tropism.testing.simulation import OPTIONS, Simulation


class Asked(Event, type="claims.asked.v1", key="claim"):
    claim: str
    cents: int


class Granted(Event, type="claims.granted.v1", key="claim"):
    claim: str
    cents: int


def claims(calls: list[str] | None = None) -> Service:
    """A service that grants small claims, and lets a person look at large ones."""
    service = Service("claims")

    @service.on(Asked, retry=Retry(attempts=5))
    async def grant(asked: Envelope[Asked], n: State[int] = use("n")) -> Granted:
        if calls is not None:
            calls.append(asked.data.claim)
        n.set((n.get() or 0) + 1)
        if asked.data.cents > 1000 and asked.released is None:
            raise RefusedError("too large for a machine", {"cents": asked.data.cents, "limit": 1000})
        return Granted(claim=asked.data.claim, cents=asked.data.cents)

    return service


@pytest.mark.parametrize("live", [False, True], ids=["event-time", "live"])
def test_a_refusal_is_not_tried_again_and_releases_its_key(live: bool) -> None:
    """It lies in quarantine once, with cause and evidence; nothing it wrote is kept; what follows goes on."""
    calls: list[str] = []

    async def main() -> None:
        async with testing.run(App("a", services=[claims(calls)]), live=live) as t:
            await t.publish(Asked(claim="a", cents=5000), Asked(claim="a", cents=10))
            await t.advance(hours=1)
            assert calls == ["a", "a"]
            assert t.dead_letters() == []
            (found,) = t.quarantined("claims")
            assert (found.cause, found.evidence) == (
                "too large for a machine",
                {"cents": 5000, "limit": 1000},
            )
            assert (found.handler, found.attempts, found.record.subject) == ("claims.grant", 1, "a")
            assert t.only(Granted).event.cents == 10
            assert t.state("claims", "n", "a") == 1
            assert t.simulation.runtime.workers["claims"].letters.quarantined == 1

    asyncio.run(main())


def test_what_is_released_comes_again_and_says_so() -> None:
    """A released event is a new arrival for the handler that refused it, with what was said about it."""

    async def main() -> None:
        async with testing.run(App("a", services=[claims()])) as t:
            await t.publish(Asked(claim="a", cents=5000))
            await t.advance(hours=1)
            await t.release(note="checked by Ann")
            await t.advance(hours=1)
            assert t.quarantined() == []
            assert t.only(Granted).event.cents == 5000

    asyncio.run(main())


def test_a_discarded_refusal_is_gone() -> None:
    """Discarding takes it out of quarantine, and nothing else."""

    async def main() -> None:
        async with testing.run(App("a", services=[claims()])) as t:
            await t.publish(Asked(claim="a", cents=5000), Asked(claim="b", cents=6000))
            await t.advance(hours=1)
            first, second = t.quarantined()
            await discard(t.simulation.runtime.platform, [first, first])
            assert t.quarantined() == [second]

    asyncio.run(main())


def test_in_a_batch_only_the_refused_row_is_quarantined() -> None:
    """A batch splits until the refused row stands alone; all others are handled."""
    service = Service("claims")

    @service.on(Asked)
    def grant(asked: list[Asked]) -> list[Granted]:
        if any(each.cents > 1000 for each in asked):
            raise RefusedError("too large")
        return [Granted(claim=each.claim, cents=each.cents) for each in asked]

    async def main() -> None:
        async with testing.run(App("a", services=[service])) as t:
            await t.publish(*(Asked(claim=str(n), cents=5000 if n == 7 else n) for n in range(20)))
            await t.advance(hours=1)
            (found,) = t.quarantined()
            assert found.record.subject == "7"
            assert found.evidence == {}
            assert len(t.all(Granted)) == 19

    asyncio.run(main())


class Odd:
    """What cannot be encoded."""


def test_evidence_that_cannot_be_kept_is_named_by_its_type() -> None:
    """Whatever a handler gives as evidence, the refusal is kept."""
    service = Service("claims")

    @service.on(Asked)
    async def grant(asked: Asked) -> None:
        raise RefusedError("no", {"odd": Odd(), "long": "x" * 70_000, "short": [1], "nan": float("nan")})

    async def main() -> None:
        async with testing.run(App("a", services=[service])) as t:
            await t.publish(Asked(claim="a", cents=1))
            await t.advance(hours=1)
            (found,) = t.quarantined()
            assert found.evidence == {"odd": "<Odd>", "long": "<str>", "short": [1], "nan": None}

    asyncio.run(main())


def test_steps_of_a_refused_event_are_not_repeated_when_it_is_released() -> None:
    """What a model answered before the refusal is what the person looked at."""
    service, calls = Service("claims"), []

    async def score() -> float:
        calls.append(1)
        return 0.3

    @service.on(Asked)
    async def grant(asked: Envelope[Asked], steps: Steps) -> Granted:
        share = await steps.run("score", score)
        if share < 0.5 and asked.released is None:
            raise RefusedError("not sure enough", {"score": share})
        return Granted(claim=asked.data.claim, cents=asked.data.cents)

    async def main() -> None:
        async with testing.run(App("a", services=[service])) as t:
            await t.publish(Asked(claim="a", cents=1))
            await t.advance(hours=1)
            await t.release()
            await t.advance(hours=1)
            assert t.only(Granted)

    asyncio.run(main())
    assert calls == [1]


# -- bounds ---------------------------------------------------------------------------------------------


def letter(n: int, failed_us: int) -> DeadLetter:
    record = Record(str(n), "claims.asked.v1", "claims", "k", 0, b"{}")
    return DeadLetter(f"{n}/h", "claims", "h", "no", [], 1, failed_us, record)


def test_the_oldest_leave_and_room_is_made() -> None:
    """Up to the bound all stay; beyond it the oldest go, a tenth more than must."""
    letters = [letter(n, failed_us=1000 - n) for n in range(25)]
    assert surplus(letters[:20], 20) == []
    assert [each.failed_us for each in surplus(letters, 20)] == [976, 977, 978, 979, 980, 981, 982]


def broken() -> Service:
    """A service whose handlers fail for good."""
    service = Service("claims")

    @service.on(Asked, retry=Retry(attempts=1))
    async def grant(asked: Asked) -> None:
        if asked.cents % 2:
            raise RefusedError("odd", {"cents": asked.cents})
        raise ValueError("no")

    return service


async def run_broken(count: int, *, apart: bool, crash_at: int | None = None, **options: Any) -> Simulation:
    fixed = {"letters_max": 20, "chunk": 10, "in_flight_max": 10, "lease_seconds": 5.0, "partitions": 1}
    chosen = replace(OPTIONS, live=True, **(fixed | options))
    simulation = Simulation([broken()], [LetterArchived], options=chosen, start_us=1, apart=apart)
    simulation.faults.crash_at = crash_at
    codec = Codec([Asked])
    events = [Asked(claim=str(n), cents=n) for n in range(count)]
    await simulation.store.log.append(
        [record_of(e, codec.encode(e), id=f"e{n:03}", time_us=n + 1) for n, e in enumerate(events)]
    )
    await simulation.start()
    await simulation.wait(lambda: simulation.runtime.is_idle)
    return simulation


async def all_letters(simulation: Simulation) -> tuple[list[str], list[str]]:
    """Return the ids of the events of all letters that are kept, and of those in the log."""
    state = simulation.store.state
    kept = [*await dead_letters(state), *await dead_letters(state, namespace=QUARANTINE)]
    found = [Codec([LetterArchived]).decode(s.record) for s in await simulation.records("tropism")]
    return [each.record.id for each in kept], [each.event["id"] for each in found]


@pytest.mark.parametrize("apart", [False, True], ids=["one store", "apart"])
def test_what_is_too_much_is_archived_and_nothing_is_lost(apart: bool) -> None:
    """However much fails, the state keeps a bounded number of each kind, and the log has all others, whole."""

    async def main() -> None:
        simulation = await run_broken(200, apart=apart)
        kept, moved = await all_letters(simulation)
        assert sorted(kept + moved) == [f"e{n:03}" for n in range(200)]
        assert len(kept) <= 2 * (20 + 2 + 10)
        first = Codec([LetterArchived]).decode((await simulation.records("tropism"))[0].record)
        assert first.event["data"] == {"claim": first.event["subject"], "cents": int(first.event["subject"])}
        assert first.cause == ("odd" if first.evidence is not None else "ValueError: no")
        await simulation.stop()

    asyncio.run(main())


@pytest.mark.parametrize("apart", [False, True], ids=["one store", "apart"])
def test_a_crash_while_archiving_loses_and_doubles_nothing(apart: bool) -> None:
    """Wherever a crash strikes, each letter is kept or archived, once.

    Where log and state are apart it may be both for a while: archived again, it has the same id.
    """

    async def main() -> None:
        calm = await run_broken(30, apart=apart, letters_max=6)
        points = 2 * calm.faults.calls
        await calm.stop()
        for point in range(0, points, 3):
            crashed = await run_broken(30, apart=apart, crash_at=point, letters_max=6)
            kept, moved = await all_letters(crashed)
            found = sorted(set(kept + moved) if apart else kept + moved)
            assert found == [f"e{n:03}" for n in range(30)], f"crash at point {point}"
            assert len(moved) == len(set(moved)), f"crash at point {point}"
            await crashed.stop()

    asyncio.run(main())


def test_who_moves_letters_meanwhile_is_not_disturbed() -> None:
    """While a command holds the letters, none is archived; a little later it is."""

    async def main() -> None:
        simulation = Simulation(
            [broken()], [LetterArchived], replace(OPTIONS, live=True, letters_max=5, chunk=1), start_us=1
        )
        store, codec = simulation.store, Codec([Asked])
        lease, _ = await store.state.acquire(CONSUMER, "a command", lease_seconds=1e6)
        await simulation.start()

        async def publish(numbers: range) -> None:
            events = [Asked(claim=str(n), cents=0) for n in numbers]
            records = [record_of(e, codec.encode(e), id=f"e{e.claim}", time_us=1) for e in events]
            await store.log.append(records)
            await simulation.wait(lambda: simulation.runtime.is_idle)

        await publish(range(20))
        assert [len(each) for each in await all_letters(simulation)] == [20, 0]
        await store.state.release(lease)
        await simulation.advance_to(simulation.clock.now_us() + 10_000_000)
        kept, moved = await all_letters(simulation)
        assert (len(kept), len(moved)) == (5, 15)
        with pytest.raises(ConflictError):
            await store.state.commit(_empty(lease))
        await simulation.stop()

    asyncio.run(main())


def _empty(lease: Any) -> Any:
    from tropism.ports.state import Commit, Position

    return Commit(lease, Position())


def test_a_letter_too_large_for_the_log_leaves_its_data_behind() -> None:
    """The archive names the event, which the log has itself."""
    large = replace_record(letter(1, 5), b'"' + b"x" * 1000 + b'"')
    assert Codec([LetterArchived]).decode(archived(large, 9, 10_000)).event["data"] == "x" * 1000
    found = Codec([LetterArchived]).decode(archived(large, 9, 500)).event
    assert found["id"] == "1"
    assert "data" not in found


def replace_record(each: DeadLetter, data: bytes) -> DeadLetter:
    import msgspec

    return msgspec.structs.replace(each, record=msgspec.structs.replace(each.record, data=data))


def test_keeping_none_is_refused() -> None:
    """A bound below one is refused before anything runs."""
    with pytest.raises(InvalidInputError, match="Cannot keep 0 dead letters"):
        asyncio.run(run_broken(1, apart=False, letters_max=0))
