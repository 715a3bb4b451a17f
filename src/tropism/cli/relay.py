"""``tropism relay``: other programs' events, from their databases to the log."""

from typing import Annotated

import typer


def relay(
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[URL]...",
            help="Databases with an outbox, as in postgresql://user@host/shop; else those of tropism.toml.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Publish what transactions of other programs left in their outboxes, until SIGTERM or Ctrl-C.

    'tropism run' does so too for those that tropism.toml names. Of several processes one is at work on an
    outbox, and another takes over when it is gone; nothing is lost by that, and ids tell what comes twice.
    """
    import asyncio

    from tropism.cli.relay_alone import run_relay

    raise typer.Exit(asyncio.run(run_relay(urls or ())))
