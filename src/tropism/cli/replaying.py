"""Replaying a service from the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from tropism.app.app import App
from tropism.app.platform import read_settings
from tropism.cli.console import aside, print_json
from tropism.cli.discovery import load_app, types_of
from tropism.cli.later import instant_of
from tropism.cli.looking import open_to_look
from tropism.cli.replay_report import print_report
from tropism.cli.replays import file_of, open_replay
from tropism.cli.sources import files_of_services
from tropism.cli.telling import telling
from tropism.core.errors import InvalidInputError
from tropism.ports.log import Log
from tropism.runtime.cursor import name_of
from tropism.runtime.replay.guard import guarding
from tropism.runtime.replay.replaying import Request, replay
from tropism.runtime.replay.report import Report
from tropism.runtime.replay.span import Place
from tropism.runtime.service import Service
from tropism.runtime.sources import kinds_of

WORDS = {"preparing": "getting ready", "replaying": "replaying", "comparing": "comparing"}


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for, as it was said."""

    service: str
    start: str
    until: str
    into: str
    code: str
    state: str
    ignore: frozenset[str]


@dataclass(frozen=True, slots=True)
class Step:
    """How far it is, as the bar takes it."""

    stage: str
    done: int
    total: int
    time_us: int | None = None
    champion: int = 0


async def replay_service(order: Order, app: str | None, *, json: bool) -> bool:
    """Replay, report, and say whether all is as it was."""
    file = file_of(order.into)
    live = load_app(app)
    code = load_app(order.code) if order.code else live
    service = code.service(order.service)
    before = next((each for each in live.services if each.name == order.service), None)
    async with open_to_look(read_settings()) as platform:
        request = Request(
            service,
            live=before,
            types=tuple(types_of(code).types.values()),
            start=await _place(order.start if order.start != "start" else "", service, platform.log),
            until=await _place(order.until, service, platform.log),
            state=order.state,
            app=order.code or app or "",
            code=_fingerprint(code, service),
            ignore=order.ignore,
            ignore_unknown=code.ignore_unknown,
        )
        async with open_replay(order.into) as store:
            with telling(WORDS) as teller, aside(), guarding():

                def say(stage: str, done: int, total: int) -> None:
                    teller(Step(stage, done, total))

                report = await replay(request, platform, store, name=order.into, say=say)
    _tell(report, file, json=json)
    return report.difference.total.is_same and not report.failed


async def _place(text: str, service: Service, log: Log) -> Place:
    """Return a place that is written as a time, an offset, or offsets of partitions."""
    if not text:
        return None
    if text.isdigit():
        topics = sorted({topic for topic, _ in kinds_of(service)})
        return dict.fromkeys(map(name_of, await log.ends(topics)), int(text))
    parts = [part.rpartition(":") for part in text.split(",")]
    if all("/" in where and offset.isdigit() for where, _, offset in parts):
        return {where: int(offset) for where, _, offset in parts}
    try:
        return instant_of(text)
    except InvalidInputError as error:
        raise InvalidInputError(
            f"Cannot replay from or until {text!r}: it is no time, and no offset. "
            f"Write 2026-01-31T12:00:00Z, 120, or orders/0:120,orders/1:80."
        ) from error


def _fingerprint(app: App, service: Service) -> str:
    """Return what tells this code from any other: that of the files it is made of."""
    digest = blake2b(digest_size=12)
    for file in _files(app, service):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files(app: App, service: Service) -> Sequence[Path]:
    return files_of_services(app).get(service.name, [])


def _tell(report: Report, file: Path, *, json: bool) -> None:
    if json:
        print_json({**_document(report), "store": str(file)})
    else:
        print_report(report, file)


def _document(report: Report) -> Mapping[str, object]:
    return {"is_same": report.difference.total.is_same} | {
        name: getattr(report, name) for name in Report.__struct_fields__
    }
