"""``tropism events``: what happened, made to happen, or brought in from history."""

from pathlib import Path
from typing import Annotated

import typer

from tropism.cli import delayed
from tropism.cli.options import AppOption, JsonOption
from tropism.cli.work import finish

commands = typer.Typer(help="Read, publish and import events.", no_args_is_help=True, rich_markup_mode=None)
commands.add_typer(delayed.commands, name="delayed")


@commands.command("tail")
def tail(
    topic: Annotated[
        list[str] | None,
        typer.Option(
            "--topic", help="Only this topic; may be repeated. Otherwise those of the app's events."
        ),
    ] = None,
    type: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type; may be repeated.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="start|end|TIME", help="Where to begin; TIME is ISO 8601."),
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", min=1, help="Stop after so many events.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more, until Ctrl-C.")] = False,
    upcast: Annotated[
        bool, typer.Option("--upcast", help="Show old events as the app's handlers get them.")
    ] = False,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Print events in the order in which they became known.

    Without --from it shows the last --count events (20), or with --follow those to come. With --json the
    output is one JSON array of CloudEvents; with --json --follow one CloudEvent a line (NDJSON), as it comes.
    """
    from tropism.cli.tail import Request, print_events

    request = Request(tuple(topic or ()), tuple(type or ()), start, count, follow, json, upcast)
    finish(print_events(request, app))


@commands.command("publish")
def publish(
    type: Annotated[
        str, typer.Argument(help="The event's type, such as orders.paid.v1.", show_default=False)
    ],
    data: Annotated[
        str | None, typer.Option("--data", help="Its fields, as a JSON object.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Read them from a file; '-' is standard input.")
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="Its id: the same id twice is stored once.", show_default=False)
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", help="When it became known, ISO 8601; otherwise now.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Publish it at this moment, ISO 8601, and not now."),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option("--in", metavar="DURATION", help="Publish it after so long, such as 90m or 2d."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", help="With --at or --in: replaces what is waiting under its key and this name."
        ),
    ] = None,
    source: Annotated[str, typer.Option("--source", help="Who says so.")] = "/tropism/cli",
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Publish one event, checked against its type in the app.

    With --at or --in it becomes an event later: the app's service 'delayed' keeps it until then, so one of
    the app's services must be delayed(...) with its type.
    """
    from tropism.cli.later import later_of
    from tropism.cli.publish import publish_one, read_data

    later = later_of(at, after, name, time)
    payload = read_data(data, file)
    finish(publish_one(type, payload, id=id, time=time, source=source, app=app, json=json, later=later))


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .csv, .parquet or .ndjson file with a row for each event.")],
    type: Annotated[str, typer.Option("--type", help="The type of the events.", show_default=False)],
    time: Annotated[
        str, typer.Option("--time", help="The column that says when each became known.", show_default=False)
    ],
    key: Annotated[
        str | None, typer.Option("--key", help="The column of the type's key field, if named otherwise.")
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            "--id", help="The column of the events' ids; otherwise they derive from name and content."
        ),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option("--field", metavar="FIELD=COLUMN", help="Take a field from a column of another name."),
    ] = None,
    zone: Annotated[
        str, typer.Option("--zone", help="The time zone of times that name none, such as Europe/Paris.")
    ] = "UTC",
    null: Annotated[
        list[str] | None,
        typer.Option(
            "--null", help="A text that stands for no value in optional fields, beside the empty one."
        ),
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option("--rejects", help="Where to write bad rows; otherwise FILE.rejects.ndjson.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", help="Who says so; otherwise the file's name.", show_default=False),
    ] = None,
    app: AppOption = None,
    json: JsonOption = False,
) -> None:
    """Import history: a table whose rows are events of one type.

    Fields are converted to the types that the event's class declares. Rows that do not fit are reported
    with their line and written to the rejects file, and the exit code is then 1; all others are imported.
    Running it again adds nothing twice, so an interrupted import is resumed by repeating it. Rows whose
    times are not in order are sorted first.
    """
    from tropism.cli.importing import Plan, import_file, rejects_of
    from tropism.cli.rows import Columns

    columns = Columns(
        time=time, key=key, id=id, fields=tuple(field or ()), zone=zone, nulls=("", *(null or ()))
    )
    plan = Plan(file, type, columns, rejects or rejects_of(file), source or file.name)
    raise typer.Exit(finish(import_file(plan, app, json=json)))
