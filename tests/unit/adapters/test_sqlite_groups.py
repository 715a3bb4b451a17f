"""Groups of operations on a database file: written together, and yet each by itself."""

import random
from pathlib import Path

import pytest

from tropism.adapters.sqlite.many import execute_values
from tropism.adapters.sqlite.schema import connect_writer
from tropism.adapters.sqlite.tables import Tables
from tropism.adapters.sqlite.wire import Acquire, Acquired, Append, Apply, Create, Drop, Release, Renew, Send
from tropism.core.envelope import Record
from tropism.core.errors import FencedError, InvalidInputError
from tropism.ports.queue import Message
from tropism.ports.state import Commit, Lease, Position, Write


def record(id, subject="k", topic="orders", data=b"{}"):
    return Record(id, f"{topic}.placed.v1", topic, subject, 1_000, data, "test", {"causationid": id})


def commit(lease, id, writes=(), outputs=()):
    return Apply(Commit(lease, Position(id, 1), writes, outputs), id)


class File:
    """A database file, its tables, and the statements that were executed."""

    def __init__(self, path):
        self.sql = connect_writer(path, synced=False)
        self.tables = Tables(self.sql)
        self.statements = []
        self.sql.set_trace_callback(self.statements.append)

    def apply(self, *operations):
        """Apply a group; return the outcomes, and what grew."""
        grown = {}
        del self.statements[:]
        found = self.tables.apply([(operation, 7) for operation in operations], grown)
        if self.sql.in_transaction:
            self.sql.execute("COMMIT")
        return found, grown

    def lease(self, consumer="c"):
        ((acquired,), _) = self.apply(Acquire(consumer, "me", 60.0))
        assert isinstance(acquired, Acquired)
        return acquired.lease

    def events(self):
        return self.sql.execute("SELECT topic, partition, offset, id FROM log ORDER BY place").fetchall()

    def state(self):
        return dict(self.sql.execute("SELECT key, value FROM state"))

    def dump(self):
        self.sql.set_trace_callback(None)
        queries = (
            "SELECT place, topic_id, known_us, id, type, subject, data, extensions FROM events ORDER BY place",
            "SELECT * FROM topics ORDER BY id",
            "SELECT * FROM state ORDER BY namespace, key",
            "SELECT * FROM consumers ORDER BY name",
            "SELECT number, queue_id, id FROM taken ORDER BY number",
        )
        return [self.sql.execute(query).fetchall() for query in queries]


@pytest.fixture
def file(tmp_path: Path):
    found = File(tmp_path / "x.db")
    yield found
    found.sql.close()


def test_a_group_of_appends_is_one_statement_and_its_own_transaction(file):
    """However many publish at once, the file is told once; and nothing is begun that is not ended."""
    file.apply(Create({"orders": 4}))
    found, grown = file.apply(*(Append([record(f"{n}", f"k{n}")]) for n in range(50)))
    assert found == [1] * 50
    assert len(file.statements) == 1
    assert not file.sql.in_transaction
    assert sum(grown.values()) == 50 == len(file.events())


def test_more_than_one_statement_is_one_transaction(file):
    """A commit of outputs and state is whole, also where its group is large."""
    lease = file.lease()
    outputs = [record(f"{n}") for n in range(700)]
    found, _ = file.apply(commit(lease, b"1", [Write("s", "a", b"1")], outputs), Append([record("last")]))
    assert found == [None, 1]
    assert file.statements[0].startswith("BEGIN")
    assert [s for s in file.statements if s.startswith(("BEGIN", "COMMIT"))] == ["BEGIN IMMEDIATE", "COMMIT"]
    assert len(file.events()) == 701


@pytest.mark.parametrize("began", [False, True])
def test_what_is_there_already_is_left_out_and_each_is_told_its_own_count(file, began):
    """Ids known to the log, and ids twice in a group, are stored once; offsets have no gap."""
    file.apply(Create({"orders": 1}))
    file.apply(Append([record("a")]))
    more = [Create({"others": 1})] if began else []
    found, grown = file.apply(
        *more,
        Append([record("a"), record("b")]),
        Append([record("b")]),
        Append([record("c"), record("c"), record("d")]),
        Append([record("a", topic="others")]),
    )
    assert found[len(more) :] == [1, 0, 2, 1]
    assert grown == {("orders", 0): 4, **({("others", 0): 1} if began else _others(file))}
    assert [row[3] for row in file.events() if row[0] == "orders"] == ["a", "b", "c", "d"]
    assert [row[2] for row in file.events() if row[0] == "orders"] == [0, 1, 2, 3]
    assert file.tables.ends == {**file.tables.ends, ("orders", 0): 4}


def _others(file):
    return {("others", row[1]): 1 for row in file.events() if row[0] == "others"}


@pytest.mark.parametrize("wrong", [record("x", "\ud800"), record("x", data=b"x" * (16 * 2**20 + 1))])
def test_what_cannot_be_kept_is_refused_and_the_others_of_its_group_are_stored(file, wrong):
    """Also where part of it had its place already: the next ones take that place."""
    file.apply(Create({"orders": 1}))
    found, _ = file.apply(Append([record("a")]), Append([record("b"), wrong]), Append([record("c")]))
    assert found[0] == found[2] == 1
    assert isinstance(found[1], InvalidInputError)
    assert [(row[2], row[3]) for row in file.events()] == [(0, "a"), (1, "c")]


def test_a_commit_with_a_lost_lease_changes_nothing_of_its_group(file):
    """Its outputs, its state and its cursor stay out; those before and behind it are stored."""
    old, other = file.lease(), file.lease("other")
    new = file.lease()
    found, _ = file.apply(
        commit(new, b"1", [Write("s", "a", b"new")], [record("new")]),
        commit(old, b"2", [Write("s", "a", b"old")], [record("old")]),
        commit(other, b"3", [Write("s", "b", b"other")], [record("other")]),
    )
    assert found[0] is found[2] is None
    assert isinstance(found[1], FencedError)
    assert file.state() == {"a": b"new", "b": b"other"}
    assert [row[3] for row in file.events()] == ["new", "other"]


def test_a_lease_taken_within_a_group_fences_what_follows(file):
    """Operations apply in the order they came: a commit behind the next lease is refused, one before is not."""
    old = file.lease()
    found, _ = file.apply(
        commit(old, b"1", [Write("s", "a", b"1")]),
        Acquire("c", "me", 60.0),
        commit(old, b"2", [Write("s", "a", b"2")]),
    )
    assert found[0] is None
    assert isinstance(found[1], Acquired)
    assert found[1].position == Position(b"1", 1)
    assert isinstance(found[2], FencedError)
    assert file.state() == {"a": b"1"}


def test_of_a_key_written_again_and_again_the_last_value_stays(file):
    """Whether it is put or deleted last, in commits of one group."""
    one, two = file.lease("one"), file.lease("two")
    file.apply(commit(one, b"1", [Write("s", "a", b"0"), Write("s", "b", b"0")]))
    file.apply(
        commit(one, b"2", [Write("s", "a", b"1"), Write("s", "b", None)]),
        commit(two, b"3", [Write("s", "a", None), Write("s", "b", b"2"), Write("s", "c", None)]),
    )
    assert file.state() == {"b": b"2"}


def test_a_commit_asked_twice_in_one_group_is_applied_once(file):
    """Who lost an answer asks again; the second is told that it is done."""
    lease = file.lease()
    asked = commit(lease, b"1", [Write("s", "a", b"1")], [record("a")])
    again = commit(lease, b"1", [Write("s", "a", b"2")], [record("b")])
    assert file.apply(asked, again)[0] == [None, None]
    assert file.state() == {"a": b"1"}
    file.tables.load()
    assert file.apply(again)[0] == [None]
    assert [row[3] for row in file.events()] == ["a"]


def test_after_a_rollback_everything_is_as_it_was(file):
    """What was noted in memory of a group that was not stored is forgotten: its commits are new again."""
    lease = file.lease()
    file.tables.apply([(commit(lease, b"1", [Write("s", "a", b"1")], [record("a")]), 0)], {})
    file.sql.execute("ROLLBACK")
    file.tables.load()
    assert file.apply(commit(lease, b"1", [Write("s", "a", b"1")], [record("a")]))[0] == [None]
    assert (file.state(), len(file.events())) == ({"a": b"1"}, 1)


@pytest.mark.parametrize("seed", range(12))
def test_a_group_does_what_its_operations_do_one_by_one(tmp_path, seed):
    """Any mix, cut into groups of any size, gives the same outcomes and the same tables."""
    chance = random.Random(seed)
    operations = [_drawn(chance, number) for number in range(150)]
    together, apart = File(tmp_path / "together.db"), File(tmp_path / "apart.db")
    found, at = [], 0
    while at < len(operations):
        size = chance.choice((1, 2, 5, 40))
        found += together.apply(*operations[at : at + size])[0]
        at += size
    assert [_told(each) for each in found] == [_told(apart.apply(each)[0][0]) for each in operations]
    assert together.tables.ends == apart.tables.ends
    assert together.dump() == apart.dump()
    together.tables.load()
    assert together.tables.ends == apart.tables.ends
    for file in (together, apart):
        file.sql.close()


def _drawn(chance, number):
    records = [
        record(
            f"{chance.randrange(60)}", chance.choice(("a", "b", "\ud800" if chance.random() < 0.1 else "c"))
        )
        for _ in range(chance.choice((0, 1, 1, 3)))
    ]
    consumer = chance.choice("xy")
    lease = Lease(consumer, chance.randrange(1, 4))
    writes = [
        Write(chance.choice("st"), chance.choice("klm"), chance.choice((None, b"%d" % number)))
        for _ in range(chance.randrange(4))
    ]
    kinds = {
        "append": lambda: Append(records),
        "apply": lambda: commit(lease, b"%d" % chance.randrange(number + 1), writes, records),
        "acquire": lambda: Acquire(consumer, "me", 60.0),
        "release": lambda: Release(lease),
        "renew": lambda: Renew(lease, 30.0),
        "create": lambda: Create({chance.choice(("orders", "others")): chance.choice((2, 3))}),
        "send": lambda: Send("q", [Message(f"{chance.randrange(9)}", b"")], 0),
        "drop": Drop,
    }
    weights = (6, 8, 2, 1, 1, 1, 1, 1)
    return kinds[chance.choices(list(kinds), weights)[0]]()


def _told(outcome):
    return (type(outcome).__name__, str(outcome))


@pytest.mark.parametrize("count", [0, 1, 63, 64, 95, 513, 700])
def test_rows_that_lie_in_one_list_are_each_put_once(file, count):
    """Whatever their number, and whichever statements that takes."""
    values = [value for n in range(count) for value in ("n", f"{n}", b"", None)]
    execute_values(file.sql, "INSERT INTO state VALUES", values, width=4)
    assert len(file.state()) == count
