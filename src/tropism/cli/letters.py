"""Listing, handing back and discarding letters: dead ones, and those in quarantine."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import typer

from tropism.app.platform import open_platform, read_settings
from tropism.cli.console import confirm, print_json, print_table, say, visible
from tropism.cli.discovery import load_app
from tropism.cli.looking import open_to_look
from tropism.cli.shelves import Shelf
from tropism.core.cloudevents import cloud_event
from tropism.core.errors import InvalidInputError, NotFoundError, TropismError
from tropism.core.time import iso
from tropism.ports.platform import Platform
from tropism.runtime import dead, schemas
from tropism.runtime.dead import DeadLetter, dead_letters

_COMMIT_COUNT = 200
_NO_BOUND = 2**62


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters a command is about."""

    shelf: Shelf
    ids: tuple[str, ...]
    service: str | None
    all: bool

    def check(self, what: str) -> None:
        """Refuse to guess. Raises: InvalidInputError."""
        if not (self.ids or self.service or self.all):
            raise InvalidInputError(
                f"Cannot {what} {self.shelf.plural}: nothing says which. Name ids, --service NAME, or --all."
            )

    def of(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Return the letters chosen, each once. Raises: NotFoundError, InvalidInputError."""
        if not self.ids:
            return list(letters)
        found = (_named(self.shelf, id, letters) for id in self.ids)
        return list({(letter.service, letter.id): letter for letter in found}.values())


def _named(shelf: Shelf, id: str, letters: Sequence[DeadLetter]) -> DeadLetter:
    found = [letter for letter in letters if letter.id == id] or [
        letter for letter in letters if letter.id.startswith(id)
    ]
    if not found:
        raise NotFoundError(
            f"Cannot find {shelf.noun} {id!r}: there are {len(letters)}, and none begins so. "
            f"See 'tropism {shelf.command} list'."
        )
    if len(found) > 1:
        raise InvalidInputError(
            f"Cannot tell which {shelf.noun} {id!r} means: {len(found)} begin so. "
            f"Name one of {[letter.id for letter in found[:5]]}, or its --service."
        )
    return found[0]


async def print_list(shelf: Shelf, service: str | None, *, json: bool) -> None:
    """Print the letters of a service, or of all."""
    async with open_to_look(read_settings()) as platform:
        letters = await _of_service(platform, shelf, service)
    if json:
        print_json({"count": len(letters), shelf.key: [_told(letter) for letter in letters]})
        return
    rows = (
        (letter.service, letter.id, letter.record.type, letter.attempts, iso(letter.failed_us), letter.cause)
        for letter in letters
    )
    print_table(("service", "id", "type", "attempts", "failed", "cause"), rows, none=f"No {shelf.plural}.")


async def print_one(shelf: Shelf, id: str, *, json: bool) -> None:
    """Print one letter with all that is known of it."""
    async with open_to_look(read_settings()) as platform:
        letters = await dead_letters(platform.state, count_max=_NO_BOUND, namespace=shelf.namespace)
    letter = _named(shelf, id, letters)
    if json:
        print_json(_told(letter))
        return
    data = letter.record.data.decode("utf-8", "backslashreplace")
    facts = {
        "id": letter.id,
        "service": letter.service,
        "handler": letter.handler or "none: it could not be decoded",
        "event": f"{letter.record.type} {letter.record.id}",
        "key": letter.record.subject or "-",
        "time": iso(letter.record.time_us),
        "failed": iso(letter.failed_us),
        "attempts": letter.attempts,
        "cause": letter.cause,
        "data": data,
    }
    for name, value in facts.items():
        print(f"{name + ':':<10} {visible(str(value))}")
    for name, value in (letter.evidence or {}).items():
        print(f"{'evidence:':<10} {visible(f'{name} = {msgspec.json.encode(value).decode()}')}")
    for number, line in enumerate(letter.history, 1):
        print(f"{f'try {number}:':<10} {visible(line)}")


def _told(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "service": letter.service,
        "handler": letter.handler or None,
        "cause": letter.cause,
        "history": letter.history,
        "attempts": letter.attempts,
        "failed": iso(letter.failed_us),
        "event": cloud_event(letter.record),
        **({} if letter.evidence is None else {"evidence": letter.evidence}),
    }


async def redrive(choice: Choice, *, note: str = "", json: bool) -> None:
    """Move letters back to their handlers."""
    choice.check(choice.shelf.verb)
    async with open_platform(read_settings()) as platform:
        letters = await _chosen(platform, choice)
        moved = await _in_parts(letters, lambda part: dead.redrive(platform, part, released=note))
    _report(choice.shelf, choice.shelf.done, moved, json=json)


async def discard(choice: Choice, *, yes: bool, json: bool) -> None:
    """Forget letters."""
    choice.check("discard")
    async with open_platform(read_settings()) as platform:
        letters = await _chosen(platform, choice)
        if letters and not confirm(f"Discard {choice.shelf.count(len(letters))} for good?", yes=yes):
            raise typer.Exit(1)
        moved = await _in_parts(letters, lambda part: dead.discard(platform, part))
    _report(choice.shelf, "discarded", moved, json=json)


async def _chosen(platform: Platform, choice: Choice) -> list[DeadLetter]:
    return choice.of(await _of_service(platform, choice.shelf, choice.service))


async def _of_service(platform: Platform, shelf: Shelf, service: str | None) -> list[DeadLetter]:
    """Return the letters of a service, or of all. Raises: NotFoundError for a service that nobody knows."""
    letters = await dead_letters(
        platform.state, service or "", count_max=_NO_BOUND, namespace=shelf.namespace
    )
    if service is not None and not letters:
        ran = {name.partition("#")[0] for name, _ in await platform.state.positions()}
        known = {*ran, *_services_of_app()} - {dead.CONSUMER, schemas.CONSUMER}
        if service not in known:
            raise NotFoundError(
                f"Cannot find service {service!r}: none of that name has run here. "
                f"Name one of {sorted(known)}."
            )
    return letters


def _services_of_app() -> list[str]:
    try:
        return [service.name for service in load_app().services]
    except TropismError:  # letters are looked after without an app, too
        return []


async def _in_parts(
    letters: Sequence[DeadLetter], move: Callable[[Sequence[DeadLetter]], Awaitable[list[DeadLetter]]]
) -> list[DeadLetter]:
    """Move letters in commits of a bounded size."""
    moved: list[DeadLetter] = []
    for start in range(0, len(letters), _COMMIT_COUNT):
        moved.extend(await move(letters[start : start + _COMMIT_COUNT]))
    return moved


def _report(shelf: Shelf, what: str, letters: Sequence[DeadLetter], *, json: bool) -> None:
    if json:
        print_json({"count": len(letters), what: [letter.id for letter in letters]})
    else:
        say(f"{shelf.count(len(letters))} {what}." if letters else f"No {shelf.plural}.")
