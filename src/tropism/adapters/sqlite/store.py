"""A database file: its log and its state."""

import asyncio
from pathlib import Path

from tropism.adapters.ends import Ends
from tropism.adapters.records import PARTITIONS_DEFAULT
from tropism.adapters.sqlite.address import is_synced, path_of, prepare_folder
from tropism.adapters.sqlite.log import SqliteLog
from tropism.adapters.sqlite.reader import Reader
from tropism.adapters.sqlite.route import Route
from tropism.adapters.sqlite.schema import problems_of
from tropism.adapters.sqlite.state import SqliteState


class SqliteStore:
    """The log and the state of one database file, in one commit domain.

    Any number of processes may open the file: the first owns it, the others write through it, and one
    of them takes over when it dies. Used from the event loop it was opened in.
    """

    def __init__(
        self, path: Path, *, synced: bool = True, partitions_default: int = PARTITIONS_DEFAULT
    ) -> None:
        name, domain = str(path), f"sqlite:{path}"
        url = f"sqlite:///{path}" if synced else f"sqlite:///{path}?synchronous=normal"
        ends = Ends()
        self._path = path
        self._route = Route(path, name, ends, synced=synced, partitions_default=partitions_default)
        # Two readers: a long replay must not hold up a handler's state.
        self._readers = Reader(path, name), Reader(path, name)
        self.log = SqliteLog(
            self._readers[0], self._route.submit, ends, url=url, commit_domain=domain, synced=synced
        )
        self.state = SqliteState(self._readers[1], self._route.submit, commit_domain=domain)

    @property
    def owns(self) -> bool:
        """Whether this process owns the file now."""
        return self._route.owns

    def owner(self) -> str:
        """Return who owns the file now, in words."""
        return self._route.owner()

    async def wait_open(self) -> None:
        """Return once reads and writes are possible."""
        await self._route.wait_open()

    async def problems(self) -> list[str]:
        """Return what is wrong with the file, for ``tropism doctor``: nothing, where it is sound."""
        return await asyncio.to_thread(problems_of, self._path)

    async def close(self) -> None:
        """Finish what was asked, and give the file back."""
        for reader in self._readers:
            await reader.close()
        await self._route.close()


async def open_sqlite(url: str, *, partitions_default: int = PARTITIONS_DEFAULT) -> SqliteStore:
    """Open ``sqlite:///./relative/file.db`` or ``sqlite:////absolute/file.db``, made where it is missing.

    With ``?synchronous=normal`` commits are not synced one by one: for what can be done again, such as a
    replay. All processes that write to a file must say the same.

    Raises: InvalidInputError for a wrong URL or folder; CorruptError for a damaged file;
    NotSupportedError for one of a newer Tropism; UnavailableError if its owner does not answer.
    """
    path = await asyncio.to_thread(prepare_folder, path_of(url))
    store = SqliteStore(path, synced=is_synced(url), partitions_default=partitions_default)
    try:
        await store.wait_open()
    except BaseException:
        await store.close()
        raise
    return store
