"""What a platform lacks and the runtime does instead, by name."""

from collections.abc import Iterable
from math import inf

from tropism.ports.platform import Platform
from tropism.runtime.outbox import commits_together
from tropism.runtime.service import Service


def emulations(services: Iterable[Service], platform: Platform, remember_seconds: float) -> list[str]:
    """Return, in words, how what services are promised is kept where one store cannot keep it."""
    capabilities = platform.log.capabilities
    found: list[str] = []
    if not commits_together(platform):
        found.append(
            f"outbox and relay: log {capabilities.commit_domain!r} and state "
            f"{platform.state.commit_domain!r} do not commit together, so outputs are committed with the "
            f"state, published from there in order, and published first by whoever takes over."
        )
    once = any(h.guarantee == "effectively_once" for service in services for h in service.handlers)
    if once and capabilities.dedup_seconds < inf:
        window = max(remember_seconds, capabilities.dedup_seconds)
        found.append(
            f"remembered ids: the log knows ids for {capabilities.dedup_seconds:g} seconds, services for "
            f"{window:g}; an event that is published again later than that is handled again."
        )
    return found
