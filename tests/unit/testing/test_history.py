"""The checker of histories: each law, on a history that holds it and on one that does not."""

from dataclasses import replace

import msgspec
import pytest

from tropism.core.envelope import Record, Stored
from tropism.runtime.dead import DeadLetter
from tropism.testing.history import History, Published, check
from tropism.testing.ledger import COPIES, RETRY, STAGES, Tally, branch_of, record_of_posting

BOOKS, BRANCHES, NOTICES = STAGES


def outputs_of(stage, inputs, subject_of=lambda record: record.subject):
    """Return what a stage makes of records, and the tallies that it is left with."""
    tallies, given = {}, []
    for record in inputs:
        key = subject_of(record)
        tally = tallies[key] = tallies.get(key, Tally()).then(record.id)
        data = msgspec.json.encode({"account": "a", "number": 0, "count": tally.count, "chain": tally.chain})
        topic = stage.gives.partition(".")[0]
        given.append(
            Record(
                f"{stage.service} {record.id}",
                stage.gives,
                topic,
                key,
                0,
                data,
                "",
                {"causationid": record.id},
            )
        )
    return given, tallies


def stored(records):
    return [Stored(0, offset, 0, record) for offset, record in enumerate(records)]


def history():
    """Return the history of three postings to each of two accounts, all handled."""
    postings = [record_of_posting(account, n, 0) for n in range(3) for account in ("a", "b")]
    booked, books = outputs_of(BOOKS, postings)
    copies = [msgspec.structs.replace(r, topic=COPIES, subject=branch_of(r.subject)) for r in booked]
    totalled, branches = outputs_of(BRANCHES, copies)
    noticed, notices = outputs_of(NOTICES, booked)
    return History(
        [Published(r.id, r.subject, acknowledged=True) for r in postings],
        {
            "ledger": stored(postings),
            "books": stored(booked),
            COPIES: stored(copies),
            "totals": stored(totalled),
            "notices": stored(noticed),
        },
        (),
        {BOOKS.state: books, BRANCHES.state: branches, NOTICES.state: notices},
    )


def changed(topic, change):
    """Return the history with the records of one topic changed."""
    good = history()
    records = [each.record for each in good.logs[topic]]
    return replace(good, logs={**good.logs, topic: stored(change(records))})


def letter(id, attempts):
    record = record_of_posting("a", 9, 0)
    return DeadLetter(
        "x", "books", "books.book", "why", [], attempts, 0, msgspec.structs.replace(record, id=id)
    )


def swapped(records):
    return [*records[2:3], *records[1:2], *records[:1], *records[3:]]


def another(records):
    return [*records, msgspec.structs.replace(records[0], id="other")]


BROKEN = {
    "nothing acknowledged is lost": changed("ledger", lambda records: records[:-1]),
    "an id is once in its topic": changed("ledger", lambda records: [*records, records[0]]),
    "a key keeps its order in the log": changed("ledger", swapped),
    "every event has its effect": changed("books", lambda records: records[:-1]),
    "every event has its effect once": changed("books", another),
    "every effect has its cause": changed(
        "notices", lambda records: [*records, msgspec.structs.replace(records[0], id="o", extensions={})]
    ),
    "state is what its events made it": replace(history(), states={}),
    "nothing is given up early": replace(history(), letters=[letter("p", 1)]),
    "recovery is bounded": replace(history(), recovery_seconds=301.0),
}


def test_a_history_as_promised_breaks_no_law():
    """Everything once, in order: nothing to say."""
    assert check(history()) == []


@pytest.mark.parametrize("law", BROKEN)
def test_a_broken_law_is_named(law):
    """Each thing that can be wrong is found, and called by its name."""
    found = check(BROKEN[law])
    assert law in {violation.law for violation in found}
    assert all(str(violation).startswith(violation.law) for violation in found)


@pytest.mark.parametrize("topic", ["books", COPIES, "totals", "notices"])
def test_outputs_out_of_order_are_found_wherever_they_lie(topic):
    """The order of a key is checked at every stage."""
    assert "a key keeps its order in the log" in {v.law for v in check(changed(topic, swapped))}


def test_what_was_not_acknowledged_may_be_missing():
    """Only an answer is a promise."""
    good = history()
    doubtful = Published("a/00009", "a", acknowledged=False)
    assert check(replace(good, published=[*good.published, doubtful])) == []


def test_a_log_that_does_not_know_ids_may_hold_repeats():
    """Where the log promises nothing of ids, what lies there again is a repeat, and no second event."""
    repeated = changed("books", lambda records: [*records, records[1]])
    assert check(replace(repeated, unique=False)) == []


def test_a_dead_letter_stands_for_an_effect_and_not_beside_one():
    """An event has an output or a dead letter; both are one too many."""
    good = history()
    both = replace(good, letters=[letter(good.published[0].id, RETRY.attempts)])
    assert {v.law for v in check(both)} == {"every event has its effect once"}
