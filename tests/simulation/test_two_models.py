"""Two models in one app whose outcomes share a partition: neither learns otherwise for who is ahead."""

import asyncio

import pytest
from tests.simulation.loop_system import POLICY, Answered, Asked, Ruled, features, ran, stream, train_rates

from tropism import Decider, Model, Outcome, Service, hours, use
from tropism.app.app import App
from tropism.core.partition import partition_of
from tropism.models.events import VersionTrained

NAMES = ("ma", "mc")
"""Outcomes lie under the name of their model: these two fall into one partition."""


def app(pauses: dict[str, int]) -> App:
    """Two models of the same questions, one of which may be decided on more slowly."""
    services, models = [], []
    for name in NAMES:
        model = Model(
            name,
            decides_on=Asked,
            features=features,
            train=train_rates,
            outcome=Outcome(Answered, value=lambda e: float(e.yes), within=hours(24)),
            policy=POLICY,
        )
        services.append(court(model, pauses.get(name, 0)))
        models.append(model)
    return App("law", services=services, models=models)


def court(model: Model, pauses: int) -> Service:
    """Return the service that decides with a model, after so many turns of everybody else."""
    service = Service(f"court-{model.name}")

    @service.on(Asked)
    async def rule(asked: Asked, judge: Decider = use(model)) -> Ruled | None:
        for _ in range(pauses):
            await asyncio.sleep(0)
        await judge(asked)
        return None

    return service


async def trained(pauses: dict[str, int], chunk: int) -> tuple[dict[str, tuple[int, str, str]], int]:
    """Return what each model's first version is, and how many outcomes lie behind newer ones."""
    system = await ran(stream(2.5), app(pauses), chunk=chunk)
    versions = [v for v in await system.all(VersionTrained) if v.version == 1]
    behind = sum(s.known_us != s.record.time_us for s in await system.records("outcomes"))
    found = {v.model: (v.evidence.rows, v.evidence.data, v.evidence.digest) for v in versions}
    return found, behind


@pytest.mark.parametrize(("pauses", "chunk"), [({}, 1024), ({}, 41), ({"mc": 40}, 1024)])
def test_a_model_is_trained_on_the_same_rows_whoever_else_runs_ahead(
    pauses: dict[str, int], chunk: int
) -> None:
    """Both see the same, so both learn the same; and so they do when one of them is far ahead."""
    assert len({partition_of(name, 4) for name in NAMES}) == 1
    found, behind = asyncio.run(trained(pauses, chunk))
    assert behind > 0
    assert set(found) == set(NAMES)
    assert found["ma"] == found["mc"]
    assert found["ma"][0] == 306
