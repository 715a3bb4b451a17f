"""The command ``tropism``: one line for each command or group of commands."""

import os
import sys
from typing import Annotated

import typer

from tropism.cli import dead_letters, demo, dev, doctor, events, models, new, run, top, whatif
from tropism.cli.extras import extra_of, told_missing
from tropism.core.errors import TropismError

commands = typer.Typer(
    name="tropism",
    help="Event-driven services that decide with models, and models that improve in production.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
commands.command("new")(new.new)
commands.command("dev")(dev.dev)
commands.command("run")(run.run)
commands.add_typer(events.commands, name="events")
commands.add_typer(dead_letters.commands, name="dead-letters")
commands.add_typer(models.commands, name="models")
commands.add_typer(demo.commands, name="demo")
commands.command("whatif")(whatif.whatif)
commands.command("doctor")(doctor.doctor)
commands.command("top")(top.top)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print(f"tropism {version('tropism')}")
        raise typer.Exit


@commands.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Event-driven services that decide with models, and models that improve in production."""


def main() -> None:
    """Run a command; every failure is one line on standard error and an exit code, never a traceback."""
    try:
        commands()
    except TropismError as error:
        if os.environ.get("TROPISM_DEBUG"):
            raise
        _leave("\n".join((str(error), *getattr(error, "__notes__", ()))), 1)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if os.environ.get("TROPISM_DEBUG"):
            raise
        _leave(_surprise(error), 1)


def _surprise(error: Exception) -> str:
    """Return what to say of what nobody raised on purpose."""
    command = next(iter(sys.argv[1:]), "")
    extra = extra_of(error, command) if isinstance(error, ImportError) else None
    if isinstance(error, ImportError) and extra is not None:
        return told_missing(f"run 'tropism {command}'", error, extra)
    told = " ".join(f"{type(error).__name__}: {error}".split())
    return f"Cannot go on: {told}. Set TROPISM_DEBUG=1 to see where, and report it."


def _leave(text: str, code: int) -> None:
    print(f"tropism: {text}", file=sys.stderr, flush=True)
    raise SystemExit(code) from None


if __name__ == "__main__":
    main()
