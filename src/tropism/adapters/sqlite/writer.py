"""The one thread that writes: it takes all that waits into one transaction, and syncs once."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple

from tropism.adapters.sqlite.checkpoint import Checkpointer
from tropism.adapters.sqlite.errors import translated
from tropism.adapters.sqlite.tables import Tables
from tropism.adapters.sqlite.wire import Append, Apply, Drop, Operation, Result, Send
from tropism.core.errors import TropismError, UnavailableError
from tropism.ports.log import Partition

Listener = Callable[[Mapping[Partition, int]], None]
"""Is told, in the writer's thread, the new ends of partitions, and changed queues; must not block."""

_GROUP_RECORDS_MAX = 20_000  # a larger transaction gains nothing, and delays those it includes


class _Task(NamedTuple):
    operation: Operation | Drop
    connection: int
    done: asyncio.Future[Result]


class Writer:
    """Applies operations in the order they come, in groups; callers wait for the sync of their group."""

    def __init__(
        self, connection: sqlite3.Connection, tables: Tables, name: str, checkpointer: Checkpointer
    ) -> None:
        self._sql = connection
        self._checkpointer = checkpointer
        self._tables = tables
        self._name = name
        self._queue: SimpleQueue[_Task | None] = SimpleQueue()
        self._listeners: tuple[Listener, ...] = ()
        self._stale = False
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="tropism-sqlite-writer", daemon=True)

    @property
    def ends(self) -> dict[Partition, int]:
        """The ends of all partitions; to be read before ``start``."""
        return self._tables.ends

    def start(self, *listeners: Listener) -> None:
        """Begin to work, and tell these about every growth."""
        self._listeners = listeners
        self._checkpointer.start()
        self._thread.start()

    def submit(self, operation: Operation | Drop, connection: int = 0) -> asyncio.Future[Result]:
        """Queue an operation, and return its result to come, in the running loop."""
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if self._closed:
            done.set_exception(closed_error(self._name))
        else:
            self._queue.put(_Task(operation, connection, done))
        return done

    def close(self) -> None:
        """Finish what is queued, then close the database. Blocks."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        self._checkpointer.close()
        self._sql.close()

    def _work(self) -> None:
        open_ = True
        while open_:
            group, open_ = self._take()
            if group:
                grown: dict[Partition, int] = {}
                outcomes = self._write(group, grown)
                if grown:
                    for listener in self._listeners:
                        listener(grown)
                _settle(group, outcomes)
                self._checkpointer.committed(self._sql)

    def _take(self) -> tuple[list[_Task], bool]:
        """Wait for a task, and return it with all that came meanwhile; False once closed."""
        group: list[_Task] = []
        size = 0
        while size < _GROUP_RECORDS_MAX and (not group or not self._queue.empty()):
            task = self._queue.get()
            if task is None:
                return group, False
            group.append(task)
            size += _records(task.operation)
        return group, True

    def _write(self, group: list[_Task], grown: dict[Partition, int]) -> list[Result | Exception]:
        """Apply a group in one transaction; where the database refuses it, each task in its own."""
        fresh: dict[Partition, int] = {}
        try:
            if self._stale:
                self._tables.load()
                self._stale = False
            self._sql.execute("BEGIN IMMEDIATE")
            outcomes = [self._one(task, fresh) for task in group]
            self._sql.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 (whatever failed, nobody may wait for ever)
            self._rollback()
            if len(group) == 1:
                failure = translated(error, f"write to {self._name!r}")
                failure.__cause__ = error
                return [failure]
            return [self._write([task], grown)[0] for task in group]
        grown.update(fresh)
        return outcomes

    def _one(self, task: _Task, grown: dict[Partition, int]) -> Result | Exception:
        try:
            return self._tables.apply(task.operation, task.connection, grown)
        except TropismError as error:
            # Raised before its first write: the others of the group are not concerned.
            return error

    def _rollback(self) -> None:
        self._stale = True
        if self._sql.in_transaction:
            self._sql.execute("ROLLBACK")


def closed_error(name: str) -> UnavailableError:
    """Return what using a closed database raises."""
    return UnavailableError(f"Cannot use database {name!r}: it was closed. Open it again.")


def _records(operation: Operation | Drop) -> int:
    match operation:
        case Append(records):
            return len(records)
        case Apply(commit):
            return len(commit.outputs) + len(commit.writes) + 1
        case Send(messages=messages):
            return len(messages)
    return 1


def _settle(group: list[_Task], outcomes: list[Result | Exception]) -> None:
    """Hand results to the loops that wait: once per loop, not once per task."""
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Result], Result | Exception]]] = {}
    for task, outcome in zip(group, outcomes, strict=True):
        loops.setdefault(task.done.get_loop(), []).append((task.done, outcome))
    for loop, results in loops.items():
        call_in(loop, resolve, results)


def resolve(results: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    """Settle what is waited for, each with its result or its error; called in the loop that waits."""
    for done, outcome in results:
        if done.done():
            continue
        if isinstance(outcome, Exception):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)


def call_in(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *args: object) -> None:
    """Call a function in a loop from another thread; without effect once the loop is closed."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise
