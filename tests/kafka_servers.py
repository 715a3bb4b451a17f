"""Kafka brokers for tests: noida, a real server as a package, and librdkafka's own mock of three brokers."""

import atexit
import contextlib
import os
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from uuid import uuid4

from tests.watchdog import dies_with_us, has_ended

PATIENCE_SECONDS = 30.0

_MOCK = """
import sys
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": "mock:1", "test.mock.num.brokers": 3, "log_level": 0})
print(",".join(f"{b.host}:{b.port}" for b in producer.list_topics(timeout=10).brokers.values()), flush=True)
sys.stdin.read()
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Noida:
    """A broker of its own process, that can be stopped and started on the same data."""

    def __init__(self, folder, port=None):
        self.folder = folder
        self.port = port or free_port()
        self.process = None
        self.start()

    @property
    def servers(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        # The program itself: its command in Python starts it as a child, which would outlive what is stopped.
        binary = Path(find_spec("noida_db").origin).with_name("noida-db")
        command = [binary, "start", "--data-dir", self.folder / "data"]
        with (self.folder / "noida.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--only", "kafka", "--kafka-port", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        dies_with_us(self.folder, pid=self.process.pid, folder=self.folder)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "noida.log").read_text("utf-8")
            assert time.monotonic() < deadline, "noida does not listen"
            time.sleep(0.02)

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        has_ended(self.folder)

    def _answers(self):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
            return True
        return False

    def url(self, **more):
        return url_of(self.servers, **more)


def url_of(servers, **more):
    """Return the URL of a log that nothing was written to yet."""
    query = {"prefix": f"t{uuid4().hex[:12]}.", "timeout_seconds": 10, **more}
    return f"kafka://{servers}?" + "&".join(f"{key}={value}" for key, value in query.items())


@cache
def noida():
    """Return the one broker of this run of the tests, stopped with it whatever becomes of them."""
    folder = tempfile.TemporaryDirectory(prefix="tropism-noida-")
    server = Noida(Path(folder.name))
    owner = os.getpid()

    def leave():
        # A child that inherited this does not own the server.
        if os.getpid() == owner:
            server.stop(signal.SIGKILL)
            folder.cleanup()

    atexit.register(leave)
    return server


@cache
def mock_servers():
    """Return the addresses of the mock's three brokers, which live as long as this run of the tests."""
    process = subprocess.Popen(
        [sys.executable, "-c", _MOCK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def leave():
        # It reads until nobody can write to it: also where this run is killed, it ends.
        process.stdin.close()
        process.wait()
        process.stdout.close()

    atexit.register(leave)
    return process.stdout.readline().strip()


class RefusingBroker(socketserver.ThreadingTCPServer):
    """Speaks as much of Kafka's protocol as it takes to refuse a login."""

    allow_reuse_address = daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Refusal)
        Thread(target=self.serve_forever, daemon=True).start()

    @property
    def servers(self):
        return f"127.0.0.1:{self.server_address[1]}"


class _Refusal(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(4):
            request = self.rfile.read(struct.unpack(">i", head)[0])
            kind, _, correlation = struct.unpack(">hhi", request[:8])
            body = struct.pack(">i", correlation) + _ANSWERS[kind]
            self.wfile.write(struct.pack(">i", len(body)) + body)


_KINDS = [(3, 0, 9), (17, 0, 1), (18, 0, 3), (36, 0, 1)]
_ANSWERS = {
    # ApiVersions, version 3: no error, the kinds of requests that are understood, no throttling.
    18: b"\0\0"
    + bytes([len(_KINDS) + 1])
    + b"".join(struct.pack(">hhhb", *kind, 0) for kind in _KINDS)
    + b"\0\0\0\0\0",
    # SaslHandshake: no error, one mechanism.
    17: struct.pack(">hi", 0, 1) + struct.pack(">h", 5) + b"PLAIN",
    # SaslAuthenticate: error 58, with a word that may repeat what was sent.
    36: struct.pack(">h", 58)
    + struct.pack(">h", 9)
    + b"topsecret"
    + struct.pack(">i", 0)
    + struct.pack(">q", 0),
}
