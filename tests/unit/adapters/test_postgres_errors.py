"""What PostgreSQL says, as ours, by what the caller should do."""

import struct

import psycopg
import pytest
from psycopg import errors

from tropism.adapters.postgres.errors import is_conflict, is_lost, translated
from tropism.adapters.postgres.schema import durability
from tropism.core.errors import CorruptError, InvalidInputError, NotFoundError, UnavailableError


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (errors.DiskFull("could not extend file"), UnavailableError, "Free some space on the server's disk"),
        (errors.OutOfMemory("out of memory"), UnavailableError, "Give the server more memory"),
        (errors.TooManyConnections("sorry, too many clients"), UnavailableError, "Raise max_connections"),
        (errors.ReadOnlySqlTransaction("read-only"), UnavailableError, "Name the primary"),
        (errors.QueryCanceled("statement timeout"), UnavailableError, "statement_timeout"),
        (errors.IoError("input/output error"), UnavailableError, "Check the server's disk"),
        (errors.DeadlockDetected("deadlock detected"), UnavailableError, "Try again"),
        (errors.AdminShutdown("terminating connection"), UnavailableError, "Try again"),
        (errors.InsufficientPrivilege("permission denied"), InvalidInputError, "Grant it"),
        (errors.InvalidCatalogName("no such database"), InvalidInputError, "correct the URL"),
        (errors.ProgramLimitExceeded("index row too large"), InvalidInputError, "Pass shorter"),
        (errors.NumericValueOutOfRange("out of range"), InvalidInputError, "Pass shorter or smaller"),
        (errors.DataCorrupted("invalid page"), CorruptError, "Restore the database"),
        (errors.UndefinedTable("relation does not exist"), CorruptError, "Restore the database"),
        (psycopg.OperationalError("the connection is lost"), UnavailableError, "Try again"),
        (struct.error("'q' format requires"), InvalidInputError, "beyond 64 bits"),
        (psycopg.OperationalError('FATAL:  database "x" does not exist'), InvalidInputError, "Create it"),
    ],
)
def test_every_error_has_its_remedy(error, kind, words):
    """Each is of the class that tells what to do, in the house form."""
    found = translated(error, "write to 'x'")
    assert type(found) is kind
    assert words in str(found)
    assert str(found).startswith("Cannot write to 'x': ")
    assert str(found).endswith(".")


def test_ours_stay_ours():
    """An error of ours is not wrapped in another."""
    error = NotFoundError("Cannot find it: it is not there. Look elsewhere.")
    assert translated(error, "x") is error


def test_values_are_not_told():
    """Of what the server says, only the first line is told: details hold values."""
    error = psycopg.OperationalError("it failed\nDETAIL: Key (id)=(secret) exists")
    assert "secret" not in str(translated(error, "write"))


def test_what_is_tried_again():
    """Conflicts at once, lost connections on another one; refusals and failures not."""
    conflicts = [errors.DeadlockDetected(), errors.SerializationFailure()]
    lost = [
        errors.AdminShutdown(),
        errors.CannotConnectNow(),
        errors.ConnectionFailure(),
        errors.TooManyConnections(),
        psycopg.OperationalError("server closed the connection unexpectedly"),
        psycopg.InterfaceError("connection is closed"),
    ]
    neither = [
        errors.DiskFull(),
        errors.UniqueViolation(),
        errors.PipelineAborted("pipeline aborted"),
        psycopg.OperationalError('FATAL:  password authentication failed for user "u"'),
    ]
    assert [is_conflict(e) for e in (*conflicts, *lost, *neither)] == [True] * 2 + [False] * 10
    assert [is_lost(e) for e in (*conflicts, *lost, *neither)] == [False] * 2 + [True] * 6 + [False] * 4


@pytest.mark.parametrize(
    ("commits", "fsync", "standbys", "words"),
    [
        ("on", "on", "", "synced to the disk of the server, and of no standby"),
        ("on", "on", "s1", "and of the standbys it waits for"),
        ("remote_apply", "on", "s1", "applied by the standbys"),
        ("remote_write", "on", "s1", "written by the standbys"),
        ("local", "on", "s1", "and of no standby"),
        ("off", "on", "s1", "may take the commits of the last moments"),
        ("on", "off", "s1", "damage the database"),
        ("off", "off", "s1", "damage the database"),
    ],
)
def test_durability_in_words(commits, fsync, standbys, words):
    """What an acknowledgement is worth, for every setting of the server."""
    assert words in durability("18.6", commits, fsync, standbys)
