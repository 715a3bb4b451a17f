"""A schema of a database: its log, its state and its queues."""

from tropism.adapters.ends import Ends
from tropism.adapters.local.clock import SystemClock
from tropism.adapters.postgres.address import Address, address_of
from tropism.adapters.postgres.batch import Topics
from tropism.adapters.postgres.link import RECONNECT_SECONDS
from tropism.adapters.postgres.listener import LOOK_SECONDS, Announcer, Listener
from tropism.adapters.postgres.log import PostgresLog
from tropism.adapters.postgres.queue import PostgresQueue
from tropism.adapters.postgres.reader import Reader
from tropism.adapters.postgres.schema import Facts, prepare
from tropism.adapters.postgres.state import PostgresState
from tropism.adapters.postgres.writer import Writer
from tropism.adapters.records import PARTITIONS_DEFAULT
from tropism.adapters.stirs import Stirs

_LOG_CONNECTIONS = 2
_STATE_CONNECTIONS = 2


class PostgresStore:
    """The log, the state and the queues of one schema, in one commit domain, open to any number of processes.

    It holds up to six connections. Used from the event loop it was opened in.
    """

    def __init__(
        self,
        address: Address,
        facts: Facts,
        *,
        partitions_default: int = PARTITIONS_DEFAULT,
        look_seconds: float = LOOK_SECONDS,
        reconnect_seconds: float = RECONNECT_SECONDS,
    ) -> None:
        ends, topics, stirs = Ends(), Topics(partitions_default), Stirs(SystemClock())
        self._facts = facts
        self._writer = Writer(address, reconnect_seconds=reconnect_seconds)
        # Readers apart: a long replay must not hold up a handler's state.
        self._readers = (
            Reader(address, _LOG_CONNECTIONS, reconnect_seconds=reconnect_seconds),
            Reader(address, _STATE_CONNECTIONS, reconnect_seconds=reconnect_seconds),
        )
        self._announcer = Announcer(address, self._readers[1])
        self._listener = Listener(address, ends, stirs.stir, look_seconds=look_seconds)
        self.log = PostgresLog(
            address,
            facts,
            self._writer,
            self._readers[0],
            ends=ends,
            announcer=self._announcer,
            topics=topics,
        )
        self.state = PostgresState(
            address,
            self._writer,
            self._readers[1],
            commit_domain=facts.domain,
            topics=topics,
            grew=self.log.grew,
        )
        self.queue = PostgresQueue(
            address,
            facts,
            self._writer,
            self._readers[1],
            announcer=self._announcer,
            stirs=stirs,
        )

    async def format(self) -> str:
        """Return, in words, which format the store had when it was opened."""
        return self._facts.format

    async def close(self) -> None:
        """Finish what was asked, and give the connections back."""
        await self._writer.close()
        await self._announcer.close()
        await self._listener.close()
        for reader in self._readers:
            await reader.close()


async def open_postgres(url: str, *, partitions_default: int = PARTITIONS_DEFAULT) -> PostgresStore:
    """Open ``postgresql://user@host:port/database``; its tables are made where they are missing.

    ``?schema=name`` names their schema, ``tropism`` unless said; tables of an older Tropism are upgraded,
    unless ``?upgrade=no``; all else is libpq's.

    Raises: InvalidInputError for a wrong URL, or one that the server refuses; NotSupportedError for a
    schema of a newer Tropism or of another program; UnavailableError if the server does not answer.
    """
    address = address_of(url)
    return PostgresStore(address, await prepare(address), partitions_default=partitions_default)
