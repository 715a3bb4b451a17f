"""``tropism demo``: whole systems on real data."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tropism.core.errors import InvalidInputError
from tropism.core.time import iso, parse_iso

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from tropism.demo.flights.comparing import Way
    from tropism.demo.flights.results import Results
    from tropism.demo.flights.run import FlightsOptions, Progress

commands = typer.Typer(help="Whole systems on real data, to run, read and take apart.", no_args_is_help=True)


@commands.callback()
def root() -> None:
    """Whole systems on real data, to run, read and take apart."""


@commands.command()
def flights(
    until: Annotated[
        str | None, typer.Option(help="Leave out what became known at or after this date.", metavar="DATE")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(min=1.0, help="Event seconds a second, to watch; unbounded by default.")
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
    from tropism.demo.flights.run import FlightsOptions, tune_process

    tune_process()
    options = FlightsOptions(folder, _until(until), seed, speed)
    summary = asyncio.run(_flights(options, report, baselines=baselines, command=_command()))
    if as_json:
        print(json.dumps(summary))
    if serve:
        _serve(report)


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


def _command() -> str:
    return " ".join(["tropism", *sys.argv[1:]])


async def _flights(
    options: "FlightsOptions", report: Path, *, baselines: bool, command: str
) -> dict[str, Any]:
    from tropism.demo.flights import run
    from tropism.demo.flights.app import FlightFeatures
    from tropism.demo.flights.comparing import compare
    from tropism.demo.flights.results import read_results
    from tropism.demo.flights.story import summary_of, training_seconds

    stages = run.Stages()
    async with run.opened(options) as platform:
        with _bar() as bar:
            tell = _Teller(bar)
            async with stages.time(platform, "load"):
                end_us = await run.load(platform, options, tell)
            async with stages.time(platform, "run"):
                await run.run(platform, run.system(options), end_us, options, tell)
            async with stages.time(platform, "read back"):
                tell.stage("reading back")
                results = await read_results(platform.log, FlightFeatures._fields)
            async with stages.time(platform, "baselines"):
                ways = await asyncio.to_thread(
                    compare, results, baselines=baselines, seed=options.seed, say=tell.training
                )
        trained = training_seconds(results)
        path_seconds = stages.seconds["run"] - trained
        stages.seconds["training, of run"] = trained
        rate = results.events / path_seconds if path_seconds > 0 else None
        summary = summary_of(results, ways, stages.seconds, rate)
        async with stages.time(platform, "report"):
            _write(report, results, ways, summary, options.seed, command)
        _print_table(ways, summary, report)
        return summary


class _Teller:
    """Shows a run's progress."""

    def __init__(self, bar: "Bar") -> None:
        self._bar = bar
        self._task = bar.add_task("reading the flights", total=None, note="")
        self._begun = (0, time.monotonic())
        self._stage = ""

    def __call__(self, progress: "Progress") -> None:
        """Show how far loading or running is."""
        now = time.monotonic()
        if progress.stage != self._stage:
            self._stage, self._begun = progress.stage, (progress.done, now)
        spent = now - self._begun[1]
        rate = (progress.done - self._begun[0]) / spent if spent > 0.5 else 0.0
        note = f"{rate:,.0f} events/s"
        if progress.time_us is not None and progress.time_us > 0:
            champion = f"late-arrival@{progress.champion}" if progress.champion else "none yet"
            note = f"{iso(progress.time_us)[:13].replace('T', ' ')}h  {note}  champion {champion}"
        words = {"load": "loading", "run": "flying"}[progress.stage]
        self._bar.update(
            self._task, description=words, completed=progress.done, total=progress.total, note=note
        )

    def stage(self, words: str) -> None:
        """Show a stage whose length is not known."""
        self._bar.update(self._task, description=words, completed=0, total=None, note="")

    def training(self, name: str, done: int, total: int) -> None:
        """Show how many baseline trainings are done."""
        words = f"comparing: {name}"
        self._bar.update(self._task, description=words, completed=done, total=total, note="trainings")


def _bar() -> "Bar":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )


def _write(
    path: Path,
    results: "Results",
    ways: tuple["Way", ...],
    summary: dict[str, Any],
    seed: int,
    command: str,
) -> None:
    from importlib.metadata import version

    from tropism.demo.flights.story import report_of
    from tropism.web.flights_report import render

    told = report_of(results, ways, summary, version=version("tropism"), seed=seed, command=command)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(told), "utf-8")


ABSENT = "\N{EN DASH}"
NAMES = {
    "static": "static, January",
    "cron": "weekly cron",
    "adaptive": "Tropism",
    "hindsight": "best in hindsight",
}


def _print_table(ways: tuple["Way", ...], summary: dict[str, Any], report: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    table = Table(title="Late arrivals, scored February to December", title_justify="left")
    table.add_column("")
    titles = ("AUC", "log loss", "Brier", "calibration error", "late in top 10 %", "trainings", "promotions")
    for title in titles:
        table.add_column(title, justify="right")
    for way in ways:
        s = way.scores
        found = (None,) * 5 if s is None else (s.roc_auc, s.log_loss, s.brier, s.calibration_error, s.capture)
        figures = [ABSENT if value is None else f"{value:.4f}" for value in found]
        counts = [str(way.trainings), ABSENT if way.promotions is None else str(way.promotions)]
        style = "bold" if way.name == "adaptive" else None
        table.add_row(NAMES[way.name], *figures, *counts, style=style)
    console.print(table)
    spent = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in summary["stages"].items())
    rate = summary["events_per_second"]
    console.print(
        f"{summary['events']:,} events, {summary['decisions']:,} decisions = {summary['outcomes']:,} "
        f"outcomes + {summary['expired']:,} expired; {summary['promotions']} promotions, "
        f"{summary['rollbacks']} rollbacks"
    )
    console.print(f"time: {spent}; event path {0 if rate is None else rate:,.0f} events/s")
    console.print(f"digest {summary['digest'][:16]}…  report: {report}")


def _serve(report: Path) -> None:
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    folder = report.resolve().parent
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}/{report.name}"
        print(f"report at {address}; Ctrl-C ends", file=sys.stderr, flush=True)
        server.serve_forever()
