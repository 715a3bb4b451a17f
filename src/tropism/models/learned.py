"""Outcomes of the log as columns."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tropism.core.envelope import Stored
from tropism.models.columns import Words, column_of, ids_of, joined, joined_ids, pack, unpack
from tropism.models.events import joins

TYPE = "outcomes.learned.v1"


class Others(NamedTuple):
    """What versions said that did not act: of which outcome, which version, and its output."""

    places: NDArray[np.int64]
    versions: Words
    outputs: NDArray[np.float64]


class Learned(NamedTuple):
    """Outcomes as columns, in the order of the log: n decisions, when each outcome was known, and what it is.

    ``outputs`` are those of the version that acted, NaN where none did. Versions are numbers as strings.
    """

    ids: NDArray[Any]
    known_us: NDArray[np.int64]
    values: NDArray[np.float64]
    decided_us: NDArray[np.int64]
    versions: Words
    outputs: NDArray[np.float64]
    others: Others


class _Outcome(msgspec.Struct, gc=False):
    model: str
    decision_id: str
    value: float
    decided_us: int
    version: int
    output: float | None
    others: dict[str, float | None] = {}
    early: bool = False


def learned_in(records: Sequence[Stored], model: str) -> Learned:
    """Return the outcomes among records of what a model decided, but for early ones: those teach nothing.

    What the model's own service joined counts as known at its own time, however late it was added: in event
    time, the service of another model may be ahead, and what lies behind it is no newer for that.
    """
    decode = msgspec.json.Decoder(_Outcome).decode
    producer = joins(model)
    known_us: list[int] = []
    found: list[_Outcome] = []
    for stored in records:
        if stored.record.type != TYPE:
            continue
        outcome = decode(stored.record.data)
        if outcome.model == model and not outcome.early:
            record = stored.record
            known_us.append(record.time_us if record.source == producer else stored.known_us)
            found.append(outcome)
    return Learned(
        ids=ids_of([outcome.decision_id for outcome in found]),
        known_us=np.array(known_us, dtype=np.int64),
        values=np.array([outcome.value for outcome in found], dtype=np.float64),
        decided_us=np.array([outcome.decided_us for outcome in found], dtype=np.int64),
        versions=column_of([str(outcome.version) for outcome in found]),
        outputs=np.array([outcome.output for outcome in found], dtype=np.float64),  # None becomes NaN
        others=_others_in(found),
    )


def _others_in(outcomes: Sequence[_Outcome]) -> Others:
    said = [
        (place, version, output)
        for place, outcome in enumerate(outcomes)
        if outcome.others
        for version, output in outcome.others.items()
    ]
    return Others(
        places=np.array([place for place, _, _ in said], dtype=np.int64),
        versions=column_of([version for _, version, _ in said]),
        outputs=np.array([output for _, _, output in said], dtype=np.float64),
    )


def all_learned(parts: Sequence[Learned]) -> Learned:
    """Return outcomes of several parts as one, in their order."""
    parts = [learned_in((), ""), *parts]
    starts = accumulate((len(part.ids) for part in parts), initial=0)
    others = Others(
        places=np.concatenate(
            [part.others.places + start for part, start in zip(parts, starts, strict=False)]
        ),
        versions=joined([part.others.versions for part in parts]),
        outputs=np.concatenate([part.others.outputs for part in parts]),
    )
    return Learned(
        ids=joined_ids([part.ids for part in parts]),
        known_us=np.concatenate([part.known_us for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        decided_us=np.concatenate([part.decided_us for part in parts]),
        versions=joined([part.versions for part in parts]),
        outputs=np.concatenate([part.outputs for part in parts]),
        others=others,
    )


def known_by(learned: Learned, until_us: int) -> Learned:
    """Return the outcomes that were known by an instant."""
    known = learned.known_us <= until_us
    if known.all():
        return learned
    others = learned.others
    told = known[others.places]
    return Learned(
        ids=learned.ids[known],
        known_us=learned.known_us[known],
        values=learned.values[known],
        decided_us=learned.decided_us[known],
        versions=Words(learned.versions.values, learned.versions.codes[known]),
        outputs=learned.outputs[known],
        others=Others(
            (np.cumsum(known) - 1)[others.places[told]],
            Words(others.versions.values, others.versions.codes[told]),
            others.outputs[told],
        ),
    )


def said_by(version: int, learned: Learned) -> NDArray[np.float64]:
    """Return what a version said of each decision, NaN where it was not asked."""
    acted = _is(learned.versions, version)
    said = np.where(acted, learned.outputs, np.nan)
    others = learned.others
    told = _is(others.versions, version) & ~acted[others.places]
    said[others.places[told]] = others.outputs[told]
    return said


def _is(versions: Words, version: int) -> NDArray[np.bool_]:
    name = str(version)
    return np.equal(versions.codes, versions.values.index(name) if name in versions.values else -1)


def pack_learned(learned: Learned) -> bytes:
    """Return outcomes as bytes that `unpack_learned` reads back exactly."""
    return pack([*learned[:-1], *learned.others])


def unpack_learned(data: bytes) -> Learned:
    """Return packed outcomes. Raises: as `unpack` does."""
    ids, known_us, values, decided_us, versions, outputs, *others = unpack(data)
    return Learned(ids, known_us, values, decided_us, versions, outputs, Others(*others))
