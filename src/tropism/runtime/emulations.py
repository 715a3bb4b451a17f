"""What a platform lacks and the runtime does instead, by name."""

from collections.abc import Iterable

from tropism.ports.platform import Platform
from tropism.runtime.needs import Site, findings, needs_of
from tropism.runtime.service import Service


def emulations(services: Iterable[Service], platform: Platform, remember_seconds: float) -> list[str]:
    """Return, in words, how what services are promised is kept where one store cannot keep it."""
    found = findings(needs_of(services), site_of(platform, remember_seconds))
    return [each.words for each in found if each.how == "emulated"]


def site_of(platform: Platform, remember_seconds: float) -> Site:
    """Return what of a platform decides how needs are met."""
    return Site(platform.log.capabilities, platform.state.commit_domain, remember_seconds)
