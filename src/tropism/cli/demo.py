"""``tropism demo``: whole systems on real data."""

import json
import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tropism.cli.flights_table import print_flights
from tropism.cli.pages import check_place, serve_page, write_page
from tropism.cli.telling import telling
from tropism.cli.work import finish
from tropism.core.errors import InvalidInputError
from tropism.core.time import parse_iso

if TYPE_CHECKING:
    from tropism.cli.telling import Teller
    from tropism.demo.flights.comparing import Way
    from tropism.demo.flights.run import FlightsOptions

STAGES = {"load": "loading", "run": "flying"}
commands = typer.Typer(help="Whole systems on real data, to run, read and take apart.", no_args_is_help=True)


@commands.callback()
def root() -> None:
    """Whole systems on real data, to run, read and take apart."""


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is no speed; leave it out to run as fast as possible")
    return value


@commands.command()
def flights(
    until: Annotated[
        str | None,
        typer.Option(
            help="Leave out what became known at or after this date (midnight UTC).", metavar="DATE"
        ),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            min=1.0, callback=_finite, help="Event seconds a second, to watch; unbounded by default."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every training.")] = 0,
    folder: Annotated[Path, typer.Option(help="Where log, state and artifacts are kept.")] = Path(
        ".tropism/flights"
    ),
    report: Annotated[Path, typer.Option(help="Where the HTML report is written.")] = Path(
        "flights-report.html"
    ),
    baselines: Annotated[
        bool, typer.Option(help="Also compute static, weekly and hindsight, on the same features.")
    ] = True,
    serve: Annotated[bool, typer.Option(help="Stay up afterwards and serve the report.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else.")] = False,
) -> None:
    """Predict late arrivals for every flight that left New York in 2013, and improve at it by itself.

    An interrupted run goes on where it stopped; a finished one starts anew.
    """
    from tropism.demo.flights.folder import check
    from tropism.demo.flights.run import FlightsOptions, tune_process

    tune_process()
    options = FlightsOptions(folder, _until(until), seed, speed)
    check(folder)
    _check_report(report, folder)
    told = finish(_flights(options, report, baselines=baselines))
    if as_json:
        print(json.dumps(told.summary))
    else:
        print_flights(told.ways, told.summary, told.scored)
        print(f"digest {told.summary['digest'][:16]}…  report: {report}")
    if serve:
        serve_page(report)


def _check_report(report: Path, folder: Path) -> None:
    check_place(report, what="report", option="--report")
    if report.resolve().is_relative_to(folder.resolve()):
        raise InvalidInputError(
            f"Cannot write the report {str(report)!r}: it lies in the folder of the run, which holds nothing "
            f"else. Choose another --report."
        )


def _until(text: str | None) -> int:
    from tropism.runtime.watermarks import FOREVER_US

    if text is None:
        return FOREVER_US
    try:
        return parse_iso(text)
    except ValueError:
        raise InvalidInputError(
            f"Cannot run until {text!r}: it is no date. Write one such as 2013-03-01."
        ) from None


@dataclass(frozen=True, slots=True)
class _Told:
    """All there is to tell of a run."""

    ways: tuple["Way", ...]
    summary: dict[str, Any]
    scored: str


async def _flights(options: "FlightsOptions", report: Path, *, baselines: bool) -> _Told:
    import asyncio
    from functools import partial
    from importlib.metadata import version

    from tropism.demo.flights import run
    from tropism.demo.flights.app import FlightFeatures
    from tropism.demo.flights.comparing import compare
    from tropism.demo.flights.results import read_results
    from tropism.demo.flights.story import report_of, scored_words, summary_of
    from tropism.models.progress import Progress
    from tropism.web.flights_report import render

    stages = run.Stages()
    async with run.opened(options) as opened:
        platform = opened.platform
        with telling(STAGES) as tell:
            async with stages.time(platform, "load"):
                end_us = await run.load(platform, options, tell)
            async with stages.time(platform, "run"):
                await run.run(opened, run.system(options), end_us, options, tell)
            async with stages.time(platform, "read back"):
                tell(Progress("reading back"))
                results = await read_results(platform.log, FlightFeatures._fields)
            async with stages.time(platform, "baselines"):
                say = partial(_tell_training, tell)
                ways = await asyncio.to_thread(
                    compare, results, baselines=baselines, seed=options.seed, say=say
                )
        summary = summary_of(results, ways, stages.seconds, resumed=opened.resumed)
        command = shlex.join(["tropism", *sys.argv[1:]])
        told = report_of(
            results, ways, summary, version=version("tropism"), seed=options.seed, command=command
        )
        # While the run is unfinished: if the page cannot be written, the same command goes on from here.
        write_page(report, render(told), what="report", option="--report")
        return _Told(ways, summary, scored_words(results))


def _tell_training(tell: "Teller", name: str, done: int, total: int) -> None:
    from tropism.models.progress import Progress

    tell(Progress(f"comparing: {name}", done, total))
