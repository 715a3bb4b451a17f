"""``tropism models``: versions, how they came about, and orders to the loop."""

from typing import Annotated

import typer

from tropism.cli.options import AppOption, JsonOption
from tropism.cli.work import finish

commands = typer.Typer(
    help="See what models are made of and decided, and give their loops orders.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A model.", show_default=False)]
VersionArgument = Annotated[
    str, typer.Argument(metavar="NAME@N", help="A version of a model.", show_default=False)
]
ByOption = Annotated[
    str | None, typer.Option("--by", help="Who orders it; you, by default.", show_default=False)
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until it is done or refused.")]
TimeoutOption = Annotated[float, typer.Option("--timeout-seconds", min=0.0, help="How long to wait at most.")]


@commands.command("list")
def list_(json: JsonOption = False) -> None:
    """List the versions of every model, and where each stands."""
    from tropism.cli import versions

    finish(versions.print_list(json=json))


@commands.command("show")
def show(
    version: Annotated[
        str, typer.Argument(metavar="NAME[@N]", help="A model, or one version.", show_default=False)
    ],
    at: Annotated[
        str | None,
        typer.Option(
            "--at", help="Who decided at this instant, such as 2026-01-31T12:00.", show_default=False
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show who decides now, or at an instant, or all about one version."""
    from tropism.cli import versions

    finish(versions.print_one(version, at, json=json))


@commands.command("history")
def history(name: NameArgument, json: JsonOption = False) -> None:
    """Show every step of a model's loop: when, why, by whom, and from when it held."""
    from tropism.cli import versions

    finish(versions.print_history(name, json=json))


@commands.command("reproduce")
def reproduce(version: VersionArgument, app: AppOption = None, json: JsonOption = False) -> None:
    """Train a version again from the log, and compare what it predicts.

    Leaves with code 1 if it predicts otherwise, and says which of code, environment and data changed.
    """
    from tropism.cli import reproducing

    finish(reproducing.reproduce(version, app, json=json))


@commands.command("promote")
def promote(
    version: VersionArgument,
    by: ByOption = None,
    wait: WaitOption = False,
    timeout_seconds: TimeoutOption = 60.0,
    json: JsonOption = False,
) -> None:
    """Order that a version becomes champion. The running app carries it out."""
    from tropism.cli import ordering

    waiting = ordering.Waiting(wait, timeout_seconds)
    finish(ordering.promote(version, by, waiting, json=json))


@commands.command("rollback")
def rollback(
    name: NameArgument,
    by: ByOption = None,
    wait: WaitOption = False,
    timeout_seconds: TimeoutOption = 60.0,
    json: JsonOption = False,
) -> None:
    """Order that a canary ends, or without one, that the champion before is champion again.

    The running app carries it out.
    """
    from tropism.cli import ordering

    waiting = ordering.Waiting(wait, timeout_seconds)
    finish(ordering.roll_back(name, by, waiting, json=json))


@commands.command("train")
def train(
    name: NameArgument,
    app: AppOption = None,
    by: ByOption = None,
    wait: WaitOption = False,
    timeout_seconds: TimeoutOption = 3600.0,
    json: JsonOption = False,
) -> None:
    """Order that a version is trained. The running app carries it out, in shadow at first."""
    from tropism.cli import ordering

    waiting = ordering.Waiting(wait, timeout_seconds)
    finish(ordering.train(name, app, by, waiting, json=json))
