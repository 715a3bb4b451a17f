"""Schemas of the app, of the log's registry, and of a checked-in file, compared and printed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from tropism.app.app import App
from tropism.app.platform import Settings, read_settings
from tropism.app.schemas import declared_by
from tropism.cli.console import print_json, print_table, say
from tropism.cli.discovery import load_app, types_of
from tropism.cli.looking import open_to_look
from tropism.core.errors import InvalidInputError, NotFoundError
from tropism.core.schema.modes import Finding, Version, check_mode
from tropism.runtime.schemas import Declared, Registry, broken, news, read_registry

FILE = Path("schemas.json")


async def print_list(*, json: bool) -> None:
    """Print what the registry holds."""
    registry = await _of_log(read_settings())
    if json:
        print_json({name: [_told(version) for version in known] for name, known in registry.items()})
        return
    rows = ((name, known[-1].number, known[-1].mode, known[-1].digest) for name, known in registry.items())
    print_table(("type", "version", "mode", "digest"), rows, none="No schemas: no app was started here yet.")


async def print_one(named: str, *, json: bool) -> None:
    """Print a version of an event type."""
    name, _, number = named.partition("@")
    registry = await _of_log(read_settings())
    known = registry.get(name)
    if not known:
        raise NotFoundError(
            f"Cannot show the schema of {name!r}: the registry has none. "
            + (f"Name one of {list(registry)}." if registry else "Start the app once.")
        )
    found = next((version for version in known if number in {"", str(version.number)}), None)
    if number == "":
        found = known[-1]
    if found is None:
        raise NotFoundError(
            f"Cannot show version {number!r} of {name!r}: there is none. Name one from 1 to {len(known)}."
        )
    if json:
        print_json({"type": name, **_told(found)})
        return
    say(f"{name}, version {found.number}, {found.mode}, {found.digest}")
    print_json(found.schema)


async def check(against: str | None, mode: str | None, path: str | None, *, json: bool) -> int:
    """Print what the app's schemas break, and return the exit code."""
    app = load_app(path)
    types = _declared(app)
    if mode is not None:
        types = [each._replace(mode=check_mode(mode)) for each in types]
    found: list[tuple[str, Finding]] = []
    places = await _places(against)
    for place, registry in places:
        found += [(place, each) for each in broken(types, registry)]
    if json:
        print_json({"compatible": not found, "checked": [p for p, _ in places], "breaks": _all_told(found)})
        return 1 if found else 0
    if not found:
        say(f"Compatible: {len(types)} event types with {' and '.join(place for place, _ in places)}.")
        return 0
    rows = (
        (e.event_type, e.version, e.direction, e.broken.path, e.broken.reason, e.remedy, place)
        for place, e in found
    )
    print_table(("type", "version", "mode", "field", "breaks", "remedy", "against"), rows, none="")
    return 1


def export(output: Path | None, path: str | None) -> None:
    """Write the app's schemas, added to those that a file has already."""
    app = load_app(path)
    known: Registry = _of_file(output) if output is not None and output.exists() else {}
    types = _declared(app)
    found: dict[str, list[Version]] = {name: list(versions) for name, versions in known.items()}
    for each in news(f"export the schemas of app {app.name!r}", types, known):
        found.setdefault(each.name, []).append(Version(each.version, each.digest, each.schema, each.mode))
    document = {name: [_told(version) for version in found[name]] for name in sorted(found)}
    if output is None:
        print_json({"schemas": document})
        return
    encoded = msgspec.json.format(msgspec.json.encode({"schemas": document}), indent=2)
    try:
        output.write_bytes(encoded + b"\n")
    except OSError as error:
        raise InvalidInputError(
            f"Cannot write {str(output)!r}: {error.strerror}. Name a file in a folder that you may write to."
        ) from error
    say(f"Wrote {len(document)} event types to {output}.")


def _declared(app: App) -> list[Declared]:
    return declared_by(app.name, types_of(app).types.values(), app.compatibility)


async def _places(against: str | None) -> list[tuple[str, Registry]]:
    """Return what is to be checked against, each by a name that may be shown."""
    if against is None:
        places: list[tuple[str, Registry]] = [("the log", await _of_log(read_settings()))]
        return [*places, *_checked_in()]
    if "://" in against or against.startswith("sqlite:"):
        settings = replace(read_settings(), log=against)
        return [("that log", await _of_log(settings))]
    return [(against, _of_file(Path(against)))]


def _checked_in() -> list[tuple[str, Registry]]:
    return [(str(FILE), _of_file(FILE))] if FILE.exists() else []


async def _of_log(settings: Settings) -> Registry:
    async with open_to_look(settings) as platform:
        return await read_registry(platform.log)


class _Stored(msgspec.Struct):
    version: int
    digest: str
    mode: str
    schema: dict[str, Any]


class _File(msgspec.Struct):
    schemas: dict[str, list[_Stored]]


def _of_file(path: Path) -> Registry:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except OSError as error:
        raise NotFoundError(
            f"Cannot read schemas from {str(path)!r}: {error.strerror}. "
            f"Write it with 'tropism schema export --output {path}'."
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            f"Cannot read schemas from {str(path)!r}: it is not what 'tropism schema export' writes. "
            f"Export it anew from a version that was started."
        ) from error
    return {
        name: [Version(each.version, each.digest, each.schema, each.mode) for each in versions]
        for name, versions in found.schemas.items()
    }


def _told(version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "digest": version.digest,
        "mode": version.mode,
        "schema": version.schema,
    }


def _all_told(found: Sequence[tuple[str, Finding]]) -> list[dict[str, Any]]:
    return [
        {
            "type": each.event_type,
            "version": each.version,
            "mode": each.direction,
            "field": each.broken.path,
            "reason": each.broken.reason,
            "remedy": each.remedy,
            "against": place,
        }
        for place, each in found
    ]
