"""Servers of tests end with the run that started them, also where that is killed.

One small process waits at the end of a pipe that only this run holds open. When the run is gone, however
it went, it kills what it was told of and removes their folders.
"""

import json
import subprocess
import sys
from functools import cache

_WATCH = """
import json, os, shutil, signal, sys
kept = {}
for line in sys.stdin:
    told = json.loads(line)
    kept.pop(told["name"], None)
    if told["keep"]:
        kept[told["name"]] = told
for told in kept.values():
    try:
        pid = told["pid"] or int(open(told["pidfile"]).readline())
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError):
        pass
    if told["folder"]:
        shutil.rmtree(told["folder"], ignore_errors=True)
"""


@cache
def _watcher():
    return subprocess.Popen(
        [sys.executable, "-S", "-c", _WATCH],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        # What ends this run by its group, such as Ctrl-C, must not end the watcher first.
        start_new_session=True,
    )


def dies_with_us(name, *, pid=None, pidfile=None, folder=None):
    """Have a server killed when this run is gone, by its id or the file that holds it, and its folder removed."""
    _tell({"name": str(name), "keep": True, "pid": pid, "pidfile": _text(pidfile), "folder": _text(folder)})


def has_ended(name):
    """Say that a server was stopped: its id may be another's now."""
    _tell({"name": str(name), "keep": False})


def _text(path):
    return None if path is None else str(path)


def _tell(told):
    pipe = _watcher().stdin
    pipe.write(json.dumps(told) + "\n")
    pipe.flush()
