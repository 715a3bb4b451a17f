"""An ASGI application on a socket of this process, until it is cancelled."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tropism.core.errors import InvalidInputError, UnavailableError

HEADERS_BYTES_MAX = 32 * 1024
CONNECTIONS_MAX = 1000
GRACE_SECONDS = 5.0
"""How long requests that are under way at the end have to finish."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class _Server(uvicorn.Server):
    """Uvicorn, but for signals: those are for whoever runs this process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def address_of(text: str) -> tuple[str, int]:
    """Return the host and port that a text such as ``127.0.0.1:8080`` names. Raises: InvalidInputError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise InvalidInputError(
            f"Cannot listen on {text!r}: it is not of the form host:port. Write it like '127.0.0.1:8080'."
        )
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches an address."""
    return host in LOOPBACK or host.startswith("127.")


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 is any free one. Raises: UnavailableError."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(where[:2], family=family, backlog=128)
    except OSError as error:
        raise UnavailableError(
            f"Cannot listen on '{host}:{port}': {error.strerror or error}. Name an address of this machine "
            f"that is free."
        ) from error


async def serve(application: Any, listening: socket.socket) -> None:
    """Answer requests until cancelled; those under way then are finished, within a bound."""
    server = _Server(
        uvicorn.Config(
            application,
            # The parser in Python: it bounds what a request's headers take, whatever is installed.
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            h11_max_incomplete_event_size=HEADERS_BYTES_MAX,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=int(GRACE_SECONDS),
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        server.should_exit = True
        await task
        raise
    finally:
        listening.close()
