"""Windows of every kind against a reference that looks at every fact: late, chunked, trimmed, stored."""

from dataclasses import dataclass
from statistics import mean as average
from statistics import quantiles
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tropism import (
    Event,
    View,
    age,
    count,
    distinct,
    first,
    last,
    maximum,
    mean,
    minimum,
    quantile,
    ratio,
    seconds,
    session,
    sliding,
    total,
    tumbling,
)
from tropism.adapters.memory import MemoryStore
from tropism.core.envelope import Record, Stored
from tropism.core.time import MICROSECONDS
from tropism.runtime.tables import Tables
from tropism.runtime.view import Aggregate
from tropism.runtime.windowed import Windowed
from tropism.runtime.windows import Window

S = MICROSECONDS
LATENESS = 4 * S

WINDOWS: dict[str, Window] = {
    "tumbling": tumbling(seconds(6)),
    "offset": tumbling(seconds(6), offset=seconds(2)),
    "current": tumbling(seconds(6), current=True),
    "sliding": sliding(seconds(5)),
    "hopping": sliding(seconds(6), every=seconds(2)),
    "session": session(seconds(3), kept=seconds(20)),
    "open": session(seconds(3), current=True),
}


class Fact(Event, type="facts.fact.v1", key="subject"):
    subject: str
    key: str | None
    value: int | None


def aggregates(name: str, window: Window | None) -> dict[str, Aggregate]:
    found = {
        "n": count(window=window),
        "total": total(lambda e: e.value, window=window),
        "mean": mean(lambda e: e.value, window=window),
        "minimum": minimum(lambda e: e.value, window=window),
        "maximum": maximum(lambda e: e.value, window=window),
        "first": first(lambda e: e.value, window=window),
        "last": last(lambda e: e.value, window=window),
        "fresh": last(lambda e: e.value, window=window, ttl=seconds(2)),
        "age": age(window=window),
        "distinct": distinct(lambda e: e.value, window=window),
        "median": quantile(lambda e: e.value, 0.5, window=window),
        "ratio": ratio(lambda e: e.value, lambda e: 2, window=window),
    }
    return {f"{name}_{column}": aggregate for column, aggregate in found.items()}


def view(*, lateness: int | None = LATENESS, own: bool = False) -> View:
    """A view of every column over every window."""
    columns = {k: v for name, window in WINDOWS.items() for k, v in aggregates(name, window).items()}
    late = None if lateness is None else seconds(lateness / S)
    return View("v", Fact, by=lambda e: e.key, lateness=late, own=own, **columns)


@dataclass(frozen=True)
class Known:
    fact: Fact
    id: str
    time_us: int
    known_us: int


# -- the reference: what docs/views.md says, by looking at everything ----------------------------------------


def aligned(seen: list[Known], start: int, size: int) -> list[Known]:
    return [k for k in seen if start <= k.time_us < start + size]


def newest_session(seen: list[Known]) -> list[Known]:
    found: list[Known] = []
    for known in reversed(seen):
        if found and found[0].time_us - known.time_us >= 3 * S:
            break
        found.insert(0, known)
    return found


def covered(name: str, seen: list[Known], t: int, lateness: int) -> list[Known]:
    """Return what a window of that name covers as of a moment."""
    complete = t - lateness
    if name == "tumbling":
        return aligned(seen, complete // (6 * S) * 6 * S - 6 * S, 6 * S)
    if name == "offset":
        return aligned(seen, (complete - 2 * S) // (6 * S) * 6 * S + 2 * S - 6 * S, 6 * S)
    if name == "current":
        return aligned(seen, t // (6 * S) * 6 * S, 6 * S)
    if name == "sliding":
        return aligned(seen, t - 5 * S, 5 * S)
    if name == "hopping":
        return aligned(seen, complete // (2 * S) * 2 * S - 6 * S, 6 * S)
    found = newest_session(seen)
    kept = 20 * S if name == "session" else 3 * S
    return found if found and t - found[-1].time_us < kept else []


def wanted(known: list[Known], key: str, t: int, exclude: str | None, lateness: int) -> dict[str, Any]:
    """Return the row of every column over every window."""
    seen = sorted(
        (
            k
            for k in known
            if k.fact.key == key
            and k.known_us < t
            and k.fact.subject != exclude
            and k.known_us - k.time_us <= lateness
        ),
        key=lambda k: (k.time_us, k.id),
    )
    row: dict[str, Any] = {}
    for name in WINDOWS:
        row |= {f"{name}_{c}": v for c, v in columns(covered(name, seen, t, lateness), t).items()}
    return row


def columns(found: list[Known], t: int) -> dict[str, Any]:
    values = [k.fact.value for k in found if k.fact.value is not None]
    newest = found[-1] if found else None
    return {
        "n": len(found),
        "total": sum(values),
        "mean": average(values) if values else None,
        "minimum": min(values, default=None),
        "maximum": max(values, default=None),
        "first": found[0].fact.value if found else None,
        "last": newest.fact.value if newest else None,
        "fresh": newest.fact.value if newest and t - newest.time_us <= 2 * S else None,
        "age": (t - newest.time_us) / S if newest else None,
        "distinct": len(set(values)),
        "median": quantiles(values * 2, n=2, method="inclusive")[0] if values else None,
        "ratio": sum(values) / (2 * len(values)) if values else None,
    }


# -- the laws --------------------------------------------------------------------------------------------------

SUBJECTS = st.sampled_from("xyz")
KEYS = st.sampled_from("AB")
VALUES = st.none() | st.integers(-5, 5)
# Halves of seconds meet the bounds of windows exactly; equal times are common.
HALVES = st.integers(0, 80).map(lambda n: n * S // 2)


def stored(fact: Fact, id: str, time_us: int, known_us: int, offset: int = 0) -> Stored:
    return Stored(0, offset, known_us, Record(id, Fact.event_type, "facts", fact.subject, time_us, b""))


class WindowMachine(RuleBasedStateMachine):
    """Facts come, some of them late; the view is read, trimmed and reloaded at any time."""

    @initialize(own=st.booleans(), timely=st.booleans())
    def begin(self, own: bool, timely: bool) -> None:
        self.view = view(own=own, lateness=None if timely else LATENESS)
        self.table = Windowed(self.view)
        self.known: list[Known] = []
        self.stored: dict[str, bytes | None] = {}
        self.low_us = 0

    @rule(
        subject=SUBJECTS,
        key=KEYS | st.none(),
        value=VALUES,
        ahead=st.integers(0, 6),
        behind=st.integers(0, 12),
    )
    def add(self, subject: str, key: str | None, value: int | None, ahead: int, behind: int) -> None:
        """A fact becomes known, maybe behind its own time, but not before what was trimmed away."""
        fact = Fact(subject=subject, key=key, value=value)
        newest = max((k.known_us for k in self.known), default=0)
        known_us = max(newest, self.low_us) + ahead * S // 2
        time_us = known_us - behind * S // 2
        record = stored(fact, f"{len(self.known)}", time_us, known_us).record
        before = self.table.late.count
        assert not self.table.add(fact, known_us, record)
        late = self.table.late.count > before
        lateness = self.view.lateness_us
        assert late == (key is not None and lateness is not None and behind * S // 2 > lateness)
        own_us = known_us if lateness is None else time_us
        self.known.append(Known(fact, record.id, own_us, known_us))

    @rule(ahead_us=HALVES)
    def trim(self, ahead_us: int) -> None:
        """No read is as of an earlier moment any more: the table may forget, and is stored."""
        self.low_us = max(self.low_us, ahead_us)
        self.table.trim(self.low_us, set(self.table.series))
        self.stored |= {key: self.table.pack(key) for key in self.table.changed}
        self.table.changed.clear()

    @rule()
    def restart(self) -> None:
        """What is stored, with what changed since, is all that a restart needs."""
        self.stored |= {key: self.table.pack(key) for key in self.table.changed}
        self.table = Windowed(self.view)
        for key, data in self.stored.items():
            if data is not None:
                self.table.load(key, data)

    @invariant()
    def reads_equal_the_reference(self) -> None:
        if not hasattr(self, "table"):
            return
        # What became known at a moment is seen by reads after it, and by none as of it.
        newest = max((k.known_us for k in self.known), default=0)
        for as_of_us in (self.low_us, max(self.low_us, newest), newest + 1 + S, self.low_us + 19 * S):
            if as_of_us < self.low_us:
                continue
            for exclude in (None, "x"):
                for key in "AB":
                    row = self.table.reader(as_of_us, exclude)(key)._asdict()
                    hidden = None if self.view.own else exclude
                    lateness = self.view.lateness_us or 0
                    assert row == wanted(self.known, key, as_of_us, hidden, lateness)


TestWindows = WindowMachine.TestCase
TestWindows.settings = settings(max_examples=30, stateful_step_count=15)

ARRIVALS = st.lists(
    st.tuples(HALVES, SUBJECTS, KEYS, st.sampled_from([None, 0.1, 0.2, -0.7, 3.0])), max_size=30
)


def tables_of(*views: View) -> Tables:
    return Tables("s", "s", views, MemoryStore().state, lambda *_: None)


def rows_of(tables: Tables, *moments: int) -> list[Any]:
    return [table.read(key, t, None) for table in tables.tables.values() for key in "AB" for t in moments]


@settings(max_examples=50)
@given(ARRIVALS, st.randoms(use_true_random=False), st.lists(st.integers(1, 7), min_size=1))
def test_the_order_of_coming_within_the_lateness_makes_no_difference(
    arrivals: list[Any], random: Any, cuts: list[int]
) -> None:
    """However late within the lateness, and however cut into batches: the same, to the last digit."""
    facts = [
        (time_us, f"{n}", Fact(subject=s, key=k, value=v)) for n, (time_us, s, k, v) in enumerate(arrivals)
    ]
    timely = sorted(facts, key=lambda f: (f[0], f[1]))
    # Whoever is put off by less than the lateness is never behind another by more.
    late = sorted(timely, key=lambda f: (f[0] + random.randrange(LATENESS + 1), f[1]))
    once, cut = tables_of(view()), tables_of(view())
    once.take(batch_of(timely))
    left = batch_of(late)
    while left:
        for size in cuts:
            cut.take(left[:size])
            left = left[size:]
    assert cut.late == {"v": 0}
    after = max((f[0] for f in facts), default=0) + LATENESS + 1
    moments = [after + n * S for n in range(12)]
    assert rows_of(cut, *moments) == rows_of(once, *moments)


def batch_of(facts: list[tuple[int, str, Fact]]) -> list[tuple[int, Stored, Fact]]:
    """Return facts as they lie in one partition, where nothing is known before what is in front of it."""
    found, newest = [], 0
    for offset, (time_us, id, fact) in enumerate(facts):
        newest = max(newest, time_us)
        found.append((newest, stored(fact, id, time_us, newest, offset), fact))
    return found
