"""Log, state and queues in a PostgreSQL database, in one transaction, shared by any number of processes."""

from tropism.adapters.postgres.store import PostgresStore, open_postgres

__all__ = ["PostgresStore", "open_postgres"]
