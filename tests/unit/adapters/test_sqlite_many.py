"""Many rows in few statements: none lost and none twice, whatever their number."""

import sqlite3

import pytest

from tropism.adapters.sqlite.many import execute_keys, execute_rows

COUNTS = [0, 1, 7, 8, 9, 31, 40, 128, 511, 512, 513, 1300]


@pytest.fixture
def sql():
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE state(namespace TEXT, key TEXT, value, PRIMARY KEY(namespace, key))")
    yield connection
    connection.close()


@pytest.mark.parametrize("count", COUNTS)
def test_every_row_is_put_once_and_found_and_deleted_by_key(sql, count):
    rows = [("n", f"k{number}", number) for number in range(count)]
    execute_rows(sql, "INSERT INTO state VALUES", [*rows, ("other", "k0", -1)], width=3)
    keys = [key for _, key, _ in rows]
    found = execute_keys(sql, "SELECT key, value FROM state", "n", [*keys, "absent"])
    assert sorted(found) == sorted((key, value) for _, key, value in rows)
    execute_keys(sql, "DELETE FROM state", "n", keys)
    assert sql.execute("SELECT * FROM state").fetchall() == [("other", "k0", -1)]


def test_a_key_that_is_put_again_takes_the_new_value(sql):
    tail = "ON CONFLICT(namespace, key) DO UPDATE SET value = excluded.value"
    for value in (1, 2):
        rows = [("n", f"k{number}", value) for number in range(20)]
        execute_rows(sql, "INSERT INTO state VALUES", rows, tail, width=3)
    assert sql.execute("SELECT DISTINCT value FROM state").fetchall() == [(2,)]


def test_keys_are_found_by_the_index_and_not_by_a_scan(sql):
    plan = sql.execute("EXPLAIN QUERY PLAN SELECT key FROM state WHERE namespace = ? AND key IN (?,?)", "nab")
    assert "SEARCH" in plan.fetchone()[3]
