"""A real NATS server for tests, from its package: started, killed, and started again on the same store."""

import atexit
import functools
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.watchdog import dies_with_us, has_ended

BINARY = Path(sys.executable).with_name("nats-server")
PATIENCE_SECONDS = 30.0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class NatsServer:
    """One server process on a port and a folder that outlive it."""

    def __init__(self, folder, *, always=False, port=None, **more):
        self.folder = Path(folder)
        self.port = port or free_port()
        self.process = None
        store = {"store_dir": str(self.folder / "store")} | ({"sync_interval": "always"} if always else {})
        config = {"host": "127.0.0.1", "port": self.port, "jetstream": store, **more}
        # JSON is what its configuration files are a superset of.
        (self.folder / "nats.conf").write_text(json.dumps(config)[1:-1], "utf-8")

    @property
    def url(self):
        return f"nats://127.0.0.1:{self.port}"

    def start(self):
        with (self.folder / "nats.log").open("ab") as log:
            self.process = subprocess.Popen([BINARY, "-c", self.folder / "nats.conf"], stdout=log, stderr=log)
        dies_with_us(self.folder, pid=self.process.pid, folder=self.folder)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "nats.log").read_text("utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self

    def _answers(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as peer:
                return peer.recv(4) == b"INFO"
        except OSError:
            return False

    def kill(self):
        """Kill it as a crash does."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            has_ended(self.folder)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.kill()


@functools.cache
def shared_server():
    """Return the one server of this test session; it ends with the session, however that ends."""
    folder = tempfile.mkdtemp(prefix="tropism-nats-")
    server = NatsServer(folder)

    def stop():
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return server.start()
