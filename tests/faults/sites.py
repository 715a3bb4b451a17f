"""The engines of the fault suite: each a log and a state that processes share, with whatever can be done to it."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

from tests.faults.proxy import Proxy
from tests.faults.worker import Job, main, open_log_and_state, runtime_of
from tests.kafka_servers import Noida
from tests.nats_server import NatsServer
from tests.servers import Crashes, own_postgres, postgres_url

from tropism.adapters.local.clock import SystemClock
from tropism.adapters.memory import MemoryStore
from tropism.runtime.patience import patiently
from tropism.testing.faults import FaultyLog, FaultyState
from tropism.testing.history import Published, check, firsts, gather
from tropism.testing.ledger import record_of_posting

PATIENCE_SECONDS = 90.0
LOOK_SECONDS = 0.02


@cache
def _processes():
    context = multiprocessing.get_context("forkserver")
    # One process has loaded everything, and becomes workers in no time.
    context.set_forkserver_preload(["tests.faults.worker"])
    return context


async def until(condition, told=lambda: "it did not come to pass"):
    """Wait for something of which nothing in this process can tell."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, told()
        await asyncio.sleep(LOOK_SECONDS)
    return found


class Process:
    """A worker that is a process of its own."""

    def __init__(self, target, *arguments):
        self._process = _processes().Process(target=target, args=arguments, daemon=True)
        self._process.start()

    @property
    def is_alive(self):
        return self._process.is_alive()

    @property
    def exit_code(self):
        return self._process.exitcode

    def signal(self, number):
        os.kill(self._process.pid, number)

    async def kill(self):
        """End it at once, as kill -9 does."""
        self._process.kill()
        await self.ended()

    def stop(self):
        """Ask it to stop in order."""
        self.signal(signal.SIGTERM)

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    async def ended(self):
        await until(lambda: not self._process.is_alive(), lambda: "a worker does not end")
        self._process.join()
        return self._process.exitcode


class Inside:
    """A worker in this process, on stores that only live here: killed, it never calls them again."""

    def __init__(self, site, job):
        clock = SystemClock()
        self._frozen = asyncio.Event()
        self._frozen.set()
        self._seat = _Seat(self)
        log = FaultyLog(site.log, self._seat, clock, waits=True)
        self.runtime = runtime_of(
            job, log, FaultyState(site.state, self._seat, clock), _Frozen(clock, self._frozen)
        )
        self.is_dead = False
        self._task = asyncio.ensure_future(self._work())
        self._stopping = None
        self.exit_code = None

    async def _work(self):
        await self.runtime.start()
        await self.runtime.wait()

    @property
    def is_alive(self):
        return not self.is_dead and (self._stopping is None or not self._stopping.done())

    async def kill(self):
        self.is_dead = True
        self._frozen.set()
        self._task.cancel()
        if self._stopping is not None:
            self._stopping.cancel()
        await asyncio.wait([task for task in (self._task, self._stopping) if task is not None])
        await self.runtime.abandon()
        self.exit_code = -signal.SIGKILL

    def stop(self):
        async def stop():
            await self.runtime.stop()
            self._task.cancel()
            self.exit_code = 0

        self._stopping = asyncio.ensure_future(stop())

    def freeze(self):
        self._frozen.clear()

    def thaw(self):
        self._frozen.set()

    async def ended(self):
        await until(lambda: not self.is_alive, lambda: "a worker does not end")
        return self.exit_code

    async def pass_(self):
        await self._frozen.wait()
        if self.is_dead:
            await asyncio.get_running_loop().create_future()


class _Frozen:
    """A clock whose sleepers do not wake while their process stands still."""

    def __init__(self, clock, frozen):
        self.now_us, self.monotonic = clock.now_us, clock.monotonic
        self._clock, self._runs = clock, frozen

    async def sleep(self, seconds):
        await self._clock.sleep(seconds)
        await self._runs.wait()


class _Seat:
    def __init__(self, worker):
        self._worker = worker

    async def call(self, name, clock, make, about=None):
        await self._worker.pass_()
        result = await make()
        await self._worker.pass_()
        return result


class Site:
    """One engine, empty, for one scenario."""

    def __init__(self, folder, log_url="", state_url="", *, worker_urls=None, proxy=None, server=None):
        self.folder = Path(folder)
        self.urls = (log_url, state_url)
        self.worker_urls = worker_urls or self.urls
        self.proxy = proxy
        self.server = server
        self.published = []
        self.workers = []
        self._stores = []
        self._numbers = {}

    async def open(self):
        clock = SystemClock()
        self.log, self.state, self._stores = await patiently(clock, lambda: open_log_and_state(*self.urls))
        await patiently(clock, lambda: self.log.create_topics({"ledger": 4}))

    async def close(self):
        self.conduct_all_well()
        for worker in self.workers:
            if worker.is_alive:
                await worker.kill()
        for store in self._stores:
            await store.close()

    # -- workers ----------------------------------------------------------------------------------

    def work(self, **options):
        """Start a worker."""
        log, state = self.worker_urls
        worker = self._started(Job(log, state, str(self.folder), **options))
        self.workers.append(worker)
        return worker

    def _started(self, job):
        return Process(main, job)

    def conduct(self, kind, account):
        """Let the calls of an account hold, raise, spoil their batch, block the loop, or end their process."""
        (self.folder / f"{kind}-{account}").touch()

    def conduct_well(self, kind, account):
        (self.folder / f"{kind}-{account}").unlink(missing_ok=True)

    def conduct_all_well(self):
        for kind in ("hold", "raise", "spoil", "block", "die"):
            for path in self.folder.glob(f"{kind}-*"):
                path.unlink()

    def calls(self):
        """Return the ids of the postings with which ``books`` was called, as often as it was."""
        path = self.folder / "calls"
        return [line.partition(" ")[2] for line in path.read_text().splitlines()] if path.exists() else []

    async def called(self, *ids):
        await until(
            lambda: set(ids) <= set(self.calls()), lambda: f"of {ids}, only {self.calls()} were called"
        )

    # -- postings ---------------------------------------------------------------------------------

    def next(self, account):
        number = self._numbers.get(account, 0)
        self._numbers[account] = number + 1
        return record_of_posting(account, number, time.time_ns() // 1000)

    async def post(self, *accounts, times=1, batch=20, log=None):
        """Post to accounts, in turn, some at a time, each until it is acknowledged; return the ids."""
        records = [self.next(account) for _ in range(times) for account in accounts]
        for start in range(0, len(records), batch):
            await self.append(records[start : start + batch], log=log)
        return [record.id for record in records]

    async def append(self, records, *, log=None):
        first = len(self.published)
        self.published += [Published(r.id, r.subject, acknowledged=False) for r in records]
        await patiently(SystemClock(), lambda: (log or self.log).append(records))
        for place in range(first, first + len(records)):
            self.published[place] = replace(self.published[place], acknowledged=True)

    # -- what came of it --------------------------------------------------------------------------

    async def history(self):
        return await patiently(SystemClock(), lambda: gather(self.log, self.state, list(self.published)))

    async def handled(self, seconds=PATIENCE_SECONDS):
        """Wait until every law holds of all that was published, and of the same a moment later."""
        deadline = time.monotonic() + seconds
        while violations := check(await self.history()):
            assert time.monotonic() < deadline, "\n".join(map(str, violations[:8]))
            await asyncio.sleep(5 * LOOK_SECONDS)
        # What would come twice, would come now.
        await asyncio.sleep(0.1)
        history = await self.history()
        assert not check(history), "\n".join(map(str, check(history)[:8]))
        return history

    async def count(self, topic):
        """Return how many records a topic has, or as good as that where offsets have gaps."""
        return sum((await patiently(SystemClock(), lambda: self.log.ends([topic]))).values())

    async def booked(self):
        """Return the ids of the postings that were booked."""
        logs = (await self.history()).logs
        return {record.extensions["causationid"] for record in firsts(logs["books"])}

    async def books(self, *ids):
        """Wait until postings are booked."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while missing := set(ids) - await self.booked():
            assert time.monotonic() < deadline, f"not booked: {sorted(missing)[:5]}"
            await asyncio.sleep(LOOK_SECONDS)


class MemorySite(Site):
    async def open(self):
        store = MemoryStore()
        self.log, self.state = store.log, store.state
        await self.log.create_topics({"ledger": 4})

    def _started(self, job):
        return Inside(self, job)


class Keeper:
    """A process that owns a database file, as whoever comes first does: the nearest that SQLite has to a server."""

    def __init__(self, url, folder):
        self._url, self._ready = url, Path(folder) / "kept"
        self._process = None

    async def start(self):
        self._ready.unlink(missing_ok=True)
        self._process = Process(keep, self._url, self._ready)
        await until(self._ready.exists)

    async def kill(self):
        await self._process.kill()

    stop = kill


def keep(url, ready):
    async def serve():
        await open_log_and_state(url, url)
        ready.touch()
        while os.getppid() != 1:  # noqa: ASYNC110 (nothing tells of the end of a parent)
            await asyncio.sleep(0.1)

    asyncio.run(serve())


class NatsKeeper:
    def __init__(self, server):
        self._server = server

    async def start(self):
        await asyncio.to_thread(self._server.start)

    async def kill(self):
        self._server.kill()

    async def stop(self):
        self._server.process.terminate()
        await asyncio.to_thread(self._server.process.wait)


class KafkaKeeper:
    def __init__(self, broker):
        self._broker = broker

    async def start(self):
        await asyncio.to_thread(self._broker.start)

    async def kill(self):
        await asyncio.to_thread(self._broker.stop, signal.SIGKILL)

    async def stop(self):
        await asyncio.to_thread(self._broker.stop)


class PostgresKeeper:
    def __init__(self, server):
        self._server = server
        self._folder = Path(server.pgdata)

    async def start(self):
        await asyncio.to_thread(self._server.ensure_postgres_running)

    async def kill(self):
        """Kill -9 the postmaster, and wait until its children have seen it and ended."""
        lock = self._folder / "postmaster.pid"
        os.kill(int(lock.read_text().split()[0]), signal.SIGKILL)
        await until(lambda: not _living_in(self._folder), lambda: "the server's processes do not end")
        # Who adopted the postmaster may never ask how it ended: its number is then taken for a running one.
        for path in (lock, *self._folder.glob(".s.PGSQL.*")):
            path.unlink(missing_ok=True)

    async def stop(self):
        await asyncio.to_thread(Crashes(self._server).stop, "fast")


def _living_in(folder):
    """Return the processes, zombies apart, whose working directory this is."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdecimal() and (path / "cwd").readlink() == folder:
                found.append(path.name)
    return found


class Servers:
    """The servers of one run of the suite: started when first asked for, and harmed by it alone."""

    def __init__(self, folder):
        self._folder = Path(folder)
        self._stack = contextlib.ExitStack()

    @cached_property
    def postgres(self):
        return self._stack.enter_context(own_postgres())

    @cached_property
    def nats(self):
        (self._folder / "nats").mkdir()
        return self._stack.enter_context(NatsServer(self._folder / "nats", always=True))

    @cached_property
    def kafka(self):
        (self._folder / "kafka").mkdir()
        broker = Noida(self._folder / "kafka")
        self._stack.callback(broker.stop, signal.SIGKILL)
        return broker

    def close(self):
        self._stack.close()


def _state(folder):
    return f"sqlite:///{folder}/state.db"


def _memory(servers, folder):
    return MemorySite(folder)


def _sqlite(servers, folder):
    url = f"sqlite:///{folder}/x.db"
    return Site(folder, url, url, server=Keeper(url, folder))


def postgres_through(url):
    """Return what connects to the server of a URL, and what makes the URL of a proxy in front of it."""
    base, _, query = url.partition("?")
    options = dict(parse_qsl(query))
    host = options.pop("host")
    rest = base.rpartition("/")[2]
    user = base.partition("://")[2].partition("@")[0]

    def through(port, **more):
        said = urlencode({"sslmode": "disable", **options, **more})
        return f"postgresql://{user}@127.0.0.1:{port}/{rest}?{said}"

    return lambda: asyncio.open_unix_connection(f"{host}/.s.PGSQL.5432"), through


def _postgres(servers, folder):
    url = postgres_url(servers.postgres)
    server, through = postgres_through(url)
    proxy = Proxy(server)
    site = Site(folder, url, url, proxy=proxy, server=PostgresKeeper(servers.postgres))
    site.through = lambda: (through(proxy.port, answer_seconds=4),) * 2
    return site


def _nats(servers, folder):
    port, rest = servers.nats.port, f"?timeout_seconds=1&sync=always&prefix={uuid4().hex[:12]}"
    proxy = Proxy(lambda: asyncio.open_connection("127.0.0.1", port))
    site = Site(
        folder, f"nats://127.0.0.1:{port}{rest}", _state(folder), proxy=proxy, server=NatsKeeper(servers.nats)
    )
    site.through = lambda: (f"nats://127.0.0.1:{proxy.port}{rest}", _state(folder))
    return site


def _kafka(servers, folder):
    port, prefix = servers.kafka.port, f"t{uuid4().hex[:12]}."

    def url(port):
        return f"kafka://127.0.0.1:{port}?prefix={prefix}&timeout_seconds=2"

    proxy = Proxy(lambda: asyncio.open_connection("127.0.0.1", port))
    site = Site(folder, url(port), _state(folder), proxy=proxy, server=KafkaKeeper(servers.kafka))
    site.through = lambda: (url(proxy.port), _state(folder))
    site.port = port
    return site


@dataclass(frozen=True)
class Engine:
    """A log and a state, what serves them here, and what can be done to that."""

    name: str
    server: str
    make: object
    real: str = "yes"
    processes: bool = True
    network: bool = True
    killable: bool = True


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "memory",
            "this process's memory; workers are runtimes in it, killed by never letting a call of theirs end",
            _memory,
            real="no: our own stand-in",
            processes=False,
            network=False,
            killable=False,
        ),
        Engine("sqlite", "a database file; its server is the process that owns it", _sqlite, network=False),
        Engine("postgres", "PostgreSQL 18, its postmaster and backends", _postgres),
        Engine("nats", "nats-server 2.15 with sync_interval: always; state in SQLite", _nats),
        Engine(
            "kafka",
            "noida 0.2, a broker that speaks Kafka's protocol; state in SQLite",
            _kafka,
            real="yes, and not Apache Kafka",
        ),
    )
}


@asynccontextmanager
async def opened(engine, servers, *, through_proxy=False):
    """Give an empty site, and end what was started on it."""
    with tempfile.TemporaryDirectory(prefix="tropism-faults-") as folder:
        site = engine.make(servers, folder)
        if site.server is not None and isinstance(site.server, Keeper):
            await site.server.start()
        if site.proxy is not None:
            await site.proxy.open()
            if hasattr(site, "port"):
                # A broker says itself where it is: it is to say that it is where the proxy is.
                site.proxy._word = b"127.0.0.1" + site.port.to_bytes(4, "big")
                site.proxy._other = b"127.0.0.1" + site.proxy.port.to_bytes(4, "big")
            if through_proxy:
                site.worker_urls = site.through()
        try:
            await site.open()
            yield site
        finally:
            await site.close()
            if site.proxy is not None:
                await site.proxy.close()
            if isinstance(site.server, Keeper):
                await site.server.kill()
