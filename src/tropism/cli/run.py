"""``tropism run``: services at work in this process."""

from typing import TYPE_CHECKING, Annotated

import typer

from tropism.cli.options import AppOption, DrainOption, HttpAcceptOption, HttpOpenOption, HttpOption

if TYPE_CHECKING:
    from tropism.app.app import App

ListOption = Annotated[
    bool,
    typer.Option("--list", help="Run nothing: print, as JSON, the services and the files each is made of."),
]
WorkersOption = Annotated[
    int, typer.Option("--workers", min=1, help="Run so many processes that share the keys.")
]
AutoscaleOption = Annotated[
    int | None,
    typer.Option(
        "--autoscale",
        min=1,
        metavar="MAX",
        help="Let workers come and go, up to so many, by the time it takes to catch up.",
        show_default=False,
    ),
]
CatchUpOption = Annotated[
    float, typer.Option("--catch-up-seconds", min=1.0, help="Within which --autoscale wants no backlog.")
]


def run(
    service: Annotated[
        list[str] | None,
        typer.Option("--service", help="Run only this service; may be repeated.", show_default=False),
    ] = None,
    app: AppOption = None,
    drain_seconds: DrainOption = 30.0,
    list_services: ListOption = False,
    workers: WorkersOption = 1,
    autoscale: AutoscaleOption = None,
    catch_up_seconds: CatchUpOption = 30.0,
    http: HttpOption = None,
    http_accept: HttpAcceptOption = None,
    http_open: HttpOpenOption = False,
    share: Annotated[str, typer.Option("--share", hidden=True)] = "0/1",
    lifeline: Annotated[int | None, typer.Option("--lifeline", hidden=True)] = None,
    heartbeat: Annotated[int | None, typer.Option("--heartbeat", hidden=True)] = None,
) -> None:
    """Run the app, or some of its services, until SIGTERM or Ctrl-C.

    All services share one process unless --service picks some: several processes share one store, and
    each service is at work in one of them. With --workers, several processes have the same services at
    work, each with the keys that are its share; one that dies is started again. The first signal finishes
    what is in flight and commits it, within --drain-seconds; a second one stops at once. Neither loses an
    event. With --http, CloudEvents that are posted to /events at that address are stored as well.
    """
    import asyncio

    from tropism.cli import serving
    from tropism.cli.discovery import load_app
    from tropism.cli.heartbeat import Supervised
    from tropism.cli.ingress import beside, wanted_by

    supervised = Supervised(lifeline, heartbeat)
    supervised.hold_on()
    found = load_app(app, prints=not list_services)
    if list_services:
        _print_services(found)
        return
    services_named = [found.service(name) for name in dict.fromkeys(service or ())] or list(found.services)
    more = beside(found, wanted_by(found, http, http_accept, open_to_all=http_open))
    if workers > 1 or autoscale is not None:
        from tropism.cli.workers import run_workers
        from tropism.runtime.scaling import Scaling

        scaling = None if autoscale is None else Scaling(workers, autoscale, catch_up_seconds)
        running = run_workers(
            found, services_named, workers, scaling, path=app, drain_seconds=drain_seconds, beside=more
        )
    else:
        beat, mine = supervised.beat, _share(share)
        running = serving.serve(
            found, services_named, share=mine, drain_seconds=drain_seconds, beat=beat, beside=more
        )
    raise typer.Exit(asyncio.run(running))


def _print_services(app: "App") -> None:
    from tropism.cli.console import print_json
    from tropism.cli.sources import files_of_services

    services = {name: [str(p) for p in paths] for name, paths in files_of_services(app).items()}
    print_json({"app": app.name, "services": services})


def _share(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    return int(index), int(count)
