"""Which database a URL names, and which schema of it is ours."""

import re
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tropism.core.errors import InvalidInputError

SCHEMA_DEFAULT = "tropism"

ANSWER_SECONDS_DEFAULT = 60.0
"""A server that says nothing for so long is taken for gone: longer than any of our transactions takes."""

_SCHEMES = ("postgresql://", "postgres://")
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_DEFAULTS: dict[str, str | int | None] = {
    "connect_timeout": 10,
    "application_name": "tropism",
    # A server that vanished without a word is noticed within seconds, not hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is, by ``name`` without secrets, for people; and whether to ``upgrade`` it."""

    url: str
    conninfo: str
    schema: str
    name: str
    upgrade: bool = True
    answer_seconds: float = ANSWER_SECONDS_DEFAULT

    def __repr__(self) -> str:
        return f"Address({self.name!r})"


def address_of(url: str) -> Address:
    """Read ``postgresql://user@host:port/database?schema=name&answer_seconds=60``, and libpq's parameters.

    Raises: InvalidInputError, which never shows the URL: it may hold a password.
    """
    base, _, query = url.partition("?")
    asked = [pair for pair in query.split("&") if pair]
    schemas = [pair.partition("=")[2] for pair in asked if pair.startswith("schema=")]
    upgrade = "upgrade=no" not in asked
    waits = [pair.partition("=")[2] for pair in asked if pair.startswith("answer_seconds=")]
    own = ("schema=", "answer_seconds=")
    rest = [pair for pair in asked if not pair.startswith(own) and pair != "upgrade=no"]
    schema = schemas[-1] if schemas else SCHEMA_DEFAULT
    if not _SCHEMA.fullmatch(schema):
        raise InvalidInputError(
            f"Cannot open a PostgreSQL database: {schema!r} is no name for a schema. "
            f"Use up to 40 of a-z, 0-9 and _, such as 'schema=tropism'."
        )
    if not base.startswith(_SCHEMES):
        raise _unreadable()
    try:
        found = conninfo_to_dict(f"{base}?{'&'.join(rest)}" if rest else base)
    except psycopg.Error:
        # Not even as its cause: what libpq says of a URL it cannot read may hold the password.
        raise _unreadable() from None
    conninfo = make_conninfo("", **(_DEFAULTS | found))
    answer_seconds = _seconds(waits[-1]) if waits else ANSWER_SECONDS_DEFAULT
    return Address(url, conninfo, schema, _name(found, schema), upgrade, answer_seconds)


def _seconds(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < float("inf"):
        raise InvalidInputError(
            f"Cannot open a PostgreSQL database: answer_seconds is {text!r}, which is no number above 0. "
            f"Write 'answer_seconds=60', or leave it out."
        )
    return found


def _unreadable() -> InvalidInputError:
    return InvalidInputError(
        "Cannot open a PostgreSQL database: its URL is none that libpq reads. "
        "Write 'postgresql://user@host:5432/database', and what is special in a password as '%40'."
    )


def _name(found: dict[str, str | int | None], schema: str) -> str:
    user, host, port = (found.get(part) for part in ("user", "host", "port"))
    who = f"{user}@" if user else ""
    where = f"{host or 'localhost'}{f':{port}' if port else ''}"
    suffix = "" if schema == SCHEMA_DEFAULT else f"?schema={schema}"
    return f"postgresql://{who}{where}/{found.get('dbname') or user or ''}{suffix}"
