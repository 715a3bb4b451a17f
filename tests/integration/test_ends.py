"""Whatever ends a command ends its work with it, at once: no process stays behind, and nothing is waited for."""

import os
import signal
import subprocess
import sys

import pytest
from tests.integration.conftest import is_alive, wait_until
from tests.unit.whatif.tables import write_stream

SLOW = """
import os, pathlib, time

def train(rows, seed):
    pathlib.Path(f"at-work-{os.getpid()}").touch()
    time.sleep(600)
"""
PROGRAM = """
import numpy as np
from slow import train
from tropism.models.baselines import prequential
from tropism.models.rows import TrainingRows

if __name__ == "__main__":
    at = np.arange(100)
    rows = TrainingRows(("x",), [at.tolist()], at % 2.0, at, at + 3)
    prequential(rows, train, [20, 40, 60, 80], 0, workers=2)
"""


def at_work(path):
    pids = [int(found.name.removeprefix("at-work-")) for found in path.glob("at-work-*")]
    return [pid for pid in pids if is_alive(pid)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_training_outlives_the_process_that_asked_for_it(tmp_path, number):
    (tmp_path / "slow.py").write_text(SLOW)
    (tmp_path / "program.py").write_text(PROGRAM)
    paths = {**os.environ, "PYTHONPATH": ":".join([str(tmp_path), *sys.path])}
    process = subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path, env=paths)
    try:
        wait_until(lambda: len(at_work(tmp_path)) == 2)
        process.send_signal(number)
        process.wait(60)
        wait_until(lambda: not at_work(tmp_path))
    finally:
        process.kill()
        process.wait()
        for pid in at_work(tmp_path):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_whatif_without_waiting_for_its_training(folder, number, code):
    folder.write("slow.py", SLOW)
    write_stream(folder.path / "t.csv", 400)
    columns = ("--time", "when", "--label", "label", "--label-at", "known", "--key", "id")
    running = folder.start("whatif", "t.csv", *columns, "--model", "slow:train")
    wait_until(lambda: at_work(folder.path))
    assert running.stop(number) == code
    assert "Traceback" not in running.text
