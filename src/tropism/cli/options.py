"""Options that several commands share."""

from typing import Annotated

import typer

AppOption = Annotated[
    str | None,
    typer.Option(
        "--app",
        metavar="MODULE:ATTRIBUTE",
        help="Where the app is; otherwise TROPISM_APP, or 'app' in tropism.toml.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
ServiceOption = Annotated[
    str | None, typer.Option("--service", help="Only what concerns this service.", show_default=False)
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DrainOption = Annotated[
    float, typer.Option("--drain-seconds", min=0.0, help="How long to finish what is in flight at the end.")
]

HttpOption = Annotated[
    str | None,
    typer.Option(
        "--http",
        metavar="HOST:PORT",
        help="Take CloudEvents by POST to /events there, such as 127.0.0.1:8080.",
        show_default=False,
    ),
]
HttpAcceptOption = Annotated[
    list[str] | None,
    typer.Option("--http-accept", metavar="TYPE", help="Take only this type of event; may be repeated."),
]
HttpOpenOption = Annotated[
    bool,
    typer.Option("--http-open", help="Take events of everybody who reaches the address, without a token."),
]
