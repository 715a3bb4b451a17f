"""Taking CloudEvents over HTTP, beside services or alone."""

import os
from dataclasses import dataclass, field

from tropism.app.app import App
from tropism.cli.console import say
from tropism.cli.discovery import types_of
from tropism.cli.serving import Beside
from tropism.core.errors import InvalidInputError, NotFoundError, NotSupportedError
from tropism.ports.platform import Platform

TOKEN = "TROPISM_HTTP_TOKEN"  # noqa: S105 (the name of a variable)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where to listen, for what, and with which token."""

    host: str
    port: int
    accepts: frozenset[str] | None
    token: str | None = field(repr=False)


def wanted_by(
    app: App, address: str | None, accepts: list[str] | None, *, open_to_all: bool
) -> Wanted | None:
    """Return what the options ask for, None for nothing.

    Raises: InvalidInputError for no address, or one that others reach without a token; NotFoundError for a
    type that the app does not know; NotSupportedError without the extra.
    """
    if address is None:
        return None
    try:
        from tropism.adapters.http.serving import address_of, is_loopback
    except ImportError as error:
        raise NotSupportedError(
            f"Cannot listen on {address!r}: {error.name!r} is not installed. Run pip install 'tropism[http]'."
        ) from error
    host, port = address_of(address)
    token = os.environ.get(TOKEN) or None
    if token is None and not is_loopback(host) and not open_to_all:
        raise InvalidInputError(
            f"Cannot listen on {address!r}: whoever reaches it could publish, for {TOKEN} is not set. "
            f"Set it, or pass --http-open where something in front of it checks who comes."
        )
    types = types_of(app).types
    unknown = sorted(set(accepts or ()) - set(types))
    if unknown:
        raise NotFoundError(
            f"Cannot accept event type {unknown[0]!r}: the app does not know it. "
            f"Name one of {sorted(name for name in types if not name.startswith('tropism.'))}."
        )
    return Wanted(host, port, frozenset(accepts) if accepts else None, token)


def beside(app: App, wanted: Wanted | None) -> Beside | None:
    """Return what takes events on a platform until it is cancelled, None where none are wanted."""
    if wanted is None:
        return None
    chosen = wanted

    async def take(platform: Platform) -> None:
        await take_events(app, platform, chosen)

    return take


async def take_events(app: App, platform: Platform, wanted: Wanted) -> None:
    """Take CloudEvents until cancelled. Raises: UnavailableError if the address is not free."""
    from tropism.adapters.http.ingress import PATH, Ingress, IngressOptions
    from tropism.adapters.http.serving import listen, serve

    options = IngressOptions(
        token=wanted.token,
        accepts=wanted.accepts,
        sources=frozenset(service.name for service in app.services),
    )
    ingress = Ingress(platform.log, types_of(app), platform.clock, options)
    listening = listen(wanted.host, wanted.port)
    host = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
    say(f"Taking CloudEvents at http://{host}:{listening.getsockname()[1]}{PATH}.")
    await serve(ingress, listening)
