"""``tropism asyncapi``: the app as a document that other teams' tools read."""

from typing import Annotated

import typer

from tropism.cli.options import AppOption, JsonOption


def asyncapi(
    app: AppOption = None,
    version: Annotated[
        str, typer.Option("--app-version", help="The version of the app, as the document says it.")
    ] = "0.0.0",
    json: JsonOption = False,
) -> None:
    """Print the app as an AsyncAPI 3.0 document, in YAML or with --json in JSON.

    Its channels are the topics, its operations what each handler takes and gives, its messages the events
    with their schemas and headers. Servers are those of the log in the settings, without who connects.
    """
    from tropism.app.asyncapi import asyncapi as document_of
    from tropism.app.platform import read_settings
    from tropism.cli.console import print_json
    from tropism.cli.discovery import load_app
    from tropism.cli.yaml import yaml_of

    document = document_of(load_app(app), read_settings().log, version=version)
    if json:
        print_json(document)
    else:
        print(yaml_of(document), end="")
