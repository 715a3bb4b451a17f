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
from tropism.core.errors import UnavailableError
from tropism.ports.log import Partition

Listener = Callable[[Mapping[Partition, int]], None]
"""Is told the new ends of partitions, and changed queues; must not block."""

_GROUP_RECORDS_MAX = 20_000  # a larger transaction gains nothing, and delays those it includes


_Outcome = tuple[asyncio.Future[Any], Any]


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
        self.ends = tables.ends
        """The ends of all partitions, and all queues, as acknowledged: to be read from any thread."""
        self.is_writing = False
        """Whether the file may hold more than the ends say: what is committed is noted a moment later."""
        self._stale = False
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="tropism-sqlite-writer", daemon=True)

    def start(self, home: asyncio.AbstractEventLoop, learn: Listener, spread: Listener) -> None:
        """Begin to work: tell every growth to one loop, there, and to other processes, in this thread."""
        self._home, self._learn, self._spread = home, learn, spread
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
                self.is_writing = True
                outcomes = self._write(group, grown)
                # Before anybody hears that it is done: who reads then finds it.
                self.ends.update(grown)
                self.is_writing = False
                self._settle(group, outcomes, grown)
                if grown:
                    self._spread(grown)
                self._checkpointer.committed(self._sql)

    def _settle(
        self, group: list[_Task], outcomes: list[Result | Exception], grown: Mapping[Partition, int]
    ) -> None:
        """Hand results to the loops that wait, and to one of them what grew: once a loop, not once a task."""
        loops: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {self._home: []} if grown else {}
        for task, outcome in zip(group, outcomes, strict=True):
            loops.setdefault(task.done.get_loop(), []).append((task.done, outcome))
        for loop, results in loops.items():
            if loop is self._home and grown:
                call_in(loop, self._deliver, grown, results)
            else:
                call_in(loop, resolve, results)

    def _deliver(self, grown: Mapping[Partition, int], results: Sequence[_Outcome]) -> None:
        try:
            self._learn(grown)
        finally:
            resolve(results)

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
            outcomes = self._tables.apply([(task.operation, task.connection) for task in group], fresh)
            if self._sql.in_transaction:
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


def resolve(results: Sequence[_Outcome]) -> None:
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
