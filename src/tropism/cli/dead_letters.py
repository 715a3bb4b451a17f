"""``tropism dead-letters``: events that a handler gave up on."""

from typing import Annotated

import typer

from tropism.cli.options import JsonOption, ServiceOption, YesOption
from tropism.cli.work import finish

commands = typer.Typer(
    help="Look after events that handlers gave up on.", no_args_is_help=True, rich_markup_mode=None
)
IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Ids as 'list' shows them, or unambiguous beginnings.", show_default=False),
]
AllOption = Annotated[bool, typer.Option("--all", help="All dead letters, of all services.")]


@commands.command("list")
def list_(service: ServiceOption = None, json: JsonOption = False) -> None:
    """List dead letters, with the cause of each."""
    from tropism.cli import letters, shelves

    finish(letters.print_list(shelves.DEAD, service, json=json))


@commands.command("show")
def show(
    id: Annotated[str, typer.Argument(help="Its id, or an unambiguous beginning.", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Show one dead letter: its event, cause and history."""
    from tropism.cli import letters, shelves

    finish(letters.print_one(shelves.DEAD, id, json=json))


@commands.command("redrive")
def redrive(
    ids: IdsArgument = None, service: ServiceOption = None, all: AllOption = False, json: JsonOption = False
) -> None:
    """Hand dead letters to their handlers again, as new arrivals.

    Do it after mending the handler. Leaving the dead letters and arriving anew is one commit: an event is
    never in both places, nor in neither.
    """
    from tropism.cli import letters, shelves

    choice = letters.Choice(shelves.DEAD, tuple(ids or ()), service, all)
    finish(letters.redrive(choice, json=json))


@commands.command("discard")
def discard(
    ids: IdsArgument = None,
    service: ServiceOption = None,
    all: AllOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Forget dead letters for good. The events themselves stay in the log."""
    from tropism.cli import letters, shelves

    choice = letters.Choice(shelves.DEAD, tuple(ids or ()), service, all)
    finish(letters.discard(choice, yes=yes, json=json))
