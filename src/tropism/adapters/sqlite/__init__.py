"""Log and state in one SQLite file: durable, transactional, and open to several processes."""

from tropism.adapters.sqlite.schema import problems_of
from tropism.adapters.sqlite.store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "open_sqlite", "problems_of"]
