"""Training what the loop asks for, away from everything that must not wait."""

from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

import msgspec

from tropism.core.errors import InvalidInputError, NotSupportedError, TropismError
from tropism.models.events import TrainingFailed, TrainingRequested, VersionTrained
from tropism.models.site import Here, OnSite
from tropism.models.training import Made, Spec, job_of, kept_chunks, spec_of
from tropism.models.triggers import OVERHEAD, TRAINING_ATTEMPTS
from tropism.ports.blobs import Blobs
from tropism.ports.platform import Platform
from tropism.runtime.inject import State, use
from tropism.runtime.retry import Retry
from tropism.runtime.service import Service

if TYPE_CHECKING:
    from tropism.models.model import Model


def training_service(model: "Model") -> Service:
    """Return the service that trains a model, one version at a time.

    A training that fails is told as such; one whose log or blobs do not answer is tried again.
    """
    service = Service(f"{model.name}.training")
    at_site = OnSite(f"{model.name}.training.site")
    longest = model.policy.training_timeout_seconds + OVERHEAD.total_seconds()

    @service.on(TrainingRequested, retry=Retry(attempts=TRAINING_ATTEMPTS), timeout_seconds=longest)
    async def train(
        request: TrainingRequested,
        here: Here = use(at_site),
        log: State[str] = use("log"),
    ) -> VersionTrained | TrainingFailed | None:
        if request.model != model.name:
            return None
        platform = here.site.platform
        started = platform.clock.monotonic()
        # State goes with the log it was computed from: what blobs keep of another log is not found.
        log_id = log.get() or uuid4().hex
        log.set(log_id)
        made = await make(model, request, platform, log_id)
        effective_us = platform.clock.now_us() if here.site.live else request.effective_from_us
        if made.evidence is None or made.reference is None:
            return TrainingFailed(
                model=model.name, version=request.version, cause=made.cause, effective_from_us=effective_us
            )
        await platform.blobs.put(made.artifact, made.data)
        return VersionTrained(
            model=model.name,
            version=request.version,
            artifact=made.artifact,
            evidence=made.evidence,
            reference=made.reference,
            backtest=made.backtest,
            seconds=platform.clock.monotonic() - started,
            effective_from_us=effective_us,
        )

    return service


async def make(model: "Model", request: TrainingRequested, platform: Platform, log_id: str) -> Made:
    """Train the requested version in a process of its own; what it does wrong is a cause, and no error.

    Raises: UnavailableError if the log does not answer.
    """
    try:
        spec = await spec_of(model, platform.log, request)
    except (InvalidInputError, NotSupportedError) as error:
        return Made(cause=str(error))
    spec = await _with_chunks(msgspec.structs.replace(spec, log_id=log_id), platform.blobs)
    job = job_of(spec, timeout_seconds=model.policy.training_timeout_seconds)
    try:
        made = msgspec.msgpack.decode(await platform.compute.run(job), type=Made)
    except (TropismError, msgspec.MsgspecError) as error:
        return Made(cause=str(error))
    # They save time, nothing more: what cannot be kept is decoded again.
    with suppress(TropismError):
        # Other bytes cannot be put over those that were not whole.
        await platform.blobs.delete(made.spoilt)
        for name, data in made.chunks.items():
            await platform.blobs.put(name, data)
    return made


async def _with_chunks(spec: Spec, blobs: Blobs) -> Spec:
    """Tell the job where it finds what trainings before have decoded, if it reads the log itself."""
    if spec.source.url is None:
        return spec
    if blobs.url is not None:
        # Some 300 bytes a row: not on the way through two processes.
        return msgspec.structs.replace(spec, blobs=blobs.url)
    return msgspec.structs.replace(spec, chunks=await kept_chunks(spec, blobs))
