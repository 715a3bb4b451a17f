"""PostgreSQL's errors as ours, by what the caller should do."""

from struct import error as StructError  # noqa: N812 (struct's only error, named like what it is)

import psycopg

from tropism.core.errors import CorruptError, InvalidInputError, TropismError, UnavailableError

_CONFLICTS = {"40001", "40P01"}
_LOST = {"57P01", "57P02", "57P03", "57P05", "53300", "25006", "25P02", "25P03"}
"""The server ends connections, starts, stops, has too many, or became a standby: to be tried again."""

_REMEDIES = {
    "53100": "Free some space on the server's disk, then try again.",
    "53200": "Give the server more memory, then try again.",
    "53300": "Raise max_connections, or stop other programs that hold connections, then try again.",
    "25006": "Name the primary in the URL, or add 'target_session_attrs=read-write', then try again.",
    "57014": "Raise the role's statement_timeout, then try again.",
    "58030": "Check the server's disk, then try again.",
}

_REFUSALS = (
    ("password authentication failed", "Correct the user or the password in the URL."),
    ("no password supplied", "Put a password into the URL, or into PGPASSWORD or a passfile."),
    ("pg_hba.conf", "Allow this user and host in the server's pg_hba.conf, or name others."),
    ("does not exist", "Create it, or name one that exists."),
    ("permission denied", "Grant it, or name another user."),
    ("certificate", "Correct the URL's ssl parameters, or the certificates they name."),
    ("does not support SSL", "Change the URL's sslmode, or enable SSL on the server."),
)
"""What a server says to a connection that it will never take: libpq gives no code for these."""


def is_conflict(error: psycopg.Error) -> bool:
    """Say whether transactions stood in each other's way, so that this one may be tried again at once."""
    return error.sqlstate in _CONFLICTS


def is_lost(error: psycopg.Error) -> bool:
    """Say whether the connection is gone or was not made, though another one may succeed."""
    if isinstance(error, psycopg.errors.PipelineAborted):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not _refusal(error)
    return error.sqlstate.startswith("08") or error.sqlstate in _LOST


def translated(error: Exception, what: str) -> TropismError:
    """Return an error of PostgreSQL, or of passing values to it, as one of ours.

    ``what`` completes "Cannot ...". Only the first line of the server's message is told: the others may
    hold values.
    """
    if isinstance(error, TropismError):
        return error
    fact = fact_of(error)
    if not isinstance(error, psycopg.Error):
        return InvalidInputError(f"Cannot {what}: {fact}. Pass values of the declared types.")
    remedy = _refusal(error)
    if remedy:
        return InvalidInputError(f"Cannot {what}: {fact}. {remedy}")
    return _by_code(error, what, fact)


def _by_code(error: psycopg.Error, what: str, fact: str) -> TropismError:
    code = error.sqlstate or ""
    if code[:2] in {"22", "54"} or (not code and isinstance(error, psycopg.DataError)):
        return InvalidInputError(f"Cannot {what}: {fact}. Pass shorter or smaller values.")
    if code[:2] == "28" or code in {"3D000", "42501"}:
        return InvalidInputError(f"Cannot {what}: {fact}. Grant it, or correct the URL.")
    if code[:2] in {"XX", "42"} or code == "3F000":
        # Damaged, or without the tables and functions that were made when it was opened.
        return CorruptError(f"Cannot {what}: {fact}. Restore the database from a backup.")
    return UnavailableError(f"Cannot {what}: {fact}. {_REMEDIES.get(code, 'Try again.')}")


def fact_of(error: Exception) -> str:
    """Return what happened, in one line without values."""
    if isinstance(error, StructError | OverflowError):
        return "an integer is beyond 64 bits"
    said = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    lines = (said or str(error)).strip().splitlines()
    # A failed connection says a line for each address it tried, and hints between them: the last is told.
    failures = [line for line in lines if "failed" in line or "FATAL" in line]
    fact = "".join((failures or lines[:1])[-1:]).strip().rstrip(".")
    return fact or type(error).__name__


def _refusal(error: psycopg.Error) -> str | None:
    if error.sqlstate is not None or not isinstance(error, psycopg.OperationalError):
        return None
    text = str(error)
    return next((remedy for words, remedy in _REFUSALS if words in text), None)
