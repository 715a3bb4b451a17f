"""What is said of a seed that failed: the laws, where what they concern lies, and which faults met it."""

from collections.abc import Iterable, Iterator

from tropism.core.envelope import Record
from tropism.ports.state import Commit
from tropism.testing.cluster import Happened, Result

LINES_MAX = 40
VIOLATIONS_MAX = 5
COMMAND = "python -m tropism.testing.simulate"


def tell(result: Result) -> str:
    """Return, for people, what a recorded seed broke, and the part of its history that bears on it."""
    ids = set(result.violations[0].ids) if result.violations else set()
    lines = [f"Seed {result.seed} failed: {result.plan}."]
    lines += [f"  {violation}" for violation in result.violations[:VIOLATIONS_MAX]]
    if len(result.violations) > VIOLATIONS_MAX:
        lines.append(f"  and {len(result.violations) - VIOLATIONS_MAX} more")
    lines += ["Where it lies:", *_shortened(_places(result, ids))]
    lines += ["Faults that met it:", *_shortened(_faults(result.timeline, ids))]
    return "\n".join([*lines, f"Repeat it with: {COMMAND} --seed {result.seed}"])


def _places(result: Result, ids: set[str]) -> Iterator[str]:
    for topic, stored in result.history.logs.items():
        for each in stored:
            record = each.record
            cause = (record.extensions or {}).get("causationid", "")
            if not ids.isdisjoint({record.id, cause}):
                because = f", caused by {cause}" if cause else ""
                yield f"  {topic}/{each.partition} at {each.offset}: {record.id} of {record.subject}{because}"
    for letter in result.history.letters:
        if letter.record.id in ids:
            yield f"  dead letter of {letter.service}: {letter.cause}"


def _faults(timeline: Iterable[Happened], ids: set[str]) -> Iterator[str]:
    for each in timeline:
        fatal = each.kind.startswith("crashed") or each.kind in {"paused", "stopped", "died"}
        if fatal or not ids.isdisjoint({each.call, *_told_of(each.about)}):
            yield f"  {each.seconds:12.6f} s  {each.who}: {each.call} {each.kind}"


def _told_of(about: object) -> Iterator[str]:
    """Return the ids and keys that a call was about."""
    records: Iterable[object] = ()
    if isinstance(about, Commit):
        records = about.outputs
        yield from (write.key for write in about.writes)
    elif isinstance(about, list | tuple):
        records = about
    for record in records:
        if isinstance(record, Record):
            yield from (record.id, record.subject, (record.extensions or {}).get("causationid", ""))


def _shortened(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    if len(found) > LINES_MAX:
        found = [f"  ({len(found) - LINES_MAX} earlier lines left out)", *found[-LINES_MAX:]]
    return found
