"""``tropism top``: how far services are behind, what an event costs them, and when they will be through."""

import asyncio
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
        paces = finish(_once(app, every))
        if json:
            print_json({"services": [_document(pace) for pace in paces]})
        else:
            print_table(COLUMNS, map(_row, paces), none="There are no services.")
        return
    finish(_watch(app, every))


COLUMNS = ("service", "workers", "waiting", "oldest", "in/s", "handled/s", "cost us", "caught up in")


async def _paces(app: str | None, every: float) -> AsyncIterator[Sequence[Any]]:
    """Yield how all services fare, again and again."""
    from tropism.app.platform import read_settings
    from tropism.cli.discovery import load_app
    from tropism.cli.looking import open_to_look
    from tropism.runtime.pace import look, pace_of
    from tropism.runtime.runtime import with_repartitions
    from tropism.runtime.scaling import Learned

    services = with_repartitions(load_app(app).services)
    async with open_to_look(read_settings()) as platform:
        known = {service.name: Learned() for service in services}
        before = await look(platform, services)
        while True:
            await asyncio.sleep(every)
            after, paces = await look(platform, services), []
            for name in after:
                pace, known[name] = pace_of(before[name], after[name], known[name])
                paces.append(pace)
            before = after
            yield paces


async def _once(app: str | None, every: float) -> Sequence[Any]:
    async for paces in _paces(app, every):
        return paces
    return ()


async def _watch(app: str | None, every: float) -> None:
    from rich.live import Live
    from rich.table import Table

    with Live(auto_refresh=False) as live:
        async for paces in _paces(app, every):
            table = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
            for pace in paces:
                table.add_row(*map(str, _row(pace)))
            live.update(table, refresh=True)


def _document(pace: Any) -> dict[str, Any]:
    """Return a pace as JSON can say it: what is never through has no number."""
    drain = pace.drain_seconds
    return {
        "service": pace.service,
        "workers": pace.workers,
        "events": pace.events,
        "oldest_seconds": pace.oldest_seconds,
        "arrived_per_second": pace.arrived_per_second,
        "handled_per_second": pace.handled_per_second,
        "cost_us": pace.cost_us,
        "drain_seconds": None if drain is None or math.isinf(drain) else drain,
        "catches_up": None if drain is None else not math.isinf(drain),
    }


def _row(pace: Any) -> tuple[object, ...]:
    return (
        pace.service,
        pace.workers,
        pace.events,
        "-" if pace.oldest_seconds is None else f"{pace.oldest_seconds:.1f} s",
        f"{pace.arrived_per_second:.1f}",
        f"{pace.handled_per_second:.1f}",
        "-" if pace.cost_us is None else f"{pace.cost_us:.0f}",
        told_drain(pace.drain_seconds),
    )


def told_drain(seconds: float | None) -> str:
    """Return in words how long it takes until nothing waits."""
    if seconds is None:
        return "not known yet"
    return "never: more comes" if math.isinf(seconds) else f"{seconds:.0f} s"
