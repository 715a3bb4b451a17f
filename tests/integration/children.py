"""Programs that tests start, talk to by lines, and kill."""

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from tropism.adapters.sqlite import open_sqlite
from tropism.core.envelope import Record
from tropism.core.errors import FencedError, TropismError
from tropism.ports.queue import Message
from tropism.ports.state import Commit, Position, Write

TOPIC = "orders"


def record(id, subject="k", data=b"{}"):
    return Record(id, f"{TOPIC}.placed.v1", TOPIC, subject, 0, data)


class Child:
    """A started program, whose lines are read one by one."""

    def __init__(self, process):
        self.process = process

    def line(self):
        text = self.process.stdout.readline().strip()
        assert text, f"the child ended with {self.process.wait()}"
        return text

    def tell(self, text):
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def kill(self):
        """Kill it, and return the lines that it had written."""
        self.process.kill()
        rest = self.process.stdout.read().split("\n")
        self.process.wait()
        # What follows the last line's end was not said.
        return [line for line in rest[:-1] if line]


@contextmanager
def child(program, *arguments):
    """Start one of the programs below."""
    boot = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
        "from tests.integration.children import main; main(*sys.argv[2:])"
    )
    command = [sys.executable, "-c", boot, json.dumps(sys.path), program, *map(str, arguments)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Child(process)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def main(program, *arguments):
    asyncio.run(PROGRAMS[program](*arguments))


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def hear():
    return (await asyncio.to_thread(sys.stdin.readline)).strip()


async def own(path):
    """Open a database, say so, and keep it."""
    store = await open_sqlite(f"sqlite:///{path}")
    say("owner" if store.owns else "other")
    await hear()
    await store.close()


async def own_and_hang(path):
    """Open a database, then block the event loop, as a bad handler does."""
    store = await open_sqlite(f"sqlite:///{path}")
    say("owner" if store.owns else "other")
    sys.stdin.readline()
    await store.close()


async def opened(place):
    """Open a store: a database file, or what a URL names."""
    if not str(place).startswith("postgresql://"):
        return await open_sqlite(f"sqlite:///{place}")
    from tropism.adapters.postgres import open_postgres

    return await open_postgres(place)


async def append_for_ever(path, name):
    """Append batches of growing size; say the number of each that was acknowledged."""
    store = await opened(path)
    batch = 0
    while True:
        size = 1 + batch % 37
        await store.log.append([record(f"{name}-{batch}-{n}", f"k{n % 5}") for n in range(size)])
        say(batch)
        batch += 1


async def commit_for_ever(path, consumer):
    """Commit step after step, from where the consumer stands; say each that was acknowledged."""
    store = await opened(path)
    lease, position = await store.state.acquire(consumer, "child", lease_seconds=3600)
    step = int(position.cursor or b"0")
    while True:
        step += 1
        await store.state.commit(step_commit(lease, step))
        say(step)


def step_commit(lease, step):
    name = lease.consumer
    writes = [Write(name, f"{step:06}", b"%d" % step), Write(name, "count", b"%d" % step)]
    return Commit(lease, Position(b"%d" % step, step), writes, [record(f"{name}-{step}")])


async def send_for_ever(path, name):
    """Send batches of messages of three keys; say the number of each batch that was acknowledged."""
    store = await open_sqlite(f"sqlite:///{path}")
    batch = 0
    while True:
        await store.queue.send("work", work_batch(name, batch))
        say(batch)
        batch += 1


def work_batch(name, batch):
    return [Message(f"{name}-{batch:05}-{n:02}", b"x", f"k{n % 3}") for n in range(1 + batch % 17)]


async def work_for_ever(path, name):
    """Receive and acknowledge; say what is on loan, what was acknowledged, and when there was nothing."""
    store = await open_sqlite(f"sqlite:///{path}")
    while True:
        loans = await store.queue.receive("work", count_max=5, lease_seconds=0.5, wait_seconds=0.1)
        if not loans:
            say("idle - -")
        for one in loans:
            say(f"got {one.message.id} {one.receipt}")
        lost = await store.queue.ack(loans)
        for one in loans:
            if one.receipt not in lost:
                say(f"done {one.message.id} {one.receipt}")


async def hold(path, consumer, lease_seconds):
    """Take a lease, say so; when told, commit with it and say how that went."""
    store = await opened(path)
    lease, _ = await store.state.acquire(consumer, "child", lease_seconds=float(lease_seconds))
    say("owner" if getattr(store, "owns", False) else "other")
    await hear()
    try:
        await store.state.commit(step_commit(lease, 1))
        say("committed")
    except FencedError:
        say("fenced")
    await store.close()


async def fill(path, bytes_max):
    """Append until no file may grow further; then make room, and go on."""
    import resource

    store = await open_sqlite(f"sqlite:///{path}")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(bytes_max), hard))
    stored = 0
    try:
        while True:
            await store.log.append([record(f"{stored + n}", data=bytes(2000)) for n in range(50)])
            stored += 50
    except TropismError as error:
        say(f"{type(error).__name__}: {error}")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await store.log.append([record("last")])
    say(stored + 1)
    await store.close()


async def compute_and_wait(path):
    """Run a job that lingers, from a process that will be killed."""
    from tropism.adapters.local import ProcessCompute
    from tropism.ports.compute import Job
    from tropism.testing.compute import note_and_linger

    say("running")
    await ProcessCompute().run(Job(note_and_linger, str(path).encode()))


PROGRAMS = {
    program.__name__: program
    for program in (
        own,
        own_and_hang,
        append_for_ever,
        commit_for_ever,
        send_for_ever,
        work_for_ever,
        hold,
        fill,
        compute_and_wait,
    )
}


def database(folder: Path) -> str:
    return f"sqlite:///{folder}/x.db"
