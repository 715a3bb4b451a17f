"""Training: exact ranges of the log in, a version out, in a process of its own."""

import asyncio
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from importlib import import_module
from importlib.metadata import distributions
from types import ModuleType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from tropism.core.envelope import Stored
from tropism.core.errors import InvalidInputError
from tropism.models.artifact import digest_of, pack
from tropism.models.events import Evidence, TrainingRequested
from tropism.models.metrics import score
from tropism.models.rows import Train, TrainingRows, schema_of
from tropism.models.sketch.features import FeatureSketch, feature_sketch
from tropism.ports.compute import Job
from tropism.ports.log import Log, Partition
from tropism.ports.opening import open_url
from tropism.runtime.cursor import name_of

if TYPE_CHECKING:
    from tropism.models.model import Model

TOPICS = ("decisions", "outcomes")
READ_COUNT = 20_000
REFERENCE_ROWS = 50_000
"""How many of the newest rows the drift reference is built from."""

Ranges = dict[str, tuple[int, int]]


class Source(msgspec.Struct, frozen=True):
    """Where the rows are: a log that the job opens, or, of a log it cannot open, the records themselves."""

    url: str | None = None
    records: dict[str, list[Stored]] = {}


class Spec(msgspec.Struct, frozen=True):
    """All that determines a version, beside the code."""

    model: str
    names: tuple[str, ...]
    ranges: Ranges
    known_until_us: int
    seed: int
    rows_max: int | None
    train: str
    code: str
    source: Source


class Made(msgspec.Struct, frozen=True):
    """What a training gives back; without an artifact, ``cause`` says why."""

    artifact: str = ""
    data: bytes = b""
    evidence: Evidence | None = None
    reference: FeatureSketch | None = None
    backtest: dict[str, float] = {}
    cause: str = ""


class _Decision(msgspec.Struct):
    model: str
    schema: str
    features: list[Any]


class _Outcome(msgspec.Struct):
    model: str
    decision_id: str
    value: float
    decided_us: int
    output: float | None
    early: bool = False


async def ranges_until(log: Log, known_until_us: int) -> Ranges:
    """Return, per partition of decisions and outcomes, the offsets of what was known by an instant."""
    ends = await log.ends(TOPICS)
    return {name_of(p): (0, await _first_after(log, p, end, known_until_us)) for p, end in ends.items()}


async def _first_after(log: Log, partition: Partition, end: int, known_until_us: int) -> int:
    """Return the first offset known after an instant, by bisection: ``known_us`` never decreases."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        found = (await log.read({partition: middle}, count_max=1))[partition]
        if found and found[0].known_us <= known_until_us:
            low = found[0].offset + 1
        else:
            high = middle
    return low


async def source_of(log: Log, ranges: Ranges) -> Source:
    """Return where a job finds the rows: the log's URL, or the rows themselves."""
    url = log.capabilities.url
    if url is not None:
        return Source(url)
    records: dict[str, list[Stored]] = {}
    for where, (start, stop) in ranges.items():
        records[where] = await _read(log, where, start, stop)
    return Source(None, records)


async def _read(log: Log, where: str, start: int, stop: int) -> list[Stored]:
    topic, _, number = where.rpartition("/")
    partition = (topic, int(number))
    found: list[Stored] = []
    while start < stop:
        page = (await log.read({partition: start}, count_max=READ_COUNT)).get(partition, ())
        found.extend(stored for stored in page if stored.offset < stop)
        if not page:
            break
        start = page[-1].offset + 1
    return found


def job_of(spec: Spec, *, timeout_seconds: float) -> Job:
    """Return the job that trains a version."""
    return Job(run_training, msgspec.msgpack.encode(spec), timeout_seconds)


async def spec_of(model: "Model", log: Log, request: TrainingRequested, ranges: Ranges | None = None) -> Spec:
    """Return all that determines the requested version."""
    ranges = ranges if ranges is not None else await ranges_until(log, request.known_until_us)
    return Spec(
        model=model.name,
        names=model.feature_names,
        ranges=ranges,
        known_until_us=request.known_until_us,
        seed=request.seed,
        rows_max=model.policy.rows_max,
        train=reference_of(model.name, model.train),
        code=code_of(model.features, model.train),
        source=await source_of(log, ranges),
    )


def reference_of(model: str, train: Train) -> str:
    """Return ``module:name`` of a train function, by which another process finds it.

    Raises: InvalidInputError if nobody else could find it.
    """
    module, name = getattr(train, "__module__", "?"), getattr(train, "__qualname__", "?")
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not train:
        raise InvalidInputError(
            f"Cannot train {model!r}: another process could not import its train function "
            f"{f'{module}:{name}'!r}. Define it with 'def' at the top level of an importable module."
        )
    return f"{module}:{name}"


def run_training(payload: bytes) -> bytes:
    """Train a version as a specification says; never raise, but say what went wrong."""
    spec = msgspec.msgpack.decode(payload, type=Spec)
    try:
        module, _, name = spec.train.partition(":")
        made = _train(getattr(import_module(module), name), spec, rows_for(spec))
    except Exception as error:  # noqa: BLE001 (a user's train function may raise anything)
        made = Made(cause=f"{type(error).__name__}: {error}"[:1000])
    return msgspec.msgpack.encode(made)


def _train(train: Train, spec: Spec, rows: TrainingRows) -> Made:
    if len(rows) == 0 or len(np.unique(rows.outcomes)) < 2:
        raise InvalidInputError(
            f"Cannot train {spec.model!r}: {len(rows)} rows with {len(np.unique(rows.outcomes))} different "
            f"outcomes. Wait for more outcomes."
        )
    predictor = train(rows, spec.seed)
    digest = digest_of(predictor, rows)
    recent = rows.part(max(0, len(rows) - REFERENCE_ROWS), len(rows))
    reference = feature_sketch(rows.names, recent.columns)
    artifact, data = pack(predictor, rows.names, reference)
    evidence = Evidence(
        ranges=spec.ranges,
        rows=len(rows),
        known_from_us=int(rows.known_us[0]),
        known_until_us=spec.known_until_us,
        code=spec.code,
        environment=environment(),
        seed=spec.seed,
        names=rows.names,
        digest=digest,
    )
    fitted = score(predictor.predict(recent.rows), recent.outcomes)
    found = {
        "training_brier": fitted.brier,
        "training_log_loss": fitted.log_loss,
        "training_auc": fitted.roc_auc,
    }
    backtest = {name: value for name, value in found.items() if value is not None}
    return Made(artifact, data, evidence, reference, backtest)


def rows_for(spec: Spec) -> TrainingRows:
    """Return the rows that a specification names, sorted by (known at, decision id)."""
    records = spec.source.records
    if spec.source.url is not None:
        records = asyncio.run(_read_all(spec.source.url, spec.ranges))
    features = _features(records, spec)
    labels = _labels(records, spec)
    ids = sorted((id for id in labels if id in features), key=lambda name: (labels[name][0], name))
    if spec.rows_max is not None:
        ids = ids[-spec.rows_max :]
    columns = [list(column) for column in zip(*(features[id] for id in ids), strict=True)]
    return TrainingRows(
        names=spec.names,
        columns=columns or [[] for _ in spec.names],
        outcomes=np.array([labels[id][1] for id in ids], dtype=np.float64),
        decided_us=np.array([labels[id][2] for id in ids], dtype=np.int64),
        known_us=np.array([labels[id][0] for id in ids], dtype=np.int64),
    )


async def _read_all(url: str, ranges: Ranges) -> dict[str, list[Stored]]:
    store = await open_url(url)
    try:
        return {where: await _read(store.log, where, start, stop) for where, (start, stop) in ranges.items()}
    finally:
        await store.close()


def _features(records: Mapping[str, Sequence[Stored]], spec: Spec) -> dict[str, list[Any]]:
    decoder = msgspec.json.Decoder(_Decision)
    schema = schema_of(spec.names)
    found: dict[str, list[Any]] = {}
    for stored in _of(records, "decisions.made.v1"):
        made = decoder.decode(stored.record.data)
        if made.model == spec.model and made.schema == schema:
            found[stored.record.id] = made.features
    return found


def _labels(records: Mapping[str, Sequence[Stored]], spec: Spec) -> dict[str, tuple[int, float, int]]:
    """Return, per decision, when its outcome was known first, and its latest value."""
    decoder = msgspec.json.Decoder(_Outcome)
    found: dict[str, tuple[int, float, int]] = {}
    for stored in _of(records, "outcomes.learned.v1"):
        outcome = decoder.decode(stored.record.data)
        if outcome.model == spec.model and not outcome.early:
            known_us = found.get(outcome.decision_id, (stored.known_us,))[0]
            found[outcome.decision_id] = (known_us, outcome.value, outcome.decided_us)
    return found


def _of(records: Mapping[str, Sequence[Stored]], event_type: str) -> list[Stored]:
    topic = event_type.partition(".")[0]
    return [
        stored
        for where, page in records.items()
        if where.startswith(f"{topic}/")
        for stored in page
        if stored.record.type == event_type
    ]


def code_of(*functions: Callable[..., Any]) -> str:
    """Return the digest of the source of the modules that functions stand in."""
    parts = []
    for function in functions:
        module: ModuleType | None = inspect.getmodule(function)
        try:
            parts.append(inspect.getsource(module if module is not None else function))
        except (OSError, TypeError):
            parts.append(repr(getattr(function, "__qualname__", function)))
    return sha256("\n".join(parts).encode()).hexdigest()


def environment() -> str:
    """Return the digest of all installed distributions and their versions."""
    names = sorted({f"{d.metadata['Name']}=={d.version}".lower() for d in distributions()})
    return sha256("\n".join(names).encode()).hexdigest()
