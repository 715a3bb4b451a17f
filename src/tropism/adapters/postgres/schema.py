"""The tables and functions of a store: made once, whoever comes first."""

from dataclasses import dataclass
from importlib.resources import files

import psycopg
from psycopg import AsyncConnection

from tropism.adapters.postgres.address import Address
from tropism.adapters.postgres.errors import translated
from tropism.adapters.postgres.link import connect
from tropism.adapters.upgrades import check_known, program, tell_upgrade, told_format
from tropism.core.errors import InvalidInputError, NotSupportedError

SCHEMA_VERSION = 2
"""Stands in the table ``store``; a newer one is refused, unless it says that this code may use it."""

SERVER_VERSION_MIN = 140_000

_SCRIPTS = ("tables.sql", "log.sql", "state.sql", "commit_step.sql", "queue.sql")
_UPGRADES = {2: (("upgrade_2.sql", "commit_step.sql"), 1)}
"""What each later version adds, and which older code may go on working with it."""

_MAKING = 0x54524F50  # "TROP": the advisory lock of those who make a schema
_TAKEN = {"42P07", "42723", "42710"}
# Not to_regclass: it may answer from before the lock was waited for.
_HAS_TABLE = (
    b"SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    b"WHERE n.nspname = %s AND c.relname = %s"
)
_UPGRADED = "SELECT works_with, tropism, at_us FROM {0}.upgrades WHERE version = %s"
_NOTE = (
    "INSERT INTO {0}.upgrades VALUES (%s, %s, %s, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
)
_STANDBYS = {
    "on": "synced to the disk of the server and of the standbys it waits for",
    "remote_apply": "synced to the disk of the server and applied by the standbys it waits for",
    "remote_write": "synced to the disk of the server and written by the standbys it waits for",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an open store: ``domain`` names it, however its URL is spelled."""

    domain: str
    durability: str
    format: str


async def prepare(address: Address) -> Facts:
    """Make what is missing, and return what is known of the store.

    Raises: InvalidInputError if the server refuses the URL; NotSupportedError for a newer schema, another
    program's, or a server that will not do; UnavailableError if it does not answer.
    """
    try:
        connection = await connect(address)
        try:
            await _check_server(connection, address)
            version = await _version(connection, address)
            if version is None or (version < SCHEMA_VERSION and address.upgrade):
                await _make(connection, address)
            return await _facts(connection, address)
        finally:
            await connection.close()
    except psycopg.Error as error:
        raise translated(error, f"open database {address.name!r}") from error


async def _check_server(connection: AsyncConnection, address: Address) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise InvalidInputError(
            f"Cannot open database {address.name!r}: its encoding is {encoding}. "
            f"Create one with ENCODING 'UTF8'."
        )
    if connection.info.server_version < SERVER_VERSION_MIN:
        raise NotSupportedError(
            f"Cannot open database {address.name!r}: its server has version "
            f"{connection.info.server_version // 10_000}. Use PostgreSQL 14 or newer."
        )


async def _version(connection: AsyncConnection, address: Address) -> int | None:
    """Return the version of the store's schema, None where there is none yet."""
    cursor = await connection.execute(_HAS_TABLE, [address.schema, "store"])
    if not await cursor.fetchall():
        return None
    cursor = await connection.execute(f"SELECT version FROM {address.schema}.store".encode())
    version = int((await cursor.fetchall())[0][0])
    newest = await _upgraded(connection, address, version) if version > SCHEMA_VERSION else None
    check_known(address.name, version, SCHEMA_VERSION, None if newest is None else newest[0])
    return version


async def _upgraded(
    connection: AsyncConnection, address: Address, version: int
) -> tuple[int, str, int] | None:
    """Return the oldest version that works with this one, who made it and when; None before version 2."""
    cursor = await connection.execute(_HAS_TABLE, [address.schema, "upgrades"])
    if not await cursor.fetchall():
        return None
    cursor = await connection.execute(_UPGRADED.format(address.schema).encode(), [version])
    rows = await cursor.fetchall()
    return (int(rows[0][0]), str(rows[0][1]), int(rows[0][2])) if rows else None


async def _make(connection: AsyncConnection, address: Address) -> None:
    """Make what is missing, or upgrade what is older: in one transaction, whoever comes first."""
    try:
        async with connection.transaction():
            await connection.execute(b"SELECT pg_advisory_xact_lock(%s)", [_MAKING])
            # Another process may have been faster.
            version = await _version(connection, address)
            if version is None:
                await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {address.schema}".encode())
                await _run(connection, address, *_SCRIPTS)
                await connection.execute(
                    f"INSERT INTO {address.schema}.store VALUES (1, gen_random_uuid())".encode()
                )
            elif version < SCHEMA_VERSION:
                tell_upgrade(address.name, version, SCHEMA_VERSION)
            for number in range((version or 1) + 1, SCHEMA_VERSION + 1):
                await _upgrade(connection, address, number)
    except psycopg.Error as error:
        if error.sqlstate not in _TAKEN:
            raise
        raise NotSupportedError(
            f"Cannot open database {address.name!r}: its schema {address.schema!r} holds another program's "
            f"tables. Name another one with '?schema='."
        ) from error


async def _upgrade(connection: AsyncConnection, address: Address, number: int) -> None:
    scripts, works_with = _UPGRADES[number]
    await _run(connection, address, *scripts)
    await connection.execute(_NOTE.format(address.schema).encode(), [number, works_with, program()])
    await connection.execute(f"UPDATE {address.schema}.store SET version = {number}".encode())


async def _run(connection: AsyncConnection, address: Address, *scripts: str) -> None:
    folder = files("tropism.adapters.postgres") / "sql"
    for name in scripts:
        script = (folder / name).read_text("utf-8").replace(":schema", address.schema)
        await connection.execute(script.encode())


async def _facts(connection: AsyncConnection, address: Address) -> Facts:
    cursor = await connection.execute(
        b"SELECT current_database(), current_setting('synchronous_commit'), current_setting('fsync'), "
        b"current_setting('synchronous_standby_names'), current_setting('server_version'), s.id::text FROM "
        + f"{address.schema}.store s".encode()
    )
    database, commits, fsync, standbys, version, id = (await cursor.fetchall())[0]
    stored = await _version(connection, address) or 0
    newest = await _upgraded(connection, address, stored)
    return Facts(
        f"postgresql:{database}/{address.schema}/{id}",
        durability(version, commits, fsync, standbys),
        told_format(stored, SCHEMA_VERSION, None if newest is None else newest[1:]),
    )


def durability(version: str, commits: str, fsync: str, standbys: str) -> str:
    """Say what a server's settings mean for what was acknowledged."""
    settings = f"PostgreSQL {version} with synchronous_commit={commits} and fsync={fsync}"
    if fsync != "on":
        return (
            f"{settings}: what was acknowledged survives kill -9 of its writer; a power loss may take any of "
            f"it and damage the database."
        )
    if commits == "off":
        return (
            f"{settings}: what was acknowledged survives kill -9 of its writer; a crash of the server or a "
            f"power loss may take the commits of the last moments, each of them wholly."
        )
    alone = "synced to the disk of the server, and of no standby"
    return (
        f"{settings}: what was acknowledged is {_STANDBYS.get(commits, alone) if standbys else alone}; "
        f"it survives kill -9 and, where the disk honours fsync, power loss."
    )
