"""``tropism replay``: a range of the log lived through again, beside the live service."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tropism.cli.options import AppOption, JsonOption


class ServiceFirst(TyperGroup):
    """A group whose commands may be left out: what is none of them is the service to replay."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the usual command in front, where none is named."""
        if args and args[0] not in {*self.commands, "--help", "-h"}:
            args = ["run", *args]
        return super().parse_args(ctx, args)


commands = typer.Typer(
    cls=ServiceFirst,
    help="Run a service's handlers over a range of the log again, apart from the live service.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@commands.command("run")
def run(
    service: Annotated[str, typer.Argument(help="The service whose events are handled again.")],
    start: Annotated[
        str,
        typer.Option(
            "--from", metavar="start|TIME|OFFSET", help="Where to begin. OFFSET may be TOPIC/N:OFFSET,..."
        ),
    ] = "start",
    until: Annotated[
        str,
        typer.Option(
            "--until", metavar="TIME|OFFSET", help="Where to end; otherwise where the log does now."
        ),
    ] = "",
    into: Annotated[
        str,
        typer.Option("--into", metavar="NAME", help="What the replay is called; otherwise as the service."),
    ] = "",
    code: Annotated[
        str,
        typer.Option(
            "--code", metavar="MODULE:ATTRIBUTE", help="Another app, whose handlers are run instead."
        ),
    ] = "",
    state: Annotated[
        str,
        typer.Option(
            "--state",
            metavar="empty|rebuilt|live",
            help="What handlers find: nothing, what all before it gives, or what the live service has now.",
        ),
    ] = "empty",
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="FIELD", help="A field of outputs that may differ."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if outputs differ or events fail.")
    ] = False,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Run a service's handlers over a range of the log again, and compare what they tell with what they told.

    It has a cursor, a state and a log of its own, in .tropism/replays/NAME.db. Nothing reaches the live
    service, its state or the log; decisions of models are read, not made; connections that handlers try to
    open are refused and counted. Repeat the command to go on after an interruption, and end it with
    'tropism replay discard NAME'.
    """
    from tropism.cli.replaying import Order, replay_service
    from tropism.cli.work import finish

    order = Order(service, start, until, into or service, code, state, frozenset(ignore or ()))
    is_same = finish(replay_service(order, app, json=json))
    raise typer.Exit(1 if check and not is_same else 0)


@commands.command("list")
def list_(json: JsonOption = False) -> None:
    """Name the replays of this folder."""
    from tropism.cli.replays import list_replays
    from tropism.cli.work import finish

    finish(list_replays(json=json))


@commands.command("discard")
def discard(
    name: Annotated[str, typer.Argument(help="The replay to remove, with all that it told.")],
    json: JsonOption = False,
) -> None:
    """Remove a replay for good."""
    from tropism.cli.replays import discard_replay

    discard_replay(name, json=json)
