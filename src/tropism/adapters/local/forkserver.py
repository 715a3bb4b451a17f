"""The process that forks a process per job; it runs nothing else and has no threads of its own.

Not ``multiprocessing``'s: that one runs the main script again in every child, and leaves children
behind when their parent is killed.
"""

import contextlib
import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
from importlib import import_module
from typing import NoReturn

from tropism.adapters.jobs import call_by_name, describe_error

COMMAND = struct.Struct("!cI")
"""To the server: ``s`` starts the job of this number, whose channel comes along; ``k`` kills it."""

EXIT = struct.Struct("!Ii")
"""From the server: a job's number and wait status, once nothing is left of its process."""

HEAD = struct.Struct("!cQ")
"""On a job's channel, with a length: ``f`` its function, ``m`` its memory limit, ``p`` its payload; then back
``r`` its result, ``e`` its error, or ``o`` out of memory."""

_PR_SET_PDEATHSIG = 1  # of Linux's sys/prctl.h

BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from tropism.adapters.local.forkserver import serve; serve(sys.argv[2:])"
)


def serve(arguments: list[str]) -> NoReturn:
    """Start and kill jobs as commanded, until the commander is gone: then nothing is left."""
    commands, exits = (socket.socket(fileno=int(number)) for number in arguments[:2])
    for module in json.loads(arguments[2]):
        try:
            import_module(module)
        except Exception as error:  # noqa: BLE001 (loading early only saves time)
            sys.stderr.write(f"tropism: cannot preload {module!r}: {describe_error(error)}\n")
    # What is loaded stays shared with the children: collecting would write to its pages.
    gc.collect()
    gc.freeze()
    children: dict[int, int] = {}
    wake, woken = socket.socketpair()
    woken.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([commands, wake], [], [])
        if wake in ready:
            wake.recv(4096)
            _reap(children, exits)
        if commands in ready and not _obey(commands, exits, children):
            _leave(children)


def _obey(commands: socket.socket, exits: socket.socket, children: dict[int, int]) -> bool:
    """Carry out one command; False if there will be no more."""
    command, channels, _, _ = socket.recv_fds(commands, COMMAND.size, 1)
    if len(command) < COMMAND.size:
        return False
    kind, number = COMMAND.unpack(command)
    if kind == b"k":
        for pid in [pid for pid, job in children.items() if job == number]:
            _kill(pid)
        return True
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        # Whoever holds these keeps the two sides from noticing each other's end.
        commands.close()
        exits.close()
        _be_child(channels[0], parent)
    _lead_group(pid)
    children[pid] = number
    os.close(channels[0])
    return True


def _reap(children: dict[int, int], exits: socket.socket) -> None:
    for pid in list(children):
        # The process itself is left a zombie until its group is killed: its number stays its own.
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            _kill(pid)
            _, status = os.waitpid(pid, 0)
            exits.sendall(EXIT.pack(children.pop(pid), status))


def _leave(children: dict[int, int]) -> NoReturn:
    for pid in children:
        _kill(pid)
        os.waitpid(pid, 0)
    os._exit(0)


def _kill(pid: int) -> None:
    """Kill a job's process, and what it started."""
    # macOS refuses permission for a group whose members are all zombies.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _lead_group(pid: int) -> None:
    # Both parent and child do it, so that it is done whoever runs first.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)


def _die_with(parent: int) -> None:
    """End when the server is killed: nobody else could end this process then. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(70)


def _be_child(handle: int, parent: int) -> NoReturn:
    try:
        _lead_group(os.getpid())
        _die_with(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        channel = socket.socket(fileno=handle)
        name, limit, payload = (_receive(channel) for _ in range(3))
        _limit_memory(int(limit))
        kind, answer = _run(name.decode(), payload)
        channel.sendall(HEAD.pack(kind, len(answer)))
        channel.sendall(answer)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    finally:
        os._exit(70)


def _run(name: str, payload: bytes) -> tuple[bytes, bytes]:
    try:
        return b"r", call_by_name(name, payload)
    except MemoryError:
        return b"o", b""
    except BaseException as error:  # noqa: BLE001 (SystemExit too is how a job ended)
        return b"e", describe_error(error).encode(errors="replace")


def _limit_memory(bytes_max: int) -> None:
    """Limit what the job may use beyond what is loaded already; 0 is no limit."""
    if bytes_max:
        with open("/proc/self/statm") as pages:  # noqa: PTH123 (before anything else is imported)
            mapped = int(pages.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + bytes_max, mapped + bytes_max))


def _receive(channel: socket.socket) -> bytes:
    _, size = HEAD.unpack(channel.recv(HEAD.size, socket.MSG_WAITALL))
    received = bytearray()
    while len(received) < size:
        part = channel.recv(min(size - len(received), 1 << 20))
        if not part:
            raise EOFError("the job's payload was cut off")
        received += part
    return bytes(received)
