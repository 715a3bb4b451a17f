"""A process that publishes what outboxes hold, and does nothing else."""

from collections.abc import Sequence

from tropism.app.platform import open_platform, read_settings
from tropism.cli.relaying import relay_all
from tropism.cli.serving import Stop
from tropism.core.errors import InvalidInputError
from tropism.runtime.waiting import first_of


async def run_relay(urls: Sequence[str]) -> int:
    """Publish what outboxes hold until a signal; return the exit code."""
    stop, settings = Stop(), read_settings()
    chosen = tuple(urls) or settings.outbox
    if not chosen:
        raise InvalidInputError(
            "Cannot relay: no outbox is named. Name its database, or write outbox = [...] in tropism.toml."
        )
    async with open_platform(settings) as platform:
        await first_of(stop.asked.wait(), relay_all(chosen, platform))
    return stop.code
