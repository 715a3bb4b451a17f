"""Decisions as columns: however they are cut, packed and put together, they stay what they were."""

import asyncio
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropism.adapters.sqlite import open_sqlite
from tropism.core.envelope import Record, Stored
from tropism.models import decided
from tropism.models.decided import chunks_of, decided_in, pack, together, unpack
from tropism.models.reading import read_known

NAMES = ("a", "b")
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["x", "", "ß"]),
)
COLUMN = st.one_of(
    st.just(st.floats(-9, 9)),
    st.just(st.integers(-9, 9)),
    st.just(st.one_of(st.none(), st.floats(-9, 9))),
    st.just(VALUES),
)
ROWS = COLUMN.flatmap(lambda a: COLUMN.flatmap(lambda b: st.lists(st.tuples(a, b), max_size=30)))


def stored(rows, model="m"):
    schema = decided.schema_of(NAMES)
    bodies = [{"model": model, "schema": schema, "features": list(row)} for row in rows]
    return [
        Stored(0, at, at, Record(f"d{at}", decided.TYPE, "decisions", "", at, msgspec.json.encode(body)))
        for at, body in enumerate(bodies)
    ]


def told(found):
    return found.ids, [
        (column.dtype.kind, column.tobytes()) if isinstance(column, np.ndarray) else list(map(repr, column))
        for column in found.columns
    ]


@given(ROWS, st.lists(st.integers(0, 30), max_size=3))
def test_cut_packed_and_put_together_they_are_the_same(rows, cuts):
    records = stored(rows)
    bounds = [0, *sorted(min(cut, len(records)) for cut in cuts), len(records)]
    parts = [unpack(pack(decided_in(records[a:b], "m", NAMES))) for a, b in pairwise(bounds)]
    assert told(together(parts, len(NAMES))) == told(decided_in(records, "m", NAMES))


def test_only_a_model_s_own_decisions_count():
    records = [*stored([(1.0, 2.0)]), *stored([(3.0, 4.0)], model="other")]
    assert decided_in(records, "m", NAMES).ids == ["d0"]


def test_chunks_are_whole_ranges_of_decisions(monkeypatch):
    monkeypatch.setattr(decided, "CHUNK_OFFSETS", 10)
    found = chunks_of(
        "log", "m", NAMES, {"decisions/1": (0, 25), "decisions/0": (0, 9), "outcomes/0": (0, 99)}
    )
    assert [(chunk.where, chunk.start, chunk.stop) for chunk in found] == [
        ("decisions/1", 0, 10),
        ("decisions/1", 10, 20),
    ]


async def _filled(url, count):
    store = await open_sqlite(url)
    await store.log.create_topics({"decisions": 2, "outcomes": 2})
    schema = decided.schema_of(NAMES)
    for at in range(count):
        made = {"model": "m", "schema": schema, "features": [at / 7, None if at % 3 else "x"]}
        learned = {
            "model": "m",
            "decision_id": f"d{at}",
            "value": float(at % 2),
            "decided_us": at,
            "version": 0,
            "output": None,
        }
        await store.log.append(
            [
                Record(f"d{at}", decided.TYPE, "decisions", f"s{at}", at, msgspec.json.encode(made)),
                Record(f"o{at}", "outcomes.learned.v1", "outcomes", "m", at, msgspec.json.encode(learned)),
            ]
        )
    ends = await store.log.ends(["decisions", "outcomes"])
    await store.close()
    return {f"{topic}/{number}": (0, end) for (topic, number), end in ends.items()}


@pytest.mark.parametrize("spoilt", [False, True])
def test_what_was_decoded_before_gives_the_same_rows(tmp_path, monkeypatch, spoilt):
    monkeypatch.setattr(decided, "CHUNK_OFFSETS", 8)
    url = f"sqlite:///{tmp_path}/log.db"

    async def live():
        ranges = await _filled(url, 50)
        whole, none = await read_known(url, "m", NAMES, ranges)
        first, fresh = await read_known(url, "m", NAMES, ranges, chunks={})
        kept = {name: data[:-3] if spoilt else data for name, data in fresh.items()}
        second, again = await read_known(url, "m", NAMES, ranges, chunks=kept)
        return none, fresh, again, [(k.rows.outcomes.tolist(), told_rows(k)) for k in (whole, first, second)]

    none, fresh, again, rows = asyncio.run(live())
    assert none == {}
    assert len(fresh) >= 4
    assert again == (fresh if spoilt else {})
    assert rows[0] == rows[1] == rows[2]
    assert len(rows[0][0]) == 50


def told_rows(known):
    return told(decided.Decided([], list(known.rows.columns)))[1]
