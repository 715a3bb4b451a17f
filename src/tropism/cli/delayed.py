"""``tropism events delayed``: events that are published later."""

from typing import Annotated

import typer

from tropism.cli.options import AppOption, JsonOption, ServiceOption
from tropism.cli.work import finish

commands = typer.Typer(
    help="Look after events that are published later.", no_args_is_help=True, rich_markup_mode=None
)


@commands.command("list")
def list_(
    service: ServiceOption = None,
    type: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type; may be repeated.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Only what was decided under this key.", show_default=False)
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="Of each service, at most so many.")
    ] = 100,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """List events that services keep until they are due, the next ones first."""
    from tropism.cli import postponed

    finish(postponed.print_list(postponed.Wanted(service, tuple(type or ()), key, count), app, json=json))


@commands.command("cancel")
def cancel(
    ids: Annotated[
        list[str],
        typer.Argument(help="Ids as 'list' shows them, or unambiguous beginnings.", show_default=False),
    ],
    service: ServiceOption = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Cancel events that are not published yet.

    Of a service that is not at work they are taken away at once. A service 'delayed' that is at work is asked
    to, and publishes what was due before it was asked; the handlers of others decide by themselves, so stop
    such a service first.
    """
    from tropism.cli import postponed

    finish(postponed.cancel(tuple(ids), service, app, json=json))
