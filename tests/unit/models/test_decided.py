"""Decisions and outcomes of the log as columns: what was decoded before serves as well as the log itself."""

import asyncio
from typing import NamedTuple

import msgspec
import numpy as np
import pytest

from tropism.adapters.memory import MemoryCompute, MemoryStore
from tropism.adapters.sqlite import open_sqlite
from tropism.core.envelope import Record, Stored
from tropism.core.event import Event
from tropism.core.time import hours
from tropism.models import chunks, decided, learned
from tropism.models.chunks import chunks_of
from tropism.models.decided import all_decided, decided_in, pack_decided, unpack_decided
from tropism.models.events import TrainingRequested
from tropism.models.learned import all_learned, learned_in, pack_learned, said_by, unpack_learned
from tropism.models.model import Model, Outcome
from tropism.models.provenance import data_of
from tropism.models.reading import Source, read_known
from tropism.models.trainer import make
from tropism.models.training import Spec, _known
from tropism.ports.opening import open_url
from tropism.ports.platform import Platform

NAMES = ("a", "b")


class Seen(Event, type="inputs.seen.v1", key="id"):
    id: str


class Row(NamedTuple):
    a: float
    b: str | None


def features(seen: Seen) -> Row:
    return Row(0.0, None)


def stored(type, *bodies, model="m"):
    return [
        Stored(0, at, at, Record(f"d{at}", type, "", "", at, msgspec.json.encode({"model": model, **body})))
        for at, body in enumerate(bodies)
    ]


def made(*features):
    return {"schema": decided.schema_of(NAMES), "features": features}


def came(of, value=1.0, **more):
    body = {"decision_id": of, "value": value, "decided_us": 7, "version": 1, "output": 0.5}
    return body | more


def told(columns):
    return [
        (column.dtype.str, column.tobytes())
        if isinstance(column, np.ndarray)
        else (column.values, column.codes.tolist())
        for column in columns
    ]


def test_only_a_model_s_own_decisions_count():
    records = [
        *stored(decided.TYPE, made(1.0, 2.0)),
        *stored(decided.TYPE, made(3.0, 4.0), model="other"),
        *stored("decisions.noted.v1", {}),
    ]
    assert decided_in(records, "m", NAMES).ids.tolist() == [b"d0"]


def test_only_a_model_s_own_outcomes_count_and_none_that_was_known_too_early():
    records = [
        *stored(learned.TYPE, came("d1"), came("d2", early=True)),
        *stored(learned.TYPE, came("d3"), model="other"),
        *stored("outcomes.missed.v1", {"decision_id": "d4"}),
    ]
    assert learned_in(records, "m").ids.tolist() == [b"d1"]


def test_what_a_version_said_is_found_where_it_acted_and_where_it_did_not():
    bodies = [
        came("d0", version=2, output=0.25, others={"7": 0.875, "2": 0.75}),
        came("d1", version=7, output=None, others={"7": 0.75}),
        came("d2", version=0, output=None),
        came("d3", version=7, output=0.125),
    ]
    records = stored(learned.TYPE, *bodies)
    for cut in range(5):
        found = all_learned([learned_in(records[:cut], "m"), learned_in(records[cut:], "m")])
        np.testing.assert_array_equal(said_by(7, found), [0.875, np.nan, np.nan, 0.125])
        np.testing.assert_array_equal(said_by(2, found), [0.25, np.nan, np.nan, np.nan])
        assert np.isnan(said_by(5, found)).all()


def test_packed_and_put_together_they_are_the_same():
    decisions = stored(decided.TYPE, made(1.5, "x"), made(None, None), made(2.5, "y"))
    outcomes = stored(learned.TYPE, came("d1", others={"2": 0.5}), came("ß"), came("d1", version=3))
    for cut in range(4):
        halves = [decisions[:cut], decisions[cut:]]
        parts = [unpack_decided(pack_decided(decided_in(half, "m", NAMES))) for half in halves]
        ids, columns = all_decided(parts, len(NAMES))
        assert told([ids, *columns]) == told(
            [(whole := decided_in(decisions, "m", NAMES)).ids, *whole.columns]
        )
        halves = [outcomes[:cut], outcomes[cut:]]
        found = all_learned([unpack_learned(pack_learned(learned_in(half, "m"))) for half in halves])
        whole = learned_in(outcomes, "m")
        assert told([*found[:-1], *found.others]) == told([*whole[:-1], *whole.others])


def test_chunks_are_whole_ranges_of_each_topic_and_their_names_say_what_they_hold(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_OFFSETS", 10)
    monkeypatch.setattr(chunks, "CHUNKS_MAX", 2)
    ranges = {"decisions/1": (0, 25), "decisions/0": (0, 9), "outcomes/0": (0, 99), "outcomes/1": (5, 99)}
    found = chunks_of("log", "m", NAMES, ranges)
    schema = decided.schema_of(NAMES)
    assert found == [
        (f"rows/log/m/decided-2/{schema}/10/decisions-1/000000000000", "decisions/1", 0, 10),
        (f"rows/log/m/decided-2/{schema}/10/decisions-1/000000000010", "decisions/1", 10, 20),
        ("rows/log/m/learned-2/10/outcomes-0/000000000000", "outcomes/0", 0, 10),
        ("rows/log/m/learned-2/10/outcomes-0/000000000010", "outcomes/0", 10, 20),
    ]


async def filled(url, count, lost_from=10**9):
    store = await open_sqlite(url)
    await store.log.create_topics({"decisions": 2, "outcomes": 2})
    for at in range(count):
        value = at / 7 if at < lost_from else -at / 7
        decision = {"model": "m", **made(value, None if at % 3 else "x")}
        outcome = {"model": "m", **came(f"d{at}", float(at % 2 if at < lost_from else 0.5))}
        await store.log.append(
            [
                Record(f"d{at}", decided.TYPE, "decisions", f"s{at}", at, msgspec.json.encode(decision)),
                Record(f"o{at}", learned.TYPE, "outcomes", "m", at, msgspec.json.encode(outcome)),
            ]
        )
    ends = await store.log.ends(["decisions", "outcomes"])
    await store.close()
    return {f"{topic}/{number}": (0, end) for (topic, number), end in ends.items()}


@pytest.mark.parametrize("spoilt", [False, True])
def test_what_was_decoded_before_gives_the_same_rows(tmp_path, monkeypatch, spoilt):
    monkeypatch.setattr(chunks, "CHUNK_OFFSETS", 8)
    url = f"sqlite:///{tmp_path}/log.db"

    async def live():
        ranges = await filled(url, 50)
        whole, none = await read_known(url, "m", NAMES, ranges)
        first, fresh = await read_known(url, "m", NAMES, ranges, chunks={})
        kept = {name: data[:-3] if spoilt else data for name, data in fresh.items()}
        second, again = await read_known(url, "m", NAMES, ranges, chunks=kept)
        return none, fresh, again, [data_of(known.rows) for known in (whole, first, second)]

    none, fresh, again, rows = asyncio.run(live())
    assert none == {}
    assert {name.split("/")[3] for name in fresh} == {"decided-2", "learned-2"}
    assert again == (fresh if spoilt else {})
    assert rows[0] == rows[1] == rows[2]


def test_what_was_decoded_of_a_log_that_was_restored_since_is_decoded_again(tmp_path, monkeypatch):
    """Restored from a backup, the log goes on with other records at the offsets of those that were lost."""
    monkeypatch.setattr(chunks, "CHUNK_OFFSETS", 8)
    before, after = (f"sqlite:///{tmp_path}/{name}.db" for name in ("before", "after"))

    async def live():
        ranges = await filled(before, 50)
        _, kept = await read_known(before, "m", NAMES, ranges, chunks={})
        assert await filled(after, 50, lost_from=25) == ranges
        whole, _ = await read_known(after, "m", NAMES, ranges)
        found, again = await read_known(after, "m", NAMES, ranges, chunks=kept)
        _, none = await read_known(after, "m", NAMES, ranges, chunks=kept | again)
        return kept, again, none, data_of(whole.rows), data_of(found.rows)

    kept, again, none, whole, found = asyncio.run(live())
    assert whole == found
    assert 0 < len(again) < len(kept)
    assert none == {}


class Means:
    def predict(self, rows):
        return [0.5 + value / 100 for value in rows.columns[0]]


def train_means(rows, seed):
    return Means()


@pytest.mark.parametrize("where", ["memory", "file"])
def test_what_a_training_decoded_is_kept_for_the_next_and_mended_where_it_was_spoilt(
    tmp_path, monkeypatch, where
):
    """Whether the job is handed what is kept, or opens it by its URL."""
    monkeypatch.setattr(chunks, "CHUNK_OFFSETS", 8)
    url = f"sqlite:///{tmp_path}/log.db"

    async def live():
        await filled(url, 50)
        store, memory = await open_sqlite(url), MemoryStore()
        blobs = memory.blobs if where == "memory" else await open_url(f"file:{tmp_path}/blobs")
        platform = Platform(store.log, memory.state, blobs, MemoryCompute(threads=True), None, memory.queue)
        model = Model(
            "m",
            decides_on=Seen,
            features=features,
            train=train_means,
            outcome=Outcome(Seen, value=lambda e: 1.0, within=hours(1)),
        )
        request = TrainingRequested(
            model="m", version=1, reason="", known_until_us=99, seed=1, effective_from_us=0
        )
        trained = [await make(model, request, platform, "log")]
        names = await blobs.names("rows/")
        before = {name: await blobs.get(name) for name in names}
        trained.append(await make(model, request, platform, "log"))
        await blobs.delete([names[0], names[-1]])
        await blobs.put(names[0], b"spoilt")
        trained.append(await make(model, request, platform, "log"))
        after = {name: await blobs.get(name) for name in await blobs.names("rows/")}
        await store.close()
        return trained, before, after

    trained, before, after = asyncio.run(live())
    assert [made.cause for made in trained] == ["", "", ""]
    assert [len(made.chunks) for made in trained] == [len(before), 0, 2]
    assert [len(made.spoilt) for made in trained] == [0, 0, 1]
    assert before == after
    assert trained[0].evidence == trained[1].evidence == trained[2].evidence


def test_where_kept_columns_cannot_be_opened_all_is_read_from_the_log(tmp_path):
    """They save time, nothing more: without them, the rows are the same."""
    url = f"sqlite:///{tmp_path}/log.db"
    asyncio.run(filled(url, 20))
    (tmp_path / "file").write_text("no folder")
    ranges = {"decisions/0": (0, 1000), "outcomes/0": (0, 1000)}
    found = []
    for blobs in (None, "nowhere:", f"file:{tmp_path}/file/below", f"file:{tmp_path}/new"):
        spec = Spec("m", NAMES, ranges, 99, 0, None, "", "", Source(url), blobs=blobs, log_id="log")
        found.append(data_of(_known(spec).known.rows))
    assert len(set(found)) == 1
