"""The flights, killed at random: nothing lost, nothing decided twice, and the same digest."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tropism.core.time import parse_iso
from tropism.demo.flights.source import data_folder, flight_records

UNTIL = "2013-01-06"
CHILD = Path(__file__).with_name("flights_child.py")
# Two processes on two cores: OpenMP's threads would only wait for each other.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def start(folder: Path, speed: float = 0, processes: int = 2) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(CHILD), str(folder), UNTIL, str(speed), str(processes)],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def finish(process: "subprocess.Popen[str]") -> dict[str, object]:
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return finish(start(tmp_path_factory.mktemp("undisturbed")))


def test_every_flight_is_decided_once_and_learned_or_expired(undisturbed):
    scheduled = sum(r.type == "flights.scheduled.v1" for r in flight_records(data_folder(), parse_iso(UNTIL)))
    assert undisturbed["decisions"] == undisturbed["subjects"] == scheduled
    assert undisturbed["outcomes"] + undisturbed["expired"] == scheduled


def test_the_loop_trained_and_promoted_by_itself(undisturbed):
    assert undisturbed["trainings"] >= 2
    assert undisturbed["promotions"] >= 2


def test_killed_at_ten_random_moments_it_comes_to_the_same(undisturbed, tmp_path):
    """kill -9 anywhere, and start again: nothing lost, nothing decided twice, the same digest."""
    chance = random.Random(2013)
    kills = 0
    while kills < 10:
        process = start(tmp_path / "run")
        try:
            process.communicate(timeout=chance.uniform(0.5, 4.0))
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
    assert kills == 10, "it finished before it was killed ten times"
    assert finish(start(tmp_path / "run")) == undisturbed


def test_however_slowly_it_runs_it_comes_to_the_same(undisturbed, tmp_path):
    """Event time held back to a fraction of full speed changes nothing but how long it takes."""
    assert finish(start(tmp_path, speed=40_000)) == undisturbed


def test_in_one_process_it_comes_to_the_same(undisturbed, tmp_path):
    """Two processes wait for each other through the log: they decide what one would."""
    assert finish(start(tmp_path, processes=1)) == undisturbed
