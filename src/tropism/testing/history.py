"""What a run of the ledger left behind, and whether that is what was promised: a pure function says so."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from tropism.core.envelope import Record, Stored
from tropism.ports.log import Log
from tropism.ports.state import State
from tropism.runtime.dead import DeadLetter, dead_letters
from tropism.testing.ledger import COPIES, RETRY, STAGES, TOPICS, Stage, Tally

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Published:
    """A record that somebody published, and whether the log said that it has it."""

    id: str
    key: str
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class History:
    """All that is known when a run has ended.

    ``logs`` holds, per topic, the records of every partition as they lie there. ``unique`` says whether the
    log promised to take each id once. ``recovery_seconds`` is how long it took, after the last fault, until
    everything was handled; None where nobody measured it.
    """

    published: Sequence[Published]
    logs: Mapping[str, Sequence[Stored]]
    letters: Sequence[DeadLetter] = ()
    states: Mapping[str, Mapping[str, Tally]] = field(default_factory=dict)
    unique: bool = True
    recovery_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that does not hold: which, of whom, what is there instead, and the ids that it concerns."""

    law: str
    fact: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.law}: {self.fact}"


def check(history: History, *, recovery_seconds_max: float = 300.0) -> list[Violation]:
    """Return what does not hold of a history, none where all is well.

    Laws: nothing acknowledged is lost; each id lies in its topic once, where the log promises that; each
    key keeps the order in which it was published; every event has its effect once, or one dead letter, in
    the order of its key, on state and outputs alike; nothing is given up before its time; after the last
    fault, all is handled within a bound.
    """
    found = [*_unkept(history), *_repeated(history), *_misplaced(history)]
    for stage in STAGES:
        found += [*_effects(history, stage), *_disordered(history, stage)]
    found += _copied(history)
    found += _letters(history.letters)
    seconds = history.recovery_seconds
    if seconds is not None and seconds > recovery_seconds_max:
        found.append(Violation("recovery is bounded", f"it took {seconds:g} s after the last fault"))
    return found


def firsts(stored: Iterable[Stored]) -> list[Record]:
    """Return the records of a topic, each id where it lies first: what is there again is a repeat."""
    seen: dict[str, Record] = {}
    for each in stored:
        seen.setdefault(each.record.id, each.record)
    return list(seen.values())


def _unkept(history: History) -> Iterable[Violation]:
    there = {stored.record.id for stored in history.logs.get("ledger", ())}
    for published in history.published:
        if published.acknowledged and published.id not in there:
            fact = f"{published.id!r} was acknowledged, and is not in the log"
            yield Violation("nothing acknowledged is lost", fact, (published.id,))


def _repeated(history: History) -> Iterable[Violation]:
    if not history.unique:
        return
    for topic, stored in history.logs.items():
        counts = Counter(each.record.id for each in stored)
        for id, count in counts.items():
            if count > 1:
                yield Violation("an id is once in its topic", f"{id!r} is in {topic!r} {count} times", (id,))


def _misplaced(history: History) -> Iterable[Violation]:
    """Find keys whose postings do not lie in the log as they were published, one after the other."""
    order = {published.id: place for place, published in enumerate(history.published)}
    last: dict[str, str] = {}
    for record in firsts(history.logs.get("ledger", ())):
        before = last.get(record.subject)
        if before is not None and order.get(before, -1) > order.get(record.id, len(order)):
            fact = f"{record.id!r} lies behind {before!r}, which was published later"
            yield Violation("a key keeps its order in the log", fact, (record.id, before))
        last[record.subject] = record.id


def _effects(history: History, stage: Stage) -> Iterable[Violation]:
    given_up = {letter.record.id for letter in history.letters if letter.service == stage.service}
    taken = [r for r in firsts(history.logs.get(stage.topic, ())) if r.type == stage.takes]
    given: dict[str, list[Record]] = {}
    for record in firsts(_of_type(history.logs, stage.gives)):
        given.setdefault(_cause(record), []).append(record)
    tallies: dict[str, Tally] = {}
    for record in taken:
        outputs = given.pop(record.id, [])
        if record.id in given_up and not outputs:
            continue
        tally = tallies[record.subject] = tallies.get(record.subject, Tally()).then(record.id)
        yield from _effect(stage, record, outputs, tally, given_up=record.id in given_up)
    for cause, outputs in given.items():
        fact = f"{stage.handler} gave {outputs[0].id!r} for {cause!r}, which nobody gave it"
        yield Violation("every effect has its cause", fact, (cause,))
    yield from _kept(stage, tallies, history.states.get(stage.state, {}))


def _effect(
    stage: Stage, record: Record, outputs: Sequence[Record], tally: Tally, *, given_up: bool
) -> Iterable[Violation]:
    who, ids = f"{stage.handler} of {record.id!r}", (record.id, record.subject)
    if not outputs:
        yield Violation("every event has its effect", f"{who}: neither an output nor a dead letter", ids)
        return
    if given_up:
        yield Violation("every event has its effect once", f"{who}: an output and a dead letter", ids)
    if len(outputs) > 1:
        yield Violation("every event has its effect once", f"{who}: {len(outputs)} outputs", ids)
    found = msgspec.json.decode(outputs[0].data, type=Tally)
    if found != tally:
        told = f"{who}: it is the {found.count}th of {record.subject!r}, and should be the {tally.count}th"
        if found.count == tally.count:
            told = f"{who}: other events than those before it came before it under {record.subject!r}"
        yield Violation("a key's effects keep its order", told, ids)


def _disordered(history: History, stage: Stage) -> Iterable[Violation]:
    """Find outputs that do not lie in the log in the order of their numbers."""
    last: dict[str, int] = {}
    for record in firsts(_of_type(history.logs, stage.gives)):
        count = msgspec.json.decode(record.data, type=Tally).count
        if count <= last.get(record.subject, 0):
            fact = f"{record.id!r} is the {count}th of {record.subject!r}, and lies behind a later one"
            yield Violation("a key keeps its order in the log", fact, (record.id, record.subject))
        last[record.subject] = count


def _copied(history: History) -> Iterable[Violation]:
    """Find bookings that did not come under their branch's key, or not in the order of their account."""
    letters = {letter.record.id for letter in history.letters if letter.service == COPIES}
    copies = {r.id: place for place, r in enumerate(firsts(history.logs.get(COPIES, ())))}
    last: dict[str, int] = {}
    for record in firsts(_of_type(history.logs, "books.booked.v1")):
        place = copies.get(record.id, -1)
        if place < 0 and record.id not in letters:
            fact = f"{record.id!r} did not come under its branch's key"
            yield Violation("every event has its effect", fact, (record.id, record.subject))
        elif place >= 0:
            if place < last.get(record.subject, -1):
                fact = f"the copy of {record.id!r} lies before that of an earlier one of {record.subject!r}"
                yield Violation("a key keeps its order in the log", fact, (record.id, record.subject))
            last[record.subject] = place


def _kept(stage: Stage, wanted: Mapping[str, Tally], found: Mapping[str, Tally]) -> Iterable[Violation]:
    for key in sorted({*wanted, *found}):
        here, there = found.get(key, Tally()), wanted.get(key, Tally())
        if here != there:
            fact = f"{stage.state} of {key!r} counts {here.count} events, and {there.count} had their effect"
            yield Violation("state is what its events made it", fact, (key,))


def _letters(letters: Iterable[DeadLetter]) -> Iterable[Violation]:
    for letter in letters:
        if letter.handler and letter.attempts < RETRY.attempts:
            fact = f"{letter.id!r} was given up after {letter.attempts} attempts"
            yield Violation("nothing is given up early", fact, (letter.record.id,))


def _of_type(logs: Mapping[str, Sequence[Stored]], kind: str) -> Iterable[Stored]:
    topic = kind.partition(".")[0]
    return (stored for stored in logs.get(topic, ()) if stored.record.type == kind)


def _cause(record: Record) -> str:
    return (record.extensions or {}).get("causationid", "")


async def gather(
    log: Log,
    state: State,
    published: Sequence[Published],
    *,
    recovery_seconds: float | None = None,
) -> History:
    """Return the history that lies in a log and a state."""
    logs: dict[str, list[Stored]] = {}
    for topic in TOPICS:
        logs[topic] = await _read(log, topic)
    states = {}
    for stage in STAGES:
        entries = await _entries(state, stage.state)
        states[stage.state] = {
            key: msgspec.msgpack.decode(value, type=Tally) for key, value in entries.items()
        }
    return History(
        published,
        logs,
        await dead_letters(state, count_max=10**6),
        states,
        unique=log.capabilities.dedup_seconds > 0,
        recovery_seconds=recovery_seconds,
    )


async def _read(log: Log, topic: str) -> list[Stored]:
    found: list[Stored] = []
    cursors = dict.fromkeys(await log.ends([topic]), 0)
    while cursors:
        pages = await log.read(cursors, count_max=PAGE)
        for partition, page in pages.items():
            found.extend(page)
            cursors[partition] = page[-1].offset + 1
        cursors = {partition: cursors[partition] for partition, page in pages.items() if len(page) >= PAGE}
    return found


async def _entries(state: State, namespace: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    after: str | None = None
    while page := await state.scan(namespace, after=after, count_max=PAGE):
        found.update((entry.key, entry.value) for entry in page)
        after = page[-1].key
    return found
