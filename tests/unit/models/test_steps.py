"""What a run tells of itself: equal runs tell the same."""

import asyncio

import msgspec
import pytest

from tropism.adapters.memory import MemoryStore
from tropism.core.codec import record_of
from tropism.models.events import TrainingFailed, TrainingRequested
from tropism.models.steps import Step, digest_of, read_steps


def asked(model):
    return TrainingRequested(
        model=model, version=1, reason="age", known_until_us=0, seed=0, effective_from_us=0
    )


def failed(version):
    return TrainingFailed(model="m", version=version, cause="c", effective_from_us=0)


@pytest.mark.parametrize("events", [[asked("a"), asked("b")], [failed(1), failed(2)]])
def test_which_of_two_steps_of_one_moment_was_written_first_says_nothing(events):
    async def digest(order):
        store = MemoryStore(partitions_default=1)
        for n, event in enumerate(order):
            await store.log.append([record_of(event, msgspec.json.encode(event), id=f"{n}", time_us=10)])
        return digest_of([], await read_steps(store.log))

    assert asyncio.run(digest(events)) == asyncio.run(digest(events[::-1]))


def test_what_is_installed_beside_changes_no_digest():
    """Two environments that train the same version come to one digest; another version, to another."""

    def digest(**evidence):
        step = Step(1, "models.trained.v1", {"model": "m", "evidence": {"digest": "a", **evidence}})
        return digest_of([], [step])

    assert digest(environment="one") == digest(environment="other") != digest(digest="b")
