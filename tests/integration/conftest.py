"""Running the command as users do, in a folder of its own."""

import contextlib
import importlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tropism.cli.main import main

SRC = Path(__file__).parents[2] / "src"
PATIENCE_SECONDS = 60.0


def environment(**more):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TROPISM_")}
    return {**clean, "PYTHONPATH": str(SRC), "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb", **more}


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Running:
    """A command under way, whose standard error is a file that can be waited on."""

    def __init__(self, process, log):
        self.process = process
        self.log = log

    @property
    def text(self):
        return self.log.read_text("utf-8", "replace")

    def wait_for(self, text, count=1):
        wait_until(lambda: self.text.count(text) >= count, lambda: f"no {text!r} in:\n{self.text}")

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)


def _left_with(command):
    try:
        command()
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    return 0


def wait_until(condition, told=lambda: ""):
    """Wait for a condition: polling, because other processes have no way to wake this one."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, told()
        time.sleep(0.02)


def is_alive(pid):
    """Say whether a process is there, and no zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


class Folder:
    """A user's folder, and the command in it."""

    def __init__(self, path):
        self.path = path
        self.running = []

    def write(self, name, text):
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # Replaced in one step, as editors do.
        scratch = target.with_suffix(target.suffix + ".tmp")
        scratch.write_text(text, "utf-8")
        scratch.replace(target)
        return target

    def run(self, *arguments, code=0, input=None, apart=False, **more):
        """Run a command to its end: here, as starting an interpreter takes longer; or in a process apart."""
        how = self._run_apart if apart else self._run_here
        done = how([str(argument) for argument in arguments], input, environment(**more))
        assert code is None or done.code == code, f"{arguments}: {done.code}\n{done.out}\n{done.err}"
        assert "Traceback" not in done.err
        return done

    def _run_apart(self, arguments, input, env):
        done = subprocess.run(
            [sys.executable, "-m", "tropism.cli.main", *arguments],
            cwd=self.path,
            env=env,
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def _run_here(self, arguments, input, env):
        out, err = io.StringIO(), io.StringIO()
        stdin = io.TextIOWrapper(io.BytesIO((input or "").encode()))
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.chdir(self.path)
            patch.setattr(os, "environ", env)
            patch.setattr(sys, "argv", ["tropism", *arguments])
            patch.setattr(sys, "path", [*sys.path])
            patch.setattr(sys, "stdin", stdin)
            # Modules written since were not there when their folder was last looked at.
            importlib.invalidate_caches()
            code = _left_with(main)
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(str(self.path)):
                del sys.modules[name]
        return Result(code, out.getvalue(), err.getvalue())

    def start(self, *arguments, **more):
        number = len(self.running)
        log = self.path / f".err-{number}"
        with log.open("wb") as err, (self.path / f".out-{number}").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "tropism.cli.main", *map(str, arguments)],
                cwd=self.path,
                env=environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        running = Running(process, log)
        self.running.append(running)
        return running

    def out(self, number=-1):
        number = number % len(self.running)
        return (self.path / f".out-{number}").read_text("utf-8")

    def events(self, topic):
        """Return the payloads of a topic, in order of arrival, read beside whoever owns the file."""
        path = self.path / ".tropism" / "tropism.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as sql:
            query = "SELECT data FROM log WHERE topic = ? ORDER BY place"
            try:
                return [json.loads(row[0]) for row in sql.execute(query, (topic,))]
            except sqlite3.OperationalError as error:
                # Not made yet, or being made.
                if "no such table" not in str(error) and "locked" not in str(error):
                    raise
                return []

    def wait_until(self, condition):
        wait_until(condition, lambda: "\n".join(running.text for running in self.running))

    def close(self):
        for running in self.running:
            if running.process.poll() is None:
                running.process.kill()
                running.process.wait()


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    made = Folder(tmp_path_factory.mktemp("shared"))
    yield made
    made.close()
