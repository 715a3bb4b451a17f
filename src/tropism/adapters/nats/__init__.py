"""NATS JetStream: a log on one server or a cluster."""

from tropism.adapters.nats.address import parse
from tropism.adapters.nats.log import NatsLog, open_log

__all__ = ["NatsLog", "open_nats"]


async def open_nats(url: str) -> NatsLog:
    """Open ``nats://host:port``.

    Raises: InvalidInputError for a URL that says something else; UnavailableError if no server answers.
    """
    return await open_log(parse(url), url)
