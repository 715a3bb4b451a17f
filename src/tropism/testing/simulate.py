"""``python -m tropism.testing.simulate``: seeds by the thousand, spread over processes; or one, to look at.

Each seed is a system of several processes in weather of its own; see ``docs/reliability.md``.
"""

import argparse
import json
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context

from tropism.testing.cluster import run_seed
from tropism.testing.telling import COMMAND, tell
from tropism.testing.weather import HARMLESS

PROGRESS_SECONDS = 5.0
CHUNK = 8
FAILURES_MAX = 10
"""After so many failing seeds, more say nothing new."""


@dataclass
class Tally:
    """What came of the seeds so far."""

    seeds: int = 0
    calls: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)
    recovery_seconds_max: float = 0.0

    @property
    def count(self) -> int:
        """How many faults there were, without what only disturbs."""
        return sum(count for kind, count in self.faults.items() if kind not in HARMLESS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is left of one seed where it ran."""

    seed: int
    faults: dict[str, int]
    calls: int
    recovery_seconds: float
    failed: bool


def run_one(seed: int) -> Outcome:
    """Run a seed, and keep of it what is counted."""
    logging.getLogger("tropism").setLevel(logging.ERROR)
    result = run_seed(seed)
    recovery = result.history.recovery_seconds or 0.0
    return Outcome(seed, result.faults, result.calls, recovery, bool(result.violations))


def add(tally: Tally, outcome: Outcome) -> None:
    """Count an outcome."""
    tally.seeds += 1
    tally.calls += outcome.calls
    tally.faults.update(outcome.faults)
    tally.recovery_seconds_max = max(tally.recovery_seconds_max, outcome.recovery_seconds)
    if outcome.failed:
        tally.failed.append(outcome.seed)


def outcomes(seeds: Iterable[int], processes: int) -> Iterator[Outcome]:
    """Run seeds, as many at a time as there are processes, and give what came of them as it comes."""
    if processes == 1:
        yield from map(run_one, seeds)
        return
    with get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(run_one, seeds, chunksize=CHUNK)


def simulate(options: argparse.Namespace) -> Tally:
    """Run seeds until enough faults were met, enough seeds were run, or time is up; report progress."""
    tally, started = Tally(), time.monotonic()
    told = started
    seeds = range(options.first, options.first + options.seeds if options.seeds else sys.maxsize)
    for outcome in outcomes(seeds, options.processes):
        add(tally, outcome)
        now = time.monotonic()
        if outcome.failed:
            _say(f"Seed {outcome.seed} failed. Look at it with: {COMMAND} --seed {outcome.seed}")
        if now - told >= PROGRESS_SECONDS:
            told = now
            _say(_progress(tally, now - started))
        late = bool(options.minutes) and now - started >= options.minutes * 60
        enough = bool(options.faults) and tally.count >= options.faults
        if late or enough or len(tally.failed) >= FAILURES_MAX:
            break
    _say(_progress(tally, time.monotonic() - started))
    return tally


def _progress(tally: Tally, seconds: float) -> str:
    rate = tally.count / max(seconds, 1e-9)
    return (
        f"{tally.seeds} seeds, {tally.calls} calls, {tally.count} faults, {rate:.0f} faults/s, "
        f"{len(tally.failed)} failed"
    )


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description="Run simulated systems in bad weather.")
    parser.add_argument("--seed", type=int, help="run this one, and say what became of it")
    parser.add_argument("--first", type=int, default=0, help="the first seed of many (default 0)")
    parser.add_argument("--seeds", type=int, default=0, help="run so many seeds")
    parser.add_argument("--faults", type=int, default=0, help="run until so many faults were met")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="how many at a time")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON document")
    return parser


def _look_at(seed: int) -> int:
    logging.getLogger("tropism").setLevel(logging.ERROR)
    result = run_seed(seed, records=True)
    if result.violations:
        sys.stdout.write(f"{tell(result)}\n")
        return 1
    sys.stdout.write(
        f"Seed {seed} holds: {result.plan}. {sum(result.faults.values())} faults, "
        f"{result.seconds:.1f} s of virtual time, recovered in {result.history.recovery_seconds:.1f} s.\n"
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return 1 where a law did not hold."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _look_at(options.seed)
    if not (options.seeds or options.faults or options.minutes):
        parser.error("nothing says when to end: give --seeds, --faults or --minutes, or one --seed")
    tally = simulate(options)
    if options.json:
        found = {
            "seeds": tally.seeds,
            "calls": tally.calls,
            "faults": tally.count,
            "by_kind": dict(tally.faults.most_common()),
            "recovery_seconds_max": tally.recovery_seconds_max,
            "failed": sorted(tally.failed),
        }
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
