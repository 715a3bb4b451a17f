"""State on Kafka: reads that are cancelled, and leases that are lost, on a topic that needs no broker."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from tropism.adapters.kafka import state as state_module
from tropism.adapters.kafka.appending import Outgoing
from tropism.adapters.kafka.session import UnknownOutcomeError
from tropism.adapters.kafka.state import KafkaState
from tropism.adapters.memory import VirtualClock
from tropism.core.errors import FencedError, UnavailableError
from tropism.ports.state import Commit, Lease, Position, Write


class Topic:
    """What the brokers hold: messages in order, and which producer of a name is the newest."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, bytes | None]] = []
        self.epochs: dict[str, int] = {}
        self.is_away = False
        self.gate = threading.Event()
        self.gate.set()
        self.reading = self.reading_most = 0


class FakeSession:
    """A producer that fences those before it, as the brokers do."""

    def __init__(self, make: Callable[[], Any], seconds: float) -> None:
        self.topic, self.name = make()
        self.is_unclear = False
        self.open_anew()

    def open_anew(self) -> None:
        if self.topic.is_away:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        self.epoch = self.topic.epochs[self.name] = self.topic.epochs.get(self.name, 0) + 1
        self.is_unclear = False

    def apply(self, outgoing: Sequence[Outgoing]) -> dict[Any, int]:
        if self.topic.is_away:
            self.is_unclear = True
            raise UnknownOutcomeError
        if self.epoch != self.topic.epochs[self.name]:
            raise KafkaException(KafkaError(KafkaError._FENCED, fatal=True))
        self.topic.messages += [(each.message.key, each.message.value) for each in outgoing]
        return {}


class FakeFollower:
    """Reads the topic to its end, when it is let."""

    def __init__(
        self, make: Any, name: str, apply: Callable[[bytes, bytes | None], None], seconds: float
    ) -> None:
        self.topic, self.apply, self.next = make(""), apply, 0

    def catch_up(self) -> None:
        self.topic.reading += 1
        self.topic.reading_most = max(self.topic.reading_most, self.topic.reading)
        assert self.topic.gate.wait(10.0)
        for key, value in self.topic.messages[self.next :]:
            self.apply(key, value)
        self.next = len(self.topic.messages)
        self.topic.reading -= 1

    def close(self) -> None: ...


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    monkeypatch.setattr(state_module, "Session", FakeSession)
    monkeypatch.setattr(state_module, "Follower", FakeFollower)
    return Topic()


def opened(topic: Topic, clock: VirtualClock) -> KafkaState:
    """The state as one process sees it."""

    async def prepare() -> None: ...

    async def none(records: object) -> list[Outgoing]:
        return []

    return KafkaState(
        commit_domain="kafka",
        topic="t",
        clock=clock,
        prepare=prepare,
        consumer=lambda isolation: topic,  # type: ignore[arg-type, return-value]
        producer=lambda name: (topic, name),  # type: ignore[arg-type, return-value]
        outgoing=none,
        stored=lambda ends: None,
        translated=lambda error, what: UnavailableError(f"Cannot {what} the topic: {error}. Wait."),
        timeout_seconds=5.0,
    )


def step(lease: Lease, value: bytes) -> Commit:
    return Commit(lease, Position(b"cursor", 1), [Write("n", "k", value)])


def test_a_cancelled_read_is_over_before_another_begins(topic: Topic) -> None:
    """Its thread goes on: whoever reads next waits for it, so nothing is taken in twice or out of order."""

    async def main() -> None:
        state = opened(topic, VirtualClock())
        lease, _ = await state.acquire("s", "a", lease_seconds=10.0)
        await state.commit(step(lease, b"1"))
        topic.gate.clear()
        first = asyncio.create_task(state.get("n", ["k"]))
        while not topic.reading:  # noqa: ASYNC110 (a thread's doing)
            await asyncio.sleep(0.001)
        first.cancel()
        second = asyncio.create_task(state.get("n", ["k"]))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not second.done()
        topic.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second == [b"1"]
        assert topic.reading_most == 1
        await state.close()

    asyncio.run(main())


def test_who_lost_its_lease_does_not_fence_who_has_it_by_right(topic: Topic) -> None:
    """A producer that is unclear is not opened anew when the lease is another's by then."""

    async def main() -> None:
        clock = VirtualClock()
        old, new = opened(topic, clock), opened(topic, clock)
        lost, _ = await old.acquire("s", "old", lease_seconds=10.0)
        await old.commit(step(lost, b"1"))
        topic.is_away = True
        with pytest.raises(UnavailableError):
            await old.commit(step(lost, b"2"))
        topic.is_away = False
        clock.advance(20.0)
        lease, position = await new.acquire("s", "new", lease_seconds=10.0)
        assert position.cursor == b"cursor"
        with pytest.raises(FencedError):
            await old.commit(step(lost, b"3"))
        await new.commit(step(lease, b"4"))
        assert await old.get("n", ["k"]) == [b"4"]
        await old.close()
        await new.close()

    asyncio.run(main())


def test_an_unclear_producer_goes_on_while_the_lease_is_its_own(topic: Topic) -> None:
    """When the brokers are back, whoever has the lease still commits what was undone."""

    async def main() -> None:
        state = opened(topic, VirtualClock())
        lease, _ = await state.acquire("s", "a", lease_seconds=10.0)
        topic.is_away = True
        with pytest.raises(UnavailableError):
            await state.commit(step(lease, b"1"))
        topic.is_away = False
        await state.commit(step(lease, b"1"))
        assert await state.get("n", ["k"]) == [b"1"]
        await state.close()

    asyncio.run(main())
