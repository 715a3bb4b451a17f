"""``tropism new``: a small app that passes its own test."""

from typing import Annotated

import typer


def new(
    name: Annotated[str, typer.Argument(help="The app's name, and its folder's.", show_default=False)],
) -> None:
    """Write a small app into a new folder: services that react to an event, and a test of them."""
    from importlib.util import find_spec

    from tropism.cli.console import say
    from tropism.cli.scaffold import write_app

    write_app(name)
    test = "python -m pytest" if find_spec("pytest") else "pip install pytest && python -m pytest"
    say(f"Made {name}/. Now:\n\n  cd {name}\n  {test}\n  tropism dev\n")
    say("and in a second terminal:\n\n  tropism events publish accounts.user-registered.v1 \\")
    say('    --data \'{"user_id": "ada", "email": "ada@example.org"}\'')
