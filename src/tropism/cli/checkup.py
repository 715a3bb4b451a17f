"""Looking at a deployment without changing it."""

import platform as machine
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

import msgspec

from tropism.adapters.local.clock import SystemClock
from tropism.adapters.outbox import open_outgoing
from tropism.app.app import App
from tropism.app.platform import PORTS, Settings, port_of, read_settings
from tropism.cli.discovery import app_name, load_app
from tropism.cli.looking import elsewhere, local_path
from tropism.core.errors import TropismError
from tropism.core.time import iso
from tropism.ports.opening import open_url, without_secrets
from tropism.ports.platform import Platform
from tropism.runtime import dead, schemas
from tropism.runtime.cycles import notes_of
from tropism.runtime.emulations import emulations, site_of
from tropism.runtime.lag import lag_of
from tropism.runtime.late import late_of
from tropism.runtime.needs import findings, needs_of
from tropism.runtime.options import REMEMBER_SECONDS
from tropism.runtime.runtime import check, with_repartitions
from tropism.runtime.service import Service

_UNBOUNDED = 2**62
FREE_BYTES_MIN = 64 * 2**20
"""With less left on a disk, a service or a training may come to a stand at any moment."""


class PortReport(msgspec.Struct):
    """One port: where it is, and what it promises."""

    url: str
    ok: bool = True
    problem: str | None = None
    adapter: str | None = None
    durability: str | None = None
    format: str | None = None
    owner: str | None = None


class ConsumerReport(msgspec.Struct):
    """One consumer: how far it is. ``behind`` is None where this app does not know what it reads."""

    name: str
    behind: int | None
    watermark: str | None
    dead_letters: int
    started: bool
    quarantined: int = 0
    late: dict[str, int] = {}
    """How many events came too late for each of its views, where any did."""


class ProviderReport(msgspec.Struct):
    """Something outside that handlers call, and its limits; None where there is none."""

    per_second: float | None
    in_flight: int | None
    handlers: list[str]


class OutboxReport(msgspec.Struct):
    """One outbox of another program: how many events wait there, and how many no log takes."""

    name: str
    waiting: int
    refused: int


class NeedReport(msgspec.Struct):
    """Something the app needs of its log: who asks for it, and how it is met."""

    need: str
    by: str
    how: str
    words: str


class Report(msgspec.Struct):
    """All that was found."""

    ok: bool = True
    problems: list[str] = []
    tropism: str = ""
    python: str = ""
    packages: dict[str, str | None] = {}
    extras_missing: dict[str, list[str]] = {}
    app: str | None = None
    ports: dict[str, PortReport] = {}
    needs: list[NeedReport] = []
    emulations: list[str] = []
    notes: list[str] = []
    outboxes: list[OutboxReport] = []
    consumers: list[ConsumerReport] = []
    dead_letters: dict[str, int] = {}
    quarantined: dict[str, int] = {}
    providers: dict[str, ProviderReport] = {}


async def examine(named: str | None) -> Report:
    """Return what is to be said about the deployment of this folder."""
    report = Report(tropism=version("tropism"), python=machine.python_version())
    report.packages, report.extras_missing = _packages()
    app = _load(named, report)
    try:
        settings = read_settings()
    except TropismError as error:
        report.problems.append(str(error))
        settings = None
    if settings is not None:
        async with AsyncExitStack() as stack:
            # Whatever is not there yet is looked at where it leaves no trace.
            looked = stack.enter_context(elsewhere(settings))
            await _examine_ports(settings, looked, app, report, stack)
        await _examine_outboxes(settings, report)
    report.ok = not report.problems
    return report


def _load(named: str | None, report: Report) -> App | None:
    try:
        if app_name(named) is None:
            return None
        app = load_app(named)
    except TropismError as error:
        report.problems.append(str(error))
        return None
    report.app = app.name
    report.notes = notes_of(app.services, app.hops_max)
    return app


def _packages() -> tuple[dict[str, str | None], dict[str, list[str]]]:
    """Return the versions of what Tropism may use, and which extras lack something."""
    found: dict[str, str | None] = {}
    missing: dict[str, list[str]] = {}
    for line in requires("tropism") or ():
        wanted, _, condition = line.partition(";")
        name = wanted.partition(">")[0].partition("=")[0].partition("[")[0].strip()
        extra = condition.partition("extra ==")[2].strip(" '\"")
        if name == "tropism" or extra in {"test", "all"}:
            continue
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
            missing.setdefault(extra, []).append(name)
    return found, missing


async def _examine_ports(
    settings: Settings, looked: Settings, app: App | None, report: Report, stack: AsyncExitStack
) -> None:
    opened: dict[str, Any] = {}
    ports: dict[str, Any] = {}
    for port in PORTS:
        url = getattr(looked, port)
        found = report.ports[port] = PortReport(without_secrets(getattr(settings, port)))
        try:
            if url not in opened:
                opened[url] = await open_url(url)
                if hasattr(opened[url], "close"):
                    stack.push_async_callback(opened[url].close)
            ports[port] = port_of(opened[url], port, url)
            await _describe(found, opened[url], ports[port], report)
        except TropismError as error:
            found.ok, found.problem = False, str(error)
            if str(error) not in report.problems:
                report.problems.append(str(error))
    report.problems.extend(_nearly_full(settings))
    if set(PORTS) <= set(ports):
        platform = Platform(**ports, clock=SystemClock())
        await _examine_services(platform, app, report)


def _nearly_full(settings: Settings) -> list[str]:
    """Return which disks have hardly any room left for what is stored."""
    found: dict[int, str] = {}
    for url in (settings.log, settings.queue, settings.state, settings.blobs):
        path = local_path(url)
        if path is not None:
            there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
            free = shutil.disk_usage(there).free
            if free < FREE_BYTES_MIN:
                told = f"its disk has {free / 2**20:.0f} MiB left. Free some space."
                what = f"Cannot store much more at {without_secrets(url)!r}: {told}"
                found.setdefault(there.stat().st_dev, what)
    return list(found.values())


async def _describe(found: PortReport, adapter: Any, port: Any, report: Report) -> None:
    found.adapter = type(port).__name__
    capabilities = getattr(port, "capabilities", None)
    found.durability = getattr(capabilities, "durability", None)
    owner: Any = getattr(adapter, "owner", None)
    if owner is not None:
        found.owner = owner()
    form: Any = getattr(adapter, "format", None)
    if form is not None:
        found.format = await form()
    problems: Any = getattr(adapter, "problems", None)
    if problems is not None:
        for problem in await problems():
            if problem not in report.problems:
                report.problems.append(problem)


async def _examine_services(platform: Platform, app: App | None, report: Report) -> None:
    try:
        services = [] if app is None else with_repartitions(app.services)
        for service in services:
            check(service)
        report.emulations = emulations(services, platform, REMEMBER_SECONDS)
        _examine_needs(platform, app, report)
        report.providers = _providers(services)
    except TropismError as error:
        report.problems.append(str(error))
    try:
        report.dead_letters = await _letters(platform, dead.NAMESPACE)
        report.quarantined = await _letters(platform, dead.QUARANTINE)
        report.consumers = await _consumers(platform, app, report)
    except TropismError as error:
        report.problems.append(str(error))


async def _examine_outboxes(settings: Settings, report: Report) -> None:
    for url in settings.outbox:
        try:
            async with open_outgoing(url) as outgoing:
                waiting, refused = await outgoing.depth()
        except TropismError as error:
            report.problems.append(str(error))
            continue
        report.outboxes.append(OutboxReport(outgoing.name, waiting, refused))
        if refused:
            report.problems.append(
                f"Cannot publish {refused} events of outbox {outgoing.name!r}: no log takes them. "
                f"Read why in column 'refused' of its table, then mend or delete them."
            )


def _examine_needs(platform: Platform, app: App | None, report: Report) -> None:
    """Say how the log meets what the app needs, running live as 'tropism run' does."""
    if app is None:
        return
    needs = needs_of(with_repartitions(app.services), record_bytes=app.record_bytes_max or 0)
    for each in findings(needs, site_of(platform, REMEMBER_SECONDS)):
        report.needs.append(NeedReport(each.need.name, each.need.by, each.how, each.words))
        if each.how == "lacking":
            report.problems.append(each.words)


async def _letters(platform: Platform, namespace: str) -> dict[str, int]:
    letters = await dead.dead_letters(platform.state, count_max=_UNBOUNDED, namespace=namespace)
    return dict(sorted(Counter(letter.service for letter in letters).items()))


def _providers(services: Sequence[Service]) -> dict[str, ProviderReport]:
    """Return the limits that handlers declare; those of steps are known only when they run."""
    found: dict[str, ProviderReport] = {}
    for handler in (handler for service in services for handler in service.handlers):
        if handler.provider is not None:
            known = ProviderReport(handler.provider.per_second, handler.provider.in_flight, [])
            found.setdefault(handler.provider.name, known).handlers.append(handler.name)
    return found


async def _consumers(platform: Platform, app: App | None, report: Report) -> list[ConsumerReport]:
    positions = dict(await platform.state.positions())
    services = {} if app is None else {service.name: service for service in with_repartitions(app.services)}
    others = {name for name in positions if "#" not in name}  # a worker's share is its service's
    names = [*services, *sorted(others - set(services) - {dead.CONSUMER, schemas.CONSUMER})]
    found = []
    for name in names:
        position = positions.get(name)
        behind = (await lag_of(platform, services[name])).events if name in services else None
        at_us = None if position is None else position.watermark_us
        watermark = None if at_us is None or at_us < 0 else iso(at_us)
        letters, refused = report.dead_letters.get(name, 0), report.quarantined.get(name, 0)
        late = await late_of(platform.state, name)
        started = position is not None
        found.append(ConsumerReport(name, behind, watermark, letters, started, refused, late))
    return found
