"""How far a run over history is."""

from collections.abc import Callable
from dataclasses import dataclass

from tropism.models.model import rollouts_of
from tropism.runtime.runtime import Runtime

TOLD_SECONDS = 0.25
"""How often a run says how far it is."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What is done, how much of how much (0 where not known), up to when in event time, and who decides."""

    stage: str
    done: int = 0
    total: int = 0
    time_us: int | None = None
    champion: int = 0


Say = Callable[[Progress], None]


async def tell(runtime: Runtime, service: str, model: str, stage: str, total: int, say: Say) -> None:
    """Say again and again how far a service is, of so many events, and which version decides there."""
    while True:
        worker = runtime.workers.get(service)
        if worker is not None:
            champion = worker.latest(rollouts_of(model), model)
            number = 0 if champion is None or champion[0] is None else champion[0][0]
            say(Progress(stage, worker.taken, total, runtime.watermarks.services.get(service), number))
        await runtime.platform.clock.sleep(TOLD_SECONDS)
