"""Formats of stores: which version one has, who may work with it, and how it came about."""

import logging
from importlib.metadata import version
from typing import NamedTuple

from tropism.core.errors import NotSupportedError
from tropism.core.time import iso

LOGGER = logging.getLogger("tropism")


class Step(NamedTuple):
    """One version of a schema: what it adds to the one before, and which older code may work with it."""

    script: str
    works_with: int


def check_known(name: str, stored: int, known: int, works_with: int | None) -> None:
    """Refuse a store that this code does not know, and that does not say that older code may use it.

    Raises: NotSupportedError.
    """
    if stored > known and (works_with is None or works_with > known):
        raise NotSupportedError(
            f"Cannot open database {name!r}: its schema version is {stored}, this Tropism knows {known}. "
            f"Upgrade Tropism."
        )


def tell_upgrade(name: str, stored: int, known: int) -> None:
    """Say, before it is done, that a store gets a newer format."""
    LOGGER.warning(
        "Database %r is upgraded from schema %d to %d. A Tropism that knows only %d opens it no more: the "
        "way back is a backup made before.",
        name,
        stored,
        known,
        stored,
    )


def program() -> str:
    """Return which Tropism this is."""
    return version("tropism")


def told_format(stored: int, known: int, by: tuple[str, int] | None) -> str:
    """Say which format a store has, who gave it that, and what the next start will do about it."""
    came = f", by tropism {by[0]} at {iso(by[1])}" if by is not None else ""
    if stored < known:
        return f"schema {stored}{came}; the next start upgrades it to {known}: make a backup before"
    newer = f"; this Tropism knows {known}, and may work with it" if stored > known else ""
    return f"schema {stored}{came}{newer}"
