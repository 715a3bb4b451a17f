"""Many rows in few steps.

Python's ``sqlite3`` lets go of the interpreter at every step of a statement and then waits for its turn:
row by row, beside a busy event loop, an insert took 1.2 ms a row; 100 rows a statement, 0.04 ms.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

_SIZES = (512, 256, 128, 96, 64)
"""Rows a statement, where there are many; fewer have a statement of their number, and so are one step."""

STATEMENTS_KEPT = 256
"""Each is compiled once and kept, as long as so many others were not used since."""


def execute_rows(
    sql: sqlite3.Connection, head: str, rows: Sequence[Sequence[Any]], tail: str = "", *, width: int
) -> None:
    """Execute a statement for rows of so many values; ``(?,?), (?,?)`` stands between head and tail."""
    execute_values(sql, head, [value for row in rows for value in row], tail, width=width)


def execute_values(
    sql: sqlite3.Connection, head: str, values: Sequence[Any], tail: str = "", *, width: int
) -> None:
    """Execute a statement for rows that lie one behind the other."""
    count = len(values) // width
    if count < _SIZES[-1]:
        if count:
            sql.execute(_statement(head, count, width, tail), values)
        return
    for start, size in _parts(count):
        sql.execute(_statement(head, size, width, tail), values[start * width : (start + size) * width])


def statements(count: int) -> int:
    """Return how many statements so many rows take."""
    return int(count > 0) if count < _SIZES[-1] else sum(1 for _ in _parts(count))


def execute_keys(sql: sqlite3.Connection, head: str, namespace: str, keys: Sequence[str]) -> list[Any]:
    """Execute a statement for keys of a namespace of the state, and return the rows it gives."""
    found: list[Any] = []
    for start, size in _parts(len(keys)):
        query = _keyed(head, size)
        found += sql.execute(query, (namespace, *keys[start : start + size])).fetchall()
    return found


def execute_given(
    sql: sqlite3.Connection, query: str, given: Sequence[Any], *before: Any, after: Sequence[Any] = ()
) -> list[Any]:
    """Execute a statement with given values, as rows of ``column1`` where ``VALUES {}`` stands in it.

    Return the rows it gives. Other values are bound before and after those.
    """
    found: list[Any] = []
    for start, size in _parts(len(given)):
        values = (*before, *given[start : start + size], *after)
        found += sql.execute(_given(query, size), values).fetchall()
    return found


def _parts(count: int) -> Iterator[tuple[int, int]]:
    start = 0
    for size in _SIZES:
        while count - start >= size:
            yield start, size
            start += size
    if count > start:
        yield start, count - start


@cache
def _statement(head: str, size: int, width: int, tail: str) -> str:
    row = f"({','.join('?' * width)})"
    return f"{head} {','.join([row] * size)} {tail}"


@cache
def _given(query: str, size: int) -> str:
    return query.format(",".join(["(?)"] * size))


@cache
def _keyed(head: str, size: int) -> str:
    return f"{head} WHERE namespace = ? AND key IN ({','.join('?' * size)})"
