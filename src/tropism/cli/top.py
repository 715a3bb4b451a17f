"""``tropism top``: how far services are behind, what an event costs them, and when they will be through."""

import math
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import typer

from tropism.cli.options import AppOption, JsonOption
from tropism.cli.work import finish


def top(
    app: AppOption = None,
    every: Annotated[
        float, typer.Option("--every", min=0.1, max=3600, help="Seconds from one look to the next.")
    ] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print one table and leave.")] = False,
    json: JsonOption = False,
) -> None:
    """Show what waits for each service, what comes and what is handled a second, and the time to catch up.

    The cost of an event is learned while a service has more to do than it does: until then it is not known.
    On a terminal the table goes on until Ctrl-C; into a pipe, or with --json, there is one.
    """
    import sys

    from tropism.cli.console import print_json, print_table

    if json or once or not sys.stdout.isatty():
        found = finish(_once(app, every))
        if json:
            print_json({"services": [_document(each) for each in found]})
        else:
            print_table(COLUMNS, map(_row, found), none="There are no services.")
        return
    finish(_watch(app, every))


COLUMNS = ("service", "workers", "waiting", "oldest", "in/s", "handled/s", "cost us", "caught up in")


async def _looks(app: str | None, every: float) -> AsyncIterator[Sequence[Any]]:
    """Yield how all services fare, again and again."""
    import asyncio

    from tropism.app.platform import read_settings
    from tropism.cli.discovery import load_app
    from tropism.cli.looking import open_to_look
    from tropism.runtime.runtime import with_repartitions
    from tropism.runtime.scaling import Learned
    from tropism.runtime.throughput import look, throughput_of

    services = with_repartitions(load_app(app).services)
    async with open_to_look(read_settings()) as platform:
        known = {service.name: Learned() for service in services}
        before = await look(platform, services)
        while True:
            await asyncio.sleep(every)
            after, found = await look(platform, services), []
            for name in after:
                each, known[name] = throughput_of(before[name], after[name], known[name])
                found.append(each)
            before = after
            yield found


async def _once(app: str | None, every: float) -> Sequence[Any]:
    async for found in _looks(app, every):
        return found
    return ()


async def _watch(app: str | None, every: float) -> None:
    from rich.live import Live
    from rich.table import Table

    with Live(auto_refresh=False) as live:
        async for found in _looks(app, every):
            table = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
            for each in found:
                table.add_row(*map(str, _row(each)))
            live.update(table, refresh=True)


def _document(each: Any) -> dict[str, Any]:
    """Return what was found as JSON can say it: what is never through has no number."""
    drain = each.drain_seconds
    return {
        "service": each.service,
        "workers": each.workers,
        "events": each.events,
        "oldest_seconds": each.oldest_seconds,
        "arrived_per_second": each.arrived_per_second,
        "handled_per_second": each.handled_per_second,
        "cost_us": each.cost_us,
        "drain_seconds": None if drain is None or math.isinf(drain) else drain,
        "catches_up": None if drain is None else not math.isinf(drain),
    }


def _row(each: Any) -> tuple[object, ...]:
    return (
        each.service,
        each.workers,
        each.events,
        "-" if each.oldest_seconds is None else f"{each.oldest_seconds:.1f} s",
        f"{each.arrived_per_second:.1f}",
        f"{each.handled_per_second:.1f}",
        "-" if each.cost_us is None else f"{each.cost_us:.0f}",
        told_drain(each.drain_seconds),
    )


def told_drain(seconds: float | None) -> str:
    """Return in words how long it takes until nothing waits."""
    if seconds is None:
        return "not known yet"
    return "never: more comes" if math.isinf(seconds) else f"{seconds:.0f} s"
