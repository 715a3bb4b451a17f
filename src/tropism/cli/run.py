"""``tropism run``: services at work in this process."""

from typing import Annotated

import typer

from tropism.cli.options import AppOption, DrainOption


def run(
    service: Annotated[
        list[str] | None,
        typer.Option("--service", help="Run only this service; may be repeated.", show_default=False),
    ] = None,
    app: AppOption = None,
    drain_seconds: DrainOption = 30.0,
    list_services: Annotated[
        bool,
        typer.Option(
            "--list", help="Run nothing: print, as JSON, the services and the files each is made of."
        ),
    ] = False,
    lifeline: Annotated[int | None, typer.Option("--lifeline", hidden=True)] = None,
    heartbeat: Annotated[int | None, typer.Option("--heartbeat", hidden=True)] = None,
) -> None:
    """Run the app, or some of its services, until SIGTERM or Ctrl-C.

    All services share one process unless --service picks some: several processes share one store, and
    each service is at work in one of them. The first signal finishes what is in flight and commits it, within
    --drain-seconds; a second one stops at once. Neither loses an event.
    """
    import asyncio

    from tropism.cli import serving
    from tropism.cli.console import print_json
    from tropism.cli.discovery import load_app
    from tropism.cli.heartbeat import Supervised

    supervised = Supervised(lifeline, heartbeat)
    supervised.hold_on()
    found = load_app(app, prints=not list_services)
    if list_services:
        from tropism.cli.sources import files_of_services

        services = {name: [str(p) for p in paths] for name, paths in files_of_services(found).items()}
        print_json({"app": found.name, "services": services})
        return
    services_named = [found.service(name) for name in dict.fromkeys(service or ())] or list(found.services)
    code = asyncio.run(
        serving.serve(found, services_named, drain_seconds=drain_seconds, beat=supervised.beat)
    )
    raise typer.Exit(code)
