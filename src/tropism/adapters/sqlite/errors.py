"""SQLite's errors as ours, by what the caller should do."""

import sqlite3

from tropism.core.errors import CorruptError, InvalidInputError, TropismError, UnavailableError

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REMEDIES = {
    sqlite3.SQLITE_FULL: "Free some space on its disk, then try again.",
    sqlite3.SQLITE_IOERR: "Check its disk and its free space, then try again.",
    sqlite3.SQLITE_BUSY: "Stop the other program that writes to it, then try again.",
    sqlite3.SQLITE_READONLY: "Make the file and its folder writable, then try again.",
    sqlite3.SQLITE_CANTOPEN: "Check that its folder exists and may be entered, then try again.",
    sqlite3.SQLITE_CONSTRAINT: "Stop the other program that writes to it, then try again.",
}


def translated(error: Exception, what: str) -> TropismError:
    """Return an error of SQLite, or of passing values to it, as one of ours.

    ``what`` completes "Cannot ...", such as "append to 'x.db'".
    """
    if isinstance(error, TropismError):
        return error
    fact = str(error).rstrip(".") or type(error).__name__
    if not isinstance(error, sqlite3.Error) or isinstance(
        error, (sqlite3.InterfaceError, sqlite3.ProgrammingError)
    ):
        return InvalidInputError(f"Cannot {what}: {fact}. Pass values of the declared types.")
    # Extended codes carry the primary one in their low byte.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _CORRUPT or "decode to UTF-8" in fact:
        return CorruptError(
            f"Cannot {what}: {fact}. Restore the file from a backup, or save what can be read with "
            f"'sqlite3 FILE .recover'."
        )
    return UnavailableError(f"Cannot {what}: {fact}. {_REMEDIES.get(code, 'Try again.')}")
