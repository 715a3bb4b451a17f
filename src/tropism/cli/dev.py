"""``tropism dev``: every service in a process of its own, watched, restarted and reloaded."""

import re
from typing import Annotated

import typer

from tropism.cli.options import AppOption, DrainOption

_UNITS = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


def _bytes(text: str) -> int:
    found = re.fullmatch(r"(\d+)([KMG]?)(i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no size; write it like 512M or 2G")
    return int(found[1]) * _UNITS[found[2].upper()]


def dev(
    app: AppOption = None,
    drain_seconds: DrainOption = 10.0,
    hang_seconds: Annotated[
        float,
        typer.Option(
            "--hang-seconds", min=1.0, help="Restart a service whose event loop stood still so long."
        ),
    ] = 15.0,
    memory_max: Annotated[
        str | None,
        typer.Option("--memory-max", metavar="SIZE", help="Restart a service that holds more, such as 512M."),
    ] = None,
    backoff_max: Annotated[
        float,
        typer.Option("--backoff-max", min=0.1, metavar="SECONDS", help="The longest pause before a restart."),
    ] = 30.0,
    reload: Annotated[bool, typer.Option(help="Restart services whose source files change.")] = True,
) -> None:
    """Run every service of the app in a process of its own, and look after them.

    This process owns the store and runs no code of the app. A service that crashes, hangs or outgrows its
    memory is started again, after pauses that double; the others do not notice. When source files change, the
    services made of them restart and the others go on; code that cannot be imported is reported, and the
    running services are kept. SIGTERM or Ctrl-C finishes what is in flight everywhere; a second one stops
    at once. No service outlives this process.
    """
    import asyncio

    from tropism.cli.supervisor import Options, supervise

    options = Options(
        app=app,
        drain_seconds=drain_seconds,
        hang_seconds=hang_seconds,
        memory_bytes_max=None if memory_max is None else _bytes(memory_max),
        backoff_seconds_max=backoff_max,
        reload=reload,
    )
    raise typer.Exit(asyncio.run(supervise(options)))
