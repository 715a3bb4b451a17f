"""Servers of tests do not outlive a run that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 30.0
RUN = """
import subprocess, sys, time
from tests.watchdog import dies_with_us
server = subprocess.Popen(["sleep", "600"])
dies_with_us("server", pid=server.pid, folder=sys.argv[1])
print(server.pid, flush=True)
time.sleep(600)
"""


def is_there(pid):
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_killed_run_takes_its_servers_along(tmp_path):
    """After kill -9 of the run its server is gone, and so is the server's folder."""
    folder = tmp_path / "server"
    folder.mkdir()
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    pid = int(run.stdout.readline())
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while is_there(pid) or folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
