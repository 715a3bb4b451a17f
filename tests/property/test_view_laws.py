"""Views against a brute-force oracle: every read, whatever came before, late, trimmed or stored."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tropism import Event, View, age, count, last, mean, seconds, total
from tropism.adapters.memory import MemoryStore
from tropism.core.envelope import Record, Stored
from tropism.core.time import MICROSECONDS
from tropism.runtime.dead import VIEW
from tropism.runtime.table import Table
from tropism.runtime.tables import Tables


class Fact(Event, type="facts.fact.v1", key="subject"):
    subject: str
    key: str | None
    value: int | None


def view(*, own: bool = False, ever: bool = True) -> View:
    """A view of every kind of column, in several windows and, where told to, over all that ever was."""
    columns = {
        "n": count(window=seconds(10)),
        "n_short": count(window=seconds(3)),
        "sum": total(lambda e: e.value, window=seconds(10)),
        "sum_short": total(lambda e: e.value, window=seconds(3)),
        "mean": mean(lambda e: e.value, window=seconds(10)),
        "mean_short": mean(lambda e: e.value, window=seconds(3)),
        "last": last(lambda e: e.value, window=seconds(10)),
        "age": age(window=seconds(10)),
    }
    all_that_ever_was = {
        "last_ever": last(lambda e: e.value),
        "age_ever": age(),
        "sum_ever": total(lambda e: e.value),
    }
    return View("v", Fact, by=lambda e: e.key, own=own, **columns, **(all_that_ever_was if ever else {}))


def trim_wholly(table: Table, low_us: int) -> None:
    """Forget all that may be forgotten, also where so little is not worth it."""
    for series in table.series.values():
        series.trim(low_us - table.window_us, latest=table.latest)


@dataclass(frozen=True)
class Known:
    fact: Fact
    time_us: int


def oracle(known: list[Known], key: str, as_of_us: int, exclude: str | None) -> dict[str, Any]:
    """Read a view by looking at every fact there ever was, in order of time, then of arrival."""

    def within(window: int) -> list[Known]:
        low = as_of_us - window * MICROSECONDS
        found = [
            k
            for k in known
            if k.fact.key == key and low <= k.time_us < as_of_us and k.fact.subject != exclude
        ]
        return sorted(found, key=lambda k: k.time_us)

    def summed(window: int) -> int:
        return sum(k.fact.value for k in within(window) if k.fact.value is not None)

    def averaged(window: int) -> float | None:
        values = [k.fact.value for k in within(window) if k.fact.value is not None]
        return sum(values) / len(values) if values else None

    newest = within(10)[-1] if within(10) else None
    ever = within(10**6)
    return {
        "n": len(within(10)),
        "n_short": len(within(3)),
        "sum": summed(10),
        "sum_short": summed(3),
        "mean": averaged(10),
        "mean_short": averaged(3),
        "last": None if newest is None else newest.fact.value,
        "age": None if newest is None else (as_of_us - newest.time_us) / MICROSECONDS,
        "last_ever": ever[-1].fact.value if ever else None,
        "age_ever": (as_of_us - ever[-1].time_us) / MICROSECONDS if ever else None,
        "sum_ever": summed(10**6),
    }


SUBJECTS = st.sampled_from("xyz")
KEYS = st.sampled_from("AB")
# Halves of seconds meet the bounds of windows exactly; equal times are common.
HALVES = st.integers(0, 80).map(lambda n: n * MICROSECONDS // 2)


class ViewMachine(RuleBasedStateMachine):
    """Facts come, mostly in order; the view is read, trimmed and reloaded at any time."""

    @initialize(own=st.booleans(), ever=st.booleans())
    def begin(self, own: bool, ever: bool) -> None:
        self.view = view(own=own, ever=ever)
        self.table = Table(self.view)
        self.known: list[Known] = []
        self.low_us = 0

    @rule(subject=SUBJECTS, key=KEYS | st.none(), value=st.none() | st.integers(-5, 5), time_us=HALVES)
    def add(self, subject: str, key: str | None, value: int | None, time_us: int) -> None:
        """A fact becomes known, in order or late, but not before what was trimmed away."""
        fact = Fact(subject=subject, key=key, value=value)
        time_us = max(time_us, self.low_us)
        self.table.add(fact, time_us, subject)
        self.known.append(Known(fact, time_us))

    @rule(ahead_us=HALVES, wholly=st.booleans())
    def trim(self, ahead_us: int, wholly: bool) -> None:
        """No read is as of an earlier moment any more: the table may forget."""
        self.low_us = max(self.low_us, ahead_us)
        self.table.trim(self.low_us, set(self.table.series))
        if wholly:
            trim_wholly(self.table, self.low_us)

    @rule()
    def restart(self) -> None:
        """What is stored is all that a restart needs."""
        stored = {key: series.pack() for key, series in self.table.series.items()}
        self.table = Table(self.view)
        for key, data in stored.items():
            self.table.load(key, data)

    @invariant()
    def reads_equal_the_oracle(self) -> None:
        if not hasattr(self, "table"):
            return
        for as_of_us in (self.low_us, self.low_us + MICROSECONDS, self.low_us + 7 * MICROSECONDS // 2):
            for exclude in (None, "x"):
                for key in "AB":
                    row = self.table.reader(as_of_us, exclude)(key)
                    hidden = None if self.view.own else exclude
                    found, wanted = row._asdict(), oracle(self.known, key, as_of_us, hidden)
                    # All that ever was cannot be told apart by subject for ever.
                    compared = [name for name in found if hidden is None or name != "sum_ever"]
                    assert {c: found[c] for c in compared} == {c: wanted[c] for c in compared}


TestViews = ViewMachine.TestCase


@given(st.lists(st.tuples(HALVES, SUBJECTS, st.integers(-9, 9)), min_size=1, max_size=40), HALVES)
def test_trimming_changes_no_later_read(entries: list[tuple[int, str, int]], low_us: int) -> None:
    """Whatever is forgotten could not have been asked for."""
    whole, trimmed = Table(view()), Table(view())
    for time_us, subject, value in sorted(entries):
        fact = Fact(subject=subject, key="A", value=value)
        whole.add(fact, time_us, subject)
        trimmed.add(fact, time_us, subject)
    trim_wholly(trimmed, low_us)
    for as_of_us in range(low_us, low_us + 12 * MICROSECONDS, MICROSECONDS // 2):
        for exclude in (None, "x", "nobody"):
            assert trimmed.read("A", as_of_us, exclude)[:-1] == whole.read("A", as_of_us, exclude)[:-1]
        assert trimmed.read("A", as_of_us, None) == whole.read("A", as_of_us, None)


ENTRIES = st.lists(st.tuples(HALVES, SUBJECTS, st.integers(-9, 9) | st.none()), max_size=30)


def table_of(entries: list[tuple[int, str, int | None]]) -> Table:
    table = Table(view())
    for time_us, subject, value in entries:
        table.add(Fact(subject=subject, key="A", value=value), time_us, subject)
    return table


@given(ENTRIES)
def test_the_order_of_coming_does_not_matter(entries: list[tuple[int, str, int | None]]) -> None:
    """Late entries leave the same series as if they had come in time."""
    late, timely = table_of(entries), table_of(sorted(entries, key=lambda e: e[0]))
    assert {key: series.pack() for key, series in late.series.items()} == {
        key: series.pack() for key, series in timely.series.items()
    }


@given(ENTRIES)
def test_a_stored_series_comes_back_whole(entries: list[tuple[int, str, int | None]]) -> None:
    """Packing and unpacking changes nothing, and what is added afterwards continues it."""
    table = table_of([(0, "w", 1), *entries])
    again = Table(table.view)
    again.load("A", table.series["A"].pack())
    for each in (table, again):
        each.add(Fact(subject="x", key="A", value=1), 5 * MICROSECONDS, "x")
    assert again.series["A"].pack() == table.series["A"].pack()
    assert again.series["A"].own == table.series["A"].own


@given(ENTRIES, HALVES)
def test_whose_entries_are_kept_is_known_exactly(
    entries: list[tuple[int, str, int | None]], low_us: int
) -> None:
    """What is noted of subjects is what the rows say, so it is bounded as they are."""
    table = table_of([(0, "w", 1), *entries])
    trim_wholly(table, low_us)
    series = table.series["A"]
    noted: dict[str, list[int]] = {}
    for row, time_us in zip(series.rows, series.times, strict=True):
        noted.setdefault(row[0], []).append(time_us)
    assert {s: t if isinstance(t, list) else [t] for s, t in series.own.items()} == noted


def test_one_subject_alone_is_trimmed_too() -> None:
    """A key that one subject writes keeps no more than its windows need."""
    table = Table(view())
    for second in range(1000):
        table.add(Fact(subject="x", key="A", value=1), second * MICROSECONDS, "x")
        table.trim(second * MICROSECONDS, {"A"})
    assert len(table.series["A"].rows) < 20


class Counted(Event, type="facts.counted.v1", key="subject"):
    subject: str
    key: str | None
    value: int | None


@pytest.mark.parametrize("odd", [1e300, -1e300, float("inf"), float("nan"), 2**70])
def test_one_odd_value_spoils_no_later_sum(odd: float) -> None:
    """What would take the digits of the running total is refused, and later windows hold what they hold."""
    view = View("v", Fact, by=lambda e: e.key, window=seconds(2), sum=total(lambda e: e.value))
    table = Table(view)
    with pytest.raises(ValueError, match="spoil all later sums"):
        table.add(Fact(subject="x", key="A", value=odd), 0, "x")
    for second in range(4):
        table.add(Fact(subject="x", key="A", value=1.0), second * 10**6, "x")
    assert table.read("A", 4 * 10**6, None).sum == 2.0


ARRIVALS = st.lists(
    st.tuples(
        HALVES,
        st.sampled_from([Fact, Counted]),
        SUBJECTS,
        KEYS | st.none(),
        # Nothing, a number, one that a view refuses, and one at which its function raises.
        st.sampled_from([None, 0.1, 0.2, -0.7, 3.0, float("inf"), float("nan"), -1e300, "none"]),
    ),
    max_size=30,
)


def tables_of(views: list[View], letters: list[str]) -> Tables:
    return Tables("s", "s", views, MemoryStore().state, lambda letter, _: letters.append(letter.id))


@given(ARRIVALS, st.lists(st.integers(1, 7), min_size=1))
def test_how_arrivals_are_cut_makes_no_difference(arrivals: list[Any], cuts: list[int]) -> None:
    """Views of several types, some of whose events are refused, come to the same whatever the batches."""
    views = [
        View("sums", (Fact, Counted), by=lambda e: e.key, window=seconds(10), sum=total(lambda e: e.value)),
        View("lasts", Counted, by=lambda e: e.key, last=last(lambda e: e.value)),
        View("ahead", (Fact, Counted), by=lambda e: e.key, at=lambda e: int(e.value * 10**6), m=mean(_one)),
    ]
    batch = []
    for offset, (time_us, kind, subject, key, value) in enumerate(arrivals):
        event = kind(subject=subject, key=key, value=value)
        record = Record(str(offset), kind.event_type, "facts", subject, time_us, b"")
        batch.append((time_us, Stored(0, offset, time_us, record), event))
    singly_refused: list[str] = []
    cut_refused: list[str] = []
    singly, cut = tables_of(views, singly_refused), tables_of(views, cut_refused)
    for fact in batch:
        singly.take([fact])
    left = batch
    while left:
        for size in cuts:
            cut.take(left[:size])
            left = left[size:]
    assert packed(cut) == packed(singly)
    assert cut_refused == singly_refused
    assert cut_refused == [
        f"{offset}/{VIEW}{name}" for offset, arrival in enumerate(arrivals) for name in refusing(*arrival[1:])
    ]


def _one(_: Any) -> float:
    return 0.1


def packed(tables: Tables) -> list[dict[str, bytes]]:
    return [{key: series.pack() for key, series in table.series.items()} for table in tables.tables.values()]


def refusing(kind: type, subject: str, key: str | None, value: Any) -> list[str]:
    """Say which of the views cannot take an event in."""
    if key is None:
        return []
    sums = value == "none" or not -1e18 < (value or 0) < 1e18
    ahead = value in {None, "none"} or not -1e12 < value < 1e12
    return [name for name, refused in (("sums", sums), ("ahead", ahead)) if refused]
