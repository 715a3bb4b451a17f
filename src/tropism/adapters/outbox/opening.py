"""Opening the outbox that a URL names, for the relay."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tropism.core.errors import NotSupportedError
from tropism.ports.opening import without_secrets
from tropism.ports.outgoing import Outgoing


@asynccontextmanager
async def open_outgoing(url: str) -> AsyncIterator[Outgoing]:
    """Open the outbox in a database, and close it at the end.

    Raises: NotSupportedError for an unknown scheme or a missing extra.
    """
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from tropism.adapters.outbox.sqlite import SqliteOutgoing  # noqa: PLC0415 (only what is asked for)

        lite = SqliteOutgoing(url)
        try:
            yield lite
        finally:
            await lite.close()
        return
    if scheme not in {"postgresql", "postgres"}:
        raise NotSupportedError(
            f"Cannot open outbox {without_secrets(url)!r}: outboxes are in postgresql and sqlite. "
            f"Write a URL such as 'postgresql://user@host/database'."
        )
    try:
        from tropism.adapters.outbox.postgres import PostgresOutgoing  # noqa: PLC0415 (only what is asked for)
    except ImportError as error:
        raise NotSupportedError(
            f"Cannot open outbox {without_secrets(url)!r}: it needs {error.name!r}, which is not installed. "
            f"Run pip install 'tropism[postgres]'."
        ) from error
    post = PostgresOutgoing(url)
    try:
        yield post
    finally:
        await post.close()
