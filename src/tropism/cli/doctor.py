"""``tropism doctor``: what this deployment is, and what is wrong with it."""

import typer

from tropism.cli.options import AppOption, JsonOption
from tropism.cli.work import finish


def doctor(app: AppOption = None, json: JsonOption = False) -> None:
    """Check settings, ports, the app's needs and its consumers; exit with 1 if something is wrong.

    Says in words what survives which failure, who owns the store, how many events each service has yet to
    handle, and how many it gave up on.
    """
    from tropism.cli.checkup import examine
    from tropism.cli.checkup_report import print_report
    from tropism.cli.console import print_json

    report = finish(examine(app))
    if json:
        print_json(report)
    else:
        print_report(report)
    raise typer.Exit(0 if report.ok else 1)
