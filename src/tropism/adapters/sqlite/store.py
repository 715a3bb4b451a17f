"""A database file: its log, its state and its queues."""

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from tropism.adapters.ends import Ends
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.messages import DEDUP_SECONDS
from tropism.adapters.records import PARTITIONS_DEFAULT
from tropism.adapters.sqlite.address import Options, options_of, path_of, prepare_folder
from tropism.adapters.sqlite.log import SqliteLog
from tropism.adapters.sqlite.queue import SqliteQueue, capabilities_of
from tropism.adapters.sqlite.reader import Reader
from tropism.adapters.sqlite.route import Route
from tropism.adapters.sqlite.schema import format_of, problems_of
from tropism.adapters.sqlite.state import SqliteState
from tropism.adapters.sqlite.wire import QUEUE_NUMBER
from tropism.adapters.stirs import Stirs
from tropism.ports.clock import Clock
from tropism.ports.log import Partition


class SqliteStore:
    """The log, the state and the queues of one database file, in one commit domain.

    Any number of processes may open the file: the first owns it, the others write through it, and one
    of them takes over when it dies. Used from the event loop it was opened in.
    """

    def __init__(
        self,
        path: Path,
        *,
        synced: bool = True,
        upgrade: bool = True,
        partitions_default: int = PARTITIONS_DEFAULT,
        clock: Clock | None = None,
        dedup_seconds: float = DEDUP_SECONDS,
    ) -> None:
        clock = clock or SystemClock()
        name, domain = str(path), f"sqlite:{path}"
        url = f"sqlite:///{path}" if synced else f"sqlite:///{path}?synchronous=normal"
        ends, stirs = Ends(), Stirs(clock)
        self._path = path
        self._route = Route(
            path,
            name,
            partial(_learn, ends, stirs),
            synced=synced,
            upgrade=upgrade,
            partitions_default=partitions_default,
            clock=clock,
            dedup_seconds=dedup_seconds,
        )
        # Two readers: a long replay must not hold up a handler's state.
        self._readers = Reader(path, name), Reader(path, name)
        self.log = SqliteLog(
            self._readers[0],
            self._route.submit,
            ends,
            url=url,
            commit_domain=domain,
            synced=synced,
            sure=lambda: self._route.ends,
        )
        self.state = SqliteState(self._readers[1], self._route.submit, commit_domain=domain)
        capabilities = capabilities_of(
            url=url, commit_domain=domain, synced=synced, dedup_seconds=dedup_seconds
        )
        self.queue = SqliteQueue(self._readers[1], self._route.submit, stirs, clock, capabilities)

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

    async def format(self) -> str:
        """Return, in words, which format the file has."""
        return await asyncio.to_thread(format_of, self._path)

    async def close(self) -> None:
        """Finish what was asked, and give the file back."""
        for reader in self._readers:
            await reader.close()
        await self._route.close()


def _learn(ends: Ends, stirs: Stirs, grown: Mapping[Partition, int]) -> None:
    """Wake who waits for what grew; a new owner tells all there is, so nobody waits for the one before."""
    ends.update({partition: end for partition, end in grown.items() if partition[1] != QUEUE_NUMBER})
    for name, number in grown:
        if number == QUEUE_NUMBER:
            stirs.stir(name)


async def open_sqlite(
    url: str,
    *,
    partitions_default: int = PARTITIONS_DEFAULT,
    clock: Clock | None = None,
    dedup_seconds: float = DEDUP_SECONDS,
) -> SqliteStore:
    """Open ``sqlite:///./relative/file.db`` or ``sqlite:////absolute/file.db``, made where it is missing.

    With ``?synchronous=normal`` commits are not synced one by one: for what can be done again, such as a
    replay. All processes that write to a file must say the same. A file of an older Tropism is upgraded by
    whoever owns it next, unless ``?upgrade=no``. ``clock`` is that of leases and delays.

    Raises: InvalidInputError for a wrong URL or folder; CorruptError for a damaged file;
    NotSupportedError for one of a newer Tropism; UnavailableError if its owner does not answer.
    """
    path = await asyncio.to_thread(prepare_folder, path_of(url))
    options: Options = options_of(url)
    store = SqliteStore(
        path,
        synced=options.synced,
        upgrade=options.upgrade,
        partitions_default=partitions_default,
        clock=clock,
        dedup_seconds=dedup_seconds,
    )
    try:
        await store.wait_open()
    except BaseException:
        await store.close()
        raise
    return store
