"""The database file: its tables, how it is opened, and how it is checked."""

import sqlite3
from pathlib import Path

from tropism.adapters.sqlite.errors import translated
from tropism.adapters.sqlite.many import STATEMENTS_KEPT
from tropism.adapters.upgrades import Step, check_known, program, tell_upgrade, told_format
from tropism.core.errors import InvalidInputError, NotSupportedError

SCHEMA_VERSION = 3
"""Stands in the file as ``user_version``; a newer one is refused, unless it says that this code may."""

_APPLICATION_ID = 0x54524F50  # "TROP", so that 'file' and others' tools know whose it is
_PAGE_BYTES = 8192  # measured: 20 % faster to append and to read than 4096 with 250-byte payloads
_BUSY_MS = 10_000  # nobody else writes; only a foreign tool's backup can be waited for

PLACE_BITS = 40
"""A record's place is its lane (a partition, numbered over all topics) and, in so many bits, its offset.

As one integer it is the table's row id: measured a quarter cheaper to append than three key columns.
"""

LANES_PER_TOPIC = 4096

# The last record of a partition says where the next one goes: retention must keep it.
_TABLES = """
CREATE TABLE topics(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL);
CREATE TABLE events(
    place INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, known_us INTEGER NOT NULL, id TEXT NOT NULL,
    type TEXT NOT NULL, subject TEXT NOT NULL, time_us INTEGER NOT NULL, data BLOB NOT NULL,
    source TEXT NOT NULL, extensions TEXT);
CREATE VIEW log AS
    SELECT topics.name AS topic, place >> 40 & 4095 AS partition, place & (1 << 40) - 1 AS offset, events.*
    FROM events JOIN topics ON topics.id = topic_id;
CREATE UNIQUE INDEX event_ids ON events(id, topic_id);
CREATE TABLE state(
    namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL, expires_us INTEGER,
    PRIMARY KEY(namespace, key)) WITHOUT ROWID;
CREATE INDEX state_expiries ON state(namespace, expires_us) WHERE expires_us IS NOT NULL;
CREATE TABLE consumers(
    name TEXT NOT NULL PRIMARY KEY, token INTEGER NOT NULL, holder TEXT NOT NULL,
    lease_seconds REAL NOT NULL, clean INTEGER NOT NULL,
    cursor BLOB, watermark_us INTEGER, applied BLOB) WITHOUT ROWID;
"""


# Bodies stand apart from turns: each loan, renewal and nack writes a turn anew, and the body once only.
# Numbers are never used twice, as receipts name them.
_QUEUE_TABLES = """
CREATE TABLE queues(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE messages(
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, body BLOB NOT NULL, attributes TEXT);
CREATE TABLE turns(
    number INTEGER PRIMARY KEY, queue_id INTEGER NOT NULL, key TEXT NOT NULL, due_us INTEGER NOT NULL,
    attempt INTEGER NOT NULL, leased INTEGER NOT NULL, first INTEGER NOT NULL);
CREATE INDEX turns_due ON turns(queue_id, due_us) WHERE first = 1;
CREATE INDEX turns_of_keys ON turns(queue_id, key) WHERE key <> '';
CREATE TABLE taken(
    number INTEGER PRIMARY KEY, queue_id INTEGER NOT NULL, id TEXT NOT NULL, taken_us INTEGER NOT NULL);
CREATE UNIQUE INDEX taken_ids ON taken(queue_id, id);
CREATE TABLE dead(
    queue_id INTEGER NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, attributes TEXT,
    cause TEXT NOT NULL, attempts INTEGER NOT NULL, died_us INTEGER NOT NULL,
    PRIMARY KEY(queue_id, id)) WITHOUT ROWID;
"""
# How the file came to its format, and which older code may go on working with it.
_HISTORY_TABLES = """
CREATE TABLE upgrades(
    version INTEGER PRIMARY KEY, works_with INTEGER NOT NULL, tropism TEXT NOT NULL, at_us INTEGER NOT NULL);
"""
_STEPS = (Step(_TABLES, 1), Step(_QUEUE_TABLES, 1), Step(_HISTORY_TABLES, 2))
"""Each version of the schema, from the first."""

_NOW_US = "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"
_UPGRADED = "SELECT works_with, tropism, at_us FROM upgrades WHERE version = ?"


def connect_writer(path: Path, *, synced: bool = True, upgrade: bool = True) -> sqlite3.Connection:
    """Open the file for its owner, creating tables in a new one, and upgrading those of an older Tropism.

    Raises: CorruptError, NotSupportedError for a newer schema, UnavailableError.
    """
    connection = _connect(path, "rwc")
    try:
        _prepare(connection, path, synced=synced, upgrade=upgrade)
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, f"open database {str(path)!r}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open an existing file for reading only.

    Not ``mode=ro``: such a connection could not recover the log of a killed owner.
    """
    connection = _connect(path, "rw")
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA cache_size = -16384")
    return connection


def connect_checkpointer(path: Path) -> sqlite3.Connection:
    """Open an existing file for writing its log back."""
    return _connect(path, "rw")


def problems_of(path: Path) -> list[str]:
    """Return what is wrong with a database file, for ``tropism doctor``: nothing, where it is sound."""
    try:
        connection = connect_reader(path)
        try:
            check_version(connection, path)
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        finally:
            connection.close()
    except sqlite3.Error as error:
        return [str(error)]
    return [] if found == ["ok"] else found


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the file's schema version. Raises: NotSupportedError if it is newer than this code can use."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    newest = _upgraded(connection, version) if version > SCHEMA_VERSION else None
    check_known(str(path), version, SCHEMA_VERSION, None if newest is None else newest[0])
    return version


def format_of(path: Path) -> str:
    """Say in words which format a file has."""
    try:
        connection = connect_reader(path)
        try:
            version = check_version(connection, path)
            newest = _upgraded(connection, version)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise translated(error, f"read database {str(path)!r}") from error
    return told_format(version, SCHEMA_VERSION, None if newest is None else newest[1:])


def _upgraded(connection: sqlite3.Connection, version: int) -> tuple[int, str, int] | None:
    """Return the oldest version that works with this one, who made it and when; None before version 3."""
    found = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'upgrades'").fetchone()
    row = connection.execute(_UPGRADED, (version,)).fetchone() if found else None
    return None if row is None else (int(row[0]), str(row[1]), int(row[2]))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        # Opened in one thread, used in its own: never in two at once.
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_KEPT
        )
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    except sqlite3.Error as error:
        raise translated(error, f"open database {str(path)!r}") from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, synced: bool, upgrade: bool) -> None:
    version = check_version(connection, path)
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
    connection.execute("PRAGMA wal_autocheckpoint = 0")  # the checkpointer's part
    # A log that begins anew is cut: its size tells the checkpointer how much there is to write back.
    connection.execute("PRAGMA journal_size_limit = 0")
    connection.execute("PRAGMA cache_size = -65536")
    if version == 0:
        _refuse_foreign(connection, path)
    if version < SCHEMA_VERSION and (upgrade or version == 0):
        _upgrade(connection, path, version)


def _upgrade(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Bring a file to this code's format: in one transaction, so a crash leaves it as it was."""
    if version:
        tell_upgrade(str(path), version, SCHEMA_VERSION)
    scripts = "".join(step.script for step in _STEPS[version:SCHEMA_VERSION])
    works_with = _STEPS[SCHEMA_VERSION - 1].works_with
    connection.executescript(
        f"BEGIN IMMEDIATE; {scripts} PRAGMA application_id = {_APPLICATION_ID}; "
        f"INSERT INTO upgrades VALUES ({SCHEMA_VERSION}, {works_with}, '{program()}', {_NOW_US}); "
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise NotSupportedError(
            f"Cannot open database {str(path)!r}: it holds another program's tables. Name another file."
        )


def check_partitions(topic: str, count: int) -> None:
    """Refuse more partitions than a place has room for. Raises: InvalidInputError."""
    if count > LANES_PER_TOPIC:
        raise InvalidInputError(
            f"Cannot create topic {topic!r}: {count} partitions are more than {LANES_PER_TOPIC}. "
            f"Ask for fewer."
        )


def lane_start(topic_id: int, partition: int) -> int:
    """Return the place of a partition's first record."""
    return (topic_id * LANES_PER_TOPIC + partition) << PLACE_BITS
