"""Training: exact ranges of the log in, a version out, in a process of its own."""

import asyncio
import statistics
import time
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from tropism.core.errors import InvalidInputError, TropismError
from tropism.core.time import to_us
from tropism.models.artifact import digest_of, pack
from tropism.models.backtest import BacktestPlan, backtest
from tropism.models.chunks import chunks_of, prefix_of
from tropism.models.events import Evidence, TrainingRequested
from tropism.models.known import Known
from tropism.models.metrics import score
from tropism.models.provenance import code_of, data_of, environment
from tropism.models.reading import Ranges, Source, known_rows, ranges_until, read_known, source_of
from tropism.models.rows import Predictor, Train, TrainingRows
from tropism.models.sketch.features import FeatureSketch, feature_sketch
from tropism.models.train_name import name_of_train
from tropism.ports.blobs import Blobs
from tropism.ports.compute import Job
from tropism.ports.log import Log
from tropism.ports.opening import open_url

if TYPE_CHECKING:
    from tropism.models.model import Model

REFERENCE_ROWS = 50_000
"""How many of the newest rows the drift reference is built from."""

FITTED_ROWS = 10_000
"""On how many of the newest rows it is told how well a version fits what it learned from."""

LATENCY_CALLS = 30


class Spec(msgspec.Struct, frozen=True):
    """All that determines a version, beside the code, and how to compare it."""

    model: str
    names: tuple[str, ...]
    ranges: Ranges
    known_until_us: int
    seed: int
    rows_max: int | None
    train: str
    code: str
    source: Source
    champion: int = 0
    backtest: BacktestPlan | None = None
    time_calls: bool = False
    log_id: str = ""
    blobs: str | None = None
    """Where the job finds columns decoded for trainings before, as a URL."""
    chunks: dict[str, bytes] | None = None
    """These columns by name, where no URL leads to them; without either, all is read from the log."""


class Made(msgspec.Struct, frozen=True):
    """What a training gives back; without an artifact, ``cause`` says why."""

    artifact: str = ""
    data: bytes = b""
    evidence: Evidence | None = None
    reference: FeatureSketch | None = None
    backtest: dict[str, float] = {}
    cause: str = ""
    chunks: dict[str, bytes] = {}
    """Columns that were decoded, for the first time or because those kept were not whole: ``spoilt``."""
    spoilt: tuple[str, ...] = ()


def job_of(spec: Spec, *, timeout_seconds: float) -> Job:
    """Return the job that trains a version."""
    return Job(run_training, msgspec.msgpack.encode(spec), timeout_seconds)


async def spec_of(model: "Model", log: Log, request: TrainingRequested) -> Spec:
    """Return all that determines the requested version. Raises: as the log does."""
    gate = model.policy.gate
    ranges = await ranges_until(log, request.known_until_us)
    plan = BacktestPlan(
        share=gate.backtest_share,
        rows_max=gate.backtest_rows_max,
        block_us=to_us(gate.block),
        margin=gate.margin,
        alpha=gate.backtest_alpha,
        slices=gate.slices,
        slice_rows_min=gate.slice_rows_min,
    )
    return Spec(
        model=model.name,
        names=model.feature_names,
        ranges=ranges,
        known_until_us=request.known_until_us,
        seed=request.seed,
        rows_max=model.policy.rows_max,
        train=name_of_train(model.name, model.train),
        code=code_of(model.features, model.train),
        source=await source_of(log, ranges),
        champion=request.champion,
        backtest=plan if gate.backtest_share > 0 else None,
        time_calls=gate.latency_ms_max is not None,
    )


async def spec_again(model: "Model", log: Log, evidence: Evidence) -> Spec:
    """Return the specification of a version that exists, to make it again."""
    return Spec(
        model=model.name,
        names=evidence.names,
        ranges=evidence.ranges,
        known_until_us=evidence.known_until_us,
        seed=evidence.seed,
        rows_max=evidence.rows_max,
        train=name_of_train(model.name, model.train),
        code=code_of(model.features, model.train),
        source=await source_of(log, evidence.ranges),
    )


def run_training(payload: bytes) -> bytes:
    """Train a version as a specification says; never raise, but say what went wrong."""
    spec = msgspec.msgpack.decode(payload, type=Spec)
    try:
        module, _, name = spec.train.partition(":")
        read = _known(spec)
        made = msgspec.structs.replace(
            _train(getattr(import_module(module), name), spec, read.known),
            chunks=read.fresh,
            spoilt=read.spoilt,
        )
    except (Exception, SystemExit) as error:  # noqa: BLE001 (a user's train function may raise anything)
        made = Made(cause=f"{type(error).__name__}: {error}"[:1000])
    return msgspec.msgpack.encode(made)


class _Read(NamedTuple):
    """The rows, what was decoded for them, and which of that had been kept but was not whole."""

    known: Known
    fresh: dict[str, bytes] = {}
    spoilt: tuple[str, ...] = ()


def _known(spec: Spec) -> _Read:
    url = spec.source.url
    if url is None:
        known = known_rows(
            spec.model,
            spec.names,
            spec.source.records,
            known_until_us=spec.known_until_us,
            rows_max=spec.rows_max,
            champion=spec.champion,
        )
        return _Read(known)
    found: list[_Read] = []
    # Running returns nothing: on its way out it makes a string of what was returned, twice, which took 0.3 s.
    asyncio.run(_read(spec, url, found))
    return found[0]


async def _read(spec: Spec, url: str, found: list[_Read]) -> None:
    chunks = spec.chunks if spec.blobs is None else await _chunks_at(spec.blobs, spec)
    known, fresh = await read_known(
        url,
        spec.model,
        spec.names,
        spec.ranges,
        log_id=spec.log_id,
        chunks=chunks,
        known_until_us=spec.known_until_us,
        rows_max=spec.rows_max,
        champion=spec.champion,
    )
    found.append(_Read(known, fresh, tuple(sorted(fresh.keys() & (chunks or {}).keys()))))


async def _chunks_at(url: str, spec: Spec) -> dict[str, bytes]:
    try:
        blobs = await open_url(url)
    except TropismError:
        return {}  # they save time, nothing more
    try:
        return await kept_chunks(spec, blobs)
    finally:
        await blobs.close()


async def kept_chunks(spec: Spec, blobs: Blobs) -> dict[str, bytes]:
    """Return what trainings before have decoded of the log, by name; what cannot be read is left out."""
    found: dict[str, bytes] = {}
    with suppress(TropismError):
        there = set(await blobs.names(prefix_of(spec.log_id, spec.model)))
        for chunk in chunks_of(spec.log_id, spec.model, spec.names, spec.ranges):
            if chunk.name in there:
                found[chunk.name] = await blobs.get(chunk.name)
    return found


def _train(train: Train, spec: Spec, known: Known) -> Made:
    rows = known.rows
    different = len(np.unique(rows.outcomes))
    if different < 2:
        raise InvalidInputError(
            f"Cannot train {spec.model!r}: {len(rows)} rows with {different} different outcomes. "
            f"Wait for more outcomes."
        )
    data = data_of(rows)
    figures = {} if spec.backtest is None else backtest(train, known, spec.backtest, spec.seed)
    predictor = train(rows, spec.seed)
    digest = digest_of(predictor, rows)
    recent = rows.part(max(0, len(rows) - REFERENCE_ROWS), len(rows))
    reference = feature_sketch(rows.names, recent.columns)
    artifact, packed = pack(predictor, rows.names, reference)
    evidence = Evidence(
        ranges=spec.ranges,
        rows=len(rows),
        known_from_us=int(rows.known_us[0]),
        known_until_us=spec.known_until_us,
        code=spec.code,
        environment=environment(),
        data=data,
        seed=spec.seed,
        rows_max=spec.rows_max,
        names=rows.names,
        digest=digest,
    )
    figures |= _fitted(predictor, rows.part(max(0, len(rows) - FITTED_ROWS), len(rows)))
    figures["artifact_bytes"] = float(len(packed))
    if spec.time_calls:
        figures["latency_ms"] = _latency_ms(predictor, recent)
    return Made(artifact, packed, evidence, reference, figures)


def _fitted(predictor: Predictor, recent: TrainingRows) -> dict[str, float]:
    """Return how well a version fits rows that it learned from."""
    if not np.all(np.isin(recent.outcomes, (0.0, 1.0))):
        return {}
    fitted = score(predictor.predict(recent.rows), recent.outcomes)
    found = {
        "training_brier": fitted.brier,
        "training_log_loss": fitted.log_loss,
        "training_auc": fitted.roc_auc,
    }
    return {name: value for name, value in found.items() if value is not None}


def _latency_ms(predictor: Predictor, recent: TrainingRows) -> float:
    """Return how long a call for one row takes, in the middle of many."""
    taken = []
    for index in range(min(LATENCY_CALLS, len(recent))):
        row = recent.part(index, index + 1).rows
        started = time.perf_counter()
        predictor.predict(row)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken) * 1000.0
