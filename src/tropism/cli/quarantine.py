"""``tropism quarantine``: events that a handler refused to act on."""

from typing import Annotated

import typer

from tropism.cli.options import JsonOption, ServiceOption, YesOption
from tropism.cli.work import finish

commands = typer.Typer(
    help="Look after events that handlers refused to act on.", no_args_is_help=True, rich_markup_mode=None
)
IdsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Ids as 'list' shows them, or unambiguous beginnings.", show_default=False),
]
AllOption = Annotated[bool, typer.Option("--all", help="All events in quarantine, of all services.")]
NoteOption = Annotated[
    str,
    typer.Option("--note", help="What the handler is told of it: who looked, and why.", show_default=False),
]


@commands.command("list")
def list_(service: ServiceOption = None, json: JsonOption = False) -> None:
    """List events in quarantine, with the cause of each."""
    from tropism.cli import letters, shelves

    finish(letters.print_list(shelves.QUARANTINE, service, json=json))


@commands.command("show")
def show(
    id: Annotated[str, typer.Argument(help="Its id, or an unambiguous beginning.", show_default=False)],
    json: JsonOption = False,
) -> None:
    """Show one event in quarantine: why it was refused, and the evidence."""
    from tropism.cli import letters, shelves

    finish(letters.print_one(shelves.QUARANTINE, id, json=json))


@commands.command("release")
def release(
    ids: IdsArgument = None,
    service: ServiceOption = None,
    all: AllOption = False,
    note: NoteOption = "",
    json: JsonOption = False,
) -> None:
    """Hand events in quarantine to their handlers again, marked as released.

    A handler sees the note as 'Envelope.released', and may act on the event now. Leaving the quarantine and
    arriving anew is one commit: an event is never in both places, nor in neither.
    """
    from tropism.cli import letters, shelves

    choice = letters.Choice(shelves.QUARANTINE, tuple(ids or ()), service, all)
    finish(letters.redrive(choice, note=note, json=json))


@commands.command("discard")
def discard(
    ids: IdsArgument = None,
    service: ServiceOption = None,
    all: AllOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Forget events in quarantine for good. The events themselves stay in the log."""
    from tropism.cli import letters, shelves

    choice = letters.Choice(shelves.QUARANTINE, tuple(ids or ()), service, all)
    finish(letters.discard(choice, yes=yes, json=json))
