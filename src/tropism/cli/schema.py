"""``tropism schema``: what events look like, and whether a change of them may be started."""

from pathlib import Path
from typing import Annotated

import typer

from tropism.cli.options import AppOption, JsonOption
from tropism.cli.work import finish

commands = typer.Typer(
    help="See the schemas of events, and check the app's against those that old events have.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@commands.command("list")
def list_(json: JsonOption = False) -> None:
    """List the event types in the log's registry: versions, mode, and since when."""
    from tropism.cli import schemas

    finish(schemas.print_list(json=json))


@commands.command("show")
def show(
    type: Annotated[
        str, typer.Argument(metavar="TYPE[@N]", help="An event type, or one version.", show_default=False)
    ],
    json: JsonOption = False,
) -> None:
    """Show the JSON Schema of an event type as the registry has it: the newest version, or one."""
    from tropism.cli import schemas

    finish(schemas.print_one(type, json=json))


@commands.command("check")
def check(
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="FILE|URL",
            help="A file that 'export' wrote, or a log; otherwise this log, and ./schemas.json.",
            show_default=False,
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            "--mode",
            metavar="backward|forward|full|none",
            help="Check by this mode; otherwise by what the app says of each type.",
            show_default=False,
        ),
    ] = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Check the app's event types against the schemas that events already have.

    Leaves with code 1, and a table of what would break, if the app could not be started.
    """
    from tropism.cli import schemas

    raise typer.Exit(finish(schemas.check(against, mode, app, json=json)))


@commands.command("export")
def export(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write to this file, such as schemas.json.", show_default=False),
    ] = None,
    app: AppOption = None,
) -> None:
    """Write the schemas of the app's event types as one JSON document, to be checked in.

    A file that is there keeps the versions it has, and gets those that are new.
    """
    from tropism.cli import schemas

    schemas.export(output, app)
