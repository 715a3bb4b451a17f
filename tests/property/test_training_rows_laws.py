"""Laws of training rows: however a log is cut and whatever is kept of it, they are those of a plain reading."""

import asyncio
import math
import random

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tropism.core.envelope import Record, Stored
from tropism.models import chunks, decided, learned, reading
from tropism.models.chunks import chunks_of
from tropism.models.provenance import data_of
from tropism.models.reading import known_rows, read_known
from tropism.models.rows import schema_of

NAMES = ("a", "b")
PARTITIONS = ["decisions/0", "decisions/1", "outcomes/0", "outcomes/1"]
IDS = st.sampled_from(["d1", "d2", "d3", "d4", "d10", "D1", "", "d", "d\0", "\0d", "ß", "d" * 90, "😀"])
SHARE = st.floats(0, 1)


class Log:
    """Partitions of records that lie still."""

    def __init__(self, records):
        self.records = records

    async def read(self, cursors, *, count_max, without=()):
        return {
            (topic, number): [s for s in self.records[f"{topic}/{number}"] if s.offset >= offset][:count_max]
            for (topic, number), offset in cursors.items()
        }


class Store:
    def __init__(self, records):
        self.log = Log(records)

    async def close(self):
        pass


# -- what may stand in a log --------------------------------------------------------------------------

VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(-9, 9), st.sampled_from(["x", "", "ß"])
)
COLUMN = st.sampled_from(
    [
        st.floats(-9, 9),
        st.integers(-9, 9),
        st.one_of(st.none(), st.floats(-9, 9)),
        st.sampled_from(["x", "y", None]),
        st.one_of(st.none(), st.booleans()),
        st.none(),
        VALUE,
    ]
)


@st.composite
def decision(draw, columns):
    body = {
        "model": draw(st.sampled_from(["m", "m", "m", "other"])),
        "schema": draw(st.sampled_from([schema_of(NAMES)] * 4 + [schema_of(("a", "c"))])),
        "features": [draw(column) for column in columns],
    }
    type = draw(st.sampled_from([decided.TYPE] * 5 + ["decisions.noted.v1"]))
    return draw(IDS), type, body


@st.composite
def outcome(draw):
    body = {
        "model": draw(st.sampled_from(["m", "m", "m", "other"])),
        "decision_id": draw(IDS),
        "value": draw(st.sampled_from([0.0, 1.0, 0.25])),
        "decided_us": draw(st.integers(0, 9)),
        "version": draw(st.integers(0, 3)),
        "output": draw(st.sampled_from([None, 0.125, 0.5])),
    }
    if draw(st.booleans()):
        body["others"] = draw(st.dictionaries(st.sampled_from("0123"), st.sampled_from([0.75, 0.875])))
    if draw(st.booleans()):
        body["early"] = draw(st.sampled_from([False, False, True]))
    type = draw(st.sampled_from([learned.TYPE] * 5 + ["outcomes.missed.v1"]))
    return "o", type, body


@st.composite
def logs(draw):
    columns = [draw(COLUMN), draw(COLUMN)]
    found = {}
    for where in draw(st.permutations(PARTITIONS)):
        topic, _, number = where.partition("/")
        drawn = draw(st.lists(decision(columns) if topic == "decisions" else outcome(), max_size=14))
        offset = known_us = 0
        found[where] = page = []
        for id, type, body in drawn:
            offset += draw(st.sampled_from([1, 1, 1, 3])) if page else draw(st.integers(0, 2))
            known_us += draw(st.sampled_from([0, 0, 1, 5]))
            # A service's own time is what counts; it may lie behind what another one added.
            time_us = max(0, known_us - draw(st.sampled_from([0, 0, 2])))
            source = draw(st.sampled_from(["m.outcomes", "m.outcomes", "other.outcomes", ""]))
            record = Record(id, type, topic, "", time_us, msgspec.json.encode(body), source)
            page.append(Stored(int(number), offset, known_us, record))
    return found


def ranges_of(records, share):
    ends = {where: page[-1].offset + 1 if page else 0 for where, page in records.items()}
    return {where: (0, round(end * share)) for where, end in ends.items()}


# -- a plain reading ----------------------------------------------------------------------------------


def plain(records, ranges, rows_max, champion, known_until_us=2**62):
    """Return what training rows are by their definition, one at a time."""
    labels = {}
    rows = []
    for where, (start, stop) in ranges.items():
        for each in records[where]:
            body = msgspec.json.decode(each.record.data)
            if not start <= each.offset < stop or body["model"] != "m":
                continue
            known_us = each.record.time_us if each.record.source == "m.outcomes" else each.known_us
            if each.record.type == learned.TYPE and not body.get("early") and known_us <= known_until_us:
                id = body["decision_id"]
                first_us = labels.get(id, (known_us,))[0]
                others = body.get("others", {})
                said = body["output"] if body["version"] == champion else others.get(str(champion))
                labels[id] = first_us, body["value"], body["decided_us"], math.nan if said is None else said
            if each.record.type == decided.TYPE and body["schema"] == schema_of(NAMES):
                rows.append((each.record.id, body["features"]))
    rows = sorted((row for row in rows if row[0] in labels), key=lambda row: (labels[row[0]][0], row[0]))
    rows = rows if rows_max is None else rows[-rows_max:]
    columns = [[features[n] for _, features in rows] for n in range(len(NAMES))]
    return shown([*columns, *([labels[id][n] for id, _ in rows] for n in range(4))])


def told(known):
    """Return rows as `plain` does."""
    rows = known.rows
    arrays = (rows.known_us, rows.outcomes, rows.decided_us, known.champion)
    assert [array.dtype.str for array in arrays] == ["<i8", "<f8", "<i8", "<f8"]
    return shown(
        [
            *(column if isinstance(column, list) else column.tolist() for column in rows.columns),
            *map(np.ndarray.tolist, arrays),
        ]
    )


def shown(columns):
    """Return values so that those of another type differ; NaN and None mean the same."""
    return [[repr(value).replace("nan", "None") for value in column] for column in columns]


def exact(known):
    """Return all that could differ: kinds of columns, every bit, and the digest of the data."""
    columns = [
        (c.dtype.str, c.tobytes()) if isinstance(c, np.ndarray) else list(map(repr, c))
        for c in known.rows.columns
    ]
    rows = known.rows
    arrays = (rows.outcomes, rows.decided_us, rows.known_us, known.champion)
    return rows.names, columns, [array.tobytes() for array in arrays], data_of(rows)


# -- the laws -----------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Chunks and pages so small that a short log has many."""
    monkeypatch.setattr(chunks, "CHUNK_OFFSETS", 4)
    monkeypatch.setattr(chunks, "CHUNKS_MAX", 6)
    monkeypatch.setattr(decided, "PART_ROWS", 3)
    monkeypatch.setattr(reading, "READ_COUNT", 3)
    monkeypatch.setattr(reading, "open_url", opened)


async def opened(records):
    return Store(records)


def spoilt(data, how):
    """Return bytes as they are, cut, gone, or with one of them changed."""
    at = how * len(data) // 97
    return [data, data[:-1], b"", data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]][min(how, 3)]


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(logs(), st.data())
def test_rows_are_the_same_however_they_are_read(records, data):
    share = data.draw(st.sampled_from([1.0, 0.8]))
    ranges = ranges_of(records, share)
    options = {
        "rows_max": data.draw(st.sampled_from([None, None, 1, 4])),
        "champion": data.draw(st.integers(0, 3)),
        "known_until_us": data.draw(st.sampled_from([2**62, 2**62, 3, 9])),
    }
    pages = {
        where: [each for each in page if each.offset < ranges[where][1]] for where, page in records.items()
    }

    def read(ranges, kept):
        return asyncio.run(read_known(records, "m", NAMES, ranges, log_id="l", chunks=kept, **options))

    before = ranges_of(records, data.draw(SHARE) * share)
    before = {where: before[where] for where in ranges}
    _, fresh = read(before, {})
    kinds = {name: data.draw(st.sampled_from([0, 0, 0, 1, 2, 3, 50, 96, None]), label=name) for name in fresh}
    kept = {name: spoilt(fresh[name], how) for name, how in kinds.items() if how is not None}
    whole, nothing = read(ranges, None)
    first, all_fresh = read(ranges, {})
    second, again = read(ranges, kept)
    third, none = read(ranges, all_fresh)

    assert told(whole) == plain(records, ranges, **options)
    assert exact(whole) == exact(known_rows("m", NAMES, pages, **options))
    assert exact(whole) == exact(first) == exact(second) == exact(third)
    assert nothing == none == {}
    assert set(all_fresh) == {chunk.name for chunk in chunks_of("l", "m", NAMES, ranges)}
    assert again == {name: data for name, data in all_fresh.items() if kinds.get(name) != 0}


@settings(max_examples=100, deadline=None)
@given(logs(), st.integers(0, 12))
def test_what_was_known_at_an_instant_is_what_would_have_been_read_then(records, at_us):
    """Corrections are undone one by one, to the row that there was; a decision's outcomes are in order."""
    first, second = ([s for s in records[f"outcomes/{n}"] if s.record.source != "m.outcomes"] for n in (0, 1))
    records = {**records, "outcomes/0": first, "outcomes/1": [] if first else second}
    now = known_rows("m", NAMES, records)
    then = known_rows("m", NAMES, records, known_until_us=at_us)
    known = now.rows.known_us <= at_us
    assert now.outcomes_at(at_us)[known].tolist() == then.rows.outcomes.tolist()
    assert now.outcomes_at(2**62).tolist() == now.rows.outcomes.tolist()


@pytest.mark.parametrize("champion", [0, 1])
def test_the_same_holds_of_so_many_rows_that_sorting_them_goes_another_way(champion):
    chance = random.Random(champion)
    pages = {where: [] for where in PARTITIONS}
    for at in range(6000):
        where = chance.choice(PARTITIONS)
        id = f"d{chance.randrange(500)}"
        if where.startswith("decisions"):
            record = id, decided.TYPE, {"schema": schema_of(NAMES), "features": [at, chance.choice("xyz")]}
        else:
            body = {
                "decision_id": id,
                "value": chance.random(),
                "decided_us": at,
                "version": chance.randrange(3),
            }
            record = "o", learned.TYPE, body | {"output": 0.5, "others": {"1": chance.random()}}
        id, type, body = record
        data = msgspec.json.encode({"model": "m"} | body)
        page = pages[where]
        page.append(Stored(int(where[-1]), len(page), at // 50, Record(id, type, "", "", 0, data)))
    ranges = ranges_of(pages, 1.0)
    assert told(known_rows("m", NAMES, pages, champion=champion)) == plain(pages, ranges, None, champion)
