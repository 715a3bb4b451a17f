"""A table as a system: rows and labels are events, and one model decides on every row."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec

from tropism.app.app import App
from tropism.core.codec import record_of
from tropism.core.envelope import Record
from tropism.core.event import Event
from tropism.models.model import Model, Outcome
from tropism.models.policy import Policy
from tropism.models.rows import Train
from tropism.models.serving import Decider
from tropism.runtime.inject import use
from tropism.runtime.service import Service
from tropism.whatif.table import Table

MODEL = "table"
SERVICE = "decisions"


class RowKnown(Event, type="table.row_known.v1", key="row"):
    """A row of the table became known: its features, in the order of their columns."""

    row: str
    values: list[Any]


class LabelKnown(Event, type="table.label_known.v1", key="row"):
    """What came of a row became known."""

    row: str
    label: float


def features(event: RowKnown) -> tuple[Any, ...]:
    """Return a row as it stands in the table."""
    return tuple(event.values)


def label_of(event: LabelKnown) -> float:
    """Return the label."""
    return event.label


def system_of(table: Table, train: Train, policy: Policy, seed: int) -> App:
    """Return an app that decides on every row of a table by a model whose loop is closed."""
    model = Model(
        MODEL,
        decides_on=RowKnown,
        features=features,
        feature_names=table.names,
        train=train,
        outcome=Outcome(LabelKnown, value=label_of, within=within(table)),
        policy=policy,
        seed=seed,
    )
    service = Service(SERVICE)

    @service.on(RowKnown)
    async def decide(row: RowKnown, decider: Decider = use(model)) -> None:
        await decider(row)

    return App("whatif", services=[service], models=[model])


def within(table: Table) -> timedelta:
    """Return how long after its row the last label comes."""
    delays = (
        known - at for at, known in zip(table.times_us, table.known_us, strict=True) if known is not None
    )
    # A two-hundredth of the span at least: the runtime advances in steps no longer than this.
    return timedelta(microseconds=max(table.span_us // 200, max(delays, default=0) + 1))


def records_of(table: Table) -> list[Record]:
    """Return the events of a table in order of time; of one instant, labels come before rows."""
    columns = [column.values for column in table.features]
    events = [*_labels(table), *_rows(table, columns)]
    events.sort(key=lambda found: found[:2])
    encode = msgspec.json.encode
    return [record_of(event, encode(event), id=id, time_us=time_us) for time_us, _, id, event in events]


def _labels(table: Table) -> Iterator[tuple[int, int, str, Event]]:
    for key, label, known in zip(table.keys, table.labels, table.known_us, strict=True):
        if label is not None and known is not None:
            yield known, 0, f"{key}/label", LabelKnown(row=key, label=label)


def _rows(table: Table, columns: list[list[Any]]) -> Iterator[tuple[int, int, str, Event]]:
    for key, time_us, values in zip(table.keys, table.times_us, zip(*columns, strict=True), strict=True):
        yield time_us, 1, f"{key}/row", RowKnown(row=key, values=list(values))
