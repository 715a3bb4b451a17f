"""Where a NATS server is, and how its streams are to be made: what ``nats://`` URLs say."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from tropism.core.errors import InvalidInputError

PORT = 4222
TRUTHS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed ``nats://`` URL. Its text never shows who connects, nor with what.

    ``prefix`` begins the names of all streams and subjects. ``dedup_seconds`` is how long a stream that is
    made here remembers ids. ``sync`` says what the servers' configuration says: no client can ask them.
    ``atomic`` may forbid atomic batches to servers that have them. ``mode`` is that of CloudEvents.
    """

    servers: tuple[str, ...]
    user: str | None = None
    password: str | None = None
    token: str | None = None
    creds: str | None = None
    tls: bool = False
    prefix: str = "tropism"
    dedup_seconds: float = 120.0
    timeout_seconds: float = 5.0
    replicas: int = 1
    partitions: int = 4
    sync: str = "interval"
    atomic: bool = True
    mode: str = "binary"

    def __str__(self) -> str:
        """Name the servers, and nothing else."""
        return f"nats://{','.join(self.servers)}"

    __repr__ = __str__


def parse(url: str) -> Address:
    """Return what a URL ``nats://[user:password@]host[:port][,host[:port]…][?option=value&…]`` says.

    Raises: InvalidInputError, which never quotes the URL, for it may hold a password.
    """
    scheme, _, rest = url.partition("://")
    whole, _, query = rest.partition("?")
    credentials, _, hosts = whole.rpartition("@")
    found: dict[str, Any] = {"servers": tuple(_server(host) for host in hosts.rstrip("/").split(","))}
    if scheme != "nats" or not hosts:
        raise _wrong(f"{hosts!r} is no list of servers")
    user, colon, password = credentials.partition(":")
    if colon:
        found |= {"user": unquote(user), "password": unquote(password)}
    elif user:
        raise _wrong("a user stands there without a password; a token is written '?token=...'")
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise _wrong(f"{name!r} is none of {sorted(_OPTIONS)}")
        found[name] = _OPTIONS[name](name, text)
    return Address(**found)


def _server(host: str) -> str:
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        return f"{host}:{PORT}"
    if not name or not port.isdigit():
        raise _wrong(f"{host!r} is no server")
    return host


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise _wrong(f"{name} is {text!r}, which is no number above 0")
    return number


def _count(name: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise _wrong(f"{name} is {text!r}, which is no count above 0")
    return int(text)


def _one_of(*known: str) -> Any:
    def choose(name: str, text: str) -> str:
        if text not in known:
            raise _wrong(f"{name} is {text!r}, which is none of {list(known)}")
        return text

    return choose


def _truth(name: str, text: str) -> bool:
    if text not in TRUTHS:
        raise _wrong(f"{name} is {text!r}, which is none of {list(TRUTHS)}")
    return TRUTHS[text]


def _prefix(name: str, text: str) -> str:
    if not text or not all(c.isascii() and (c.isalnum() or c in "-_") for c in text):
        raise _wrong(f"{name} is {text!r}, which is not letters, digits, '-' and '_' alone")
    return text


def _text(_: str, text: str) -> str:
    return text


_OPTIONS: dict[str, Any] = {
    "prefix": _prefix,
    "dedup_seconds": _number,
    "timeout_seconds": _number,
    "replicas": _count,
    "partitions": _count,
    "sync": _one_of("interval", "always"),
    "atomic": _truth,
    "mode": _one_of("binary", "structured"),
    "tls": _truth,
    "token": _text,
    "creds": _text,
}


def _wrong(fact: str) -> InvalidInputError:
    return InvalidInputError(f"Cannot open a NATS URL: {fact}. Write 'nats://host:4222?prefix=tropism'.")
