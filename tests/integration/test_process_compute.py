"""Jobs in processes: nothing of them reaches this one but their result, and nothing of them stays."""

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.integration.children import child

from tropism.adapters.local import ProcessCompute, open_process
from tropism.core.errors import InvalidInputError, UnavailableError
from tropism.ports.compute import Job
from tropism.testing.compute import double, grow, note_and_linger


def is_alive(pid):
    """Whether a process runs; a zombie counts, for it is something left behind."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def pid_in(file: Path):
    # Whole once its line has ended.
    while not (file.exists() and file.read_text().endswith("\n")):  # noqa: ASYNC110, ASYNC240 (another process's)
        await asyncio.sleep(0.005)
    return int(file.read_text())  # noqa: ASYNC240 (a few bytes, and only the test waits)


async def gone(pid):
    while is_alive(pid):  # noqa: ASYNC110 (another process's end)
        await asyncio.sleep(0.005)


def test_a_cancelled_job_leaves_nothing(tmp_path):
    """When a cancelled ``run`` returns, its process is gone, not even a zombie; others go on."""

    async def cancel():
        compute = ProcessCompute()
        running = asyncio.ensure_future(compute.run(Job(note_and_linger, str(tmp_path / "pid").encode())))
        pid = await pid_in(tmp_path / "pid")
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not is_alive(pid)
        assert await compute.run(Job(double, b"a")) == b"aa"
        await compute.close()

    asyncio.run(cancel())


def test_a_late_job_leaves_nothing(tmp_path):
    """A job that took too long is killed before ``run`` raises."""

    async def be_late():
        compute = ProcessCompute()
        late = Job(note_and_linger, str(tmp_path / "pid").encode(), timeout_seconds=1.0)
        with pytest.raises(UnavailableError, match="took longer than 1 seconds"):
            await compute.run(late)
        assert not is_alive(await pid_in(tmp_path / "pid"))
        await compute.close()

    asyncio.run(be_late())


def test_closing_leaves_nothing(tmp_path):
    """``close`` ends what runs; who waits for it is told."""

    async def close():
        compute = ProcessCompute()
        running = asyncio.ensure_future(compute.run(Job(note_and_linger, str(tmp_path / "pid").encode())))
        pid = await pid_in(tmp_path / "pid")
        await compute.close()
        assert not is_alive(pid)
        with pytest.raises(UnavailableError):
            await running

    asyncio.run(close())


def test_a_killed_parent_leaves_nothing(tmp_path):
    """When this process is killed, its jobs end too."""

    async def outlive(parent):
        pid = await pid_in(tmp_path / "pid")
        parent.process.kill()
        await asyncio.wait_for(gone(pid), 10)

    with child("compute_and_wait", tmp_path / "pid") as parent:
        assert parent.line() == "running"
        asyncio.run(outlive(parent))


def test_a_killed_server_is_replaced(tmp_path):
    """When the process that forks is killed, its jobs fail, and the next job has a new one."""

    async def replace():
        compute = ProcessCompute()
        running = asyncio.ensure_future(compute.run(Job(note_and_linger, str(tmp_path / "pid").encode())))
        pid = await pid_in(tmp_path / "pid")
        (await compute.start())._process.kill()
        with pytest.raises(UnavailableError, match="server that forked it was killed"):
            await running
        await asyncio.wait_for(gone(pid), 10)
        assert await compute.run(Job(double, b"a")) == b"aa"
        await compute.close()

    asyncio.run(replace())


def test_the_cause_of_a_death_is_told():
    """What killed a job, or how much memory it lacked, stands in the error."""

    async def die():
        from tropism.testing.compute import die

        compute = ProcessCompute()
        with pytest.raises(UnavailableError, match="killed by SIGKILL"):
            await compute.run(Job(die, b"kill"))
        with pytest.raises(UnavailableError, match="ended with status 3"):
            await compute.run(Job(die, b"exit"))
        with pytest.raises(
            UnavailableError, match=r"more memory than 100000000 bytes.*Raise its 'memory_bytes_max'"
        ):
            await compute.run(Job(grow, b"1000000000", memory_bytes_max=100_000_000))
        await compute.close()

    asyncio.run(die())


@pytest.mark.parametrize("url", ["process:x", "process:?memory=1", "proc:"])
def test_wrong_urls(url):
    """A URL with options that no process takes is refused, with one that works."""
    with pytest.raises(InvalidInputError, match=r"Write 'process:'"):
        asyncio.run(open_process(url))


MAIN = """
import asyncio, sys
print("main runs", flush=True)
from jobs_of_mine import shout
from tropism.adapters.local import ProcessCompute
from tropism.ports.compute import Job

def mine(payload: bytes) -> bytes:
    return payload

async def main():
    compute = ProcessCompute()
    print((await compute.run(Job(shout, b"hello"))).decode(), flush=True)
    try:
        await compute.run(Job(mine, b""))
    except Exception as error:
        print(type(error).__name__, flush=True)
    await compute.close()

asyncio.run(main())
"""
JOBS = """
def shout(payload: bytes) -> bytes:
    print("a print of the job")
    return payload.upper()
"""


@pytest.mark.parametrize("command", [["main.py"], ["-m", "main"], ["-m", "package"], ["-c", MAIN]])
def test_any_main_program_will_do(tmp_path, command):
    """Scripts without a guard, modules and packages run jobs; they are not run again, and jobs do not print on standard output."""
    (tmp_path / "main.py").write_text(textwrap.dedent(MAIN))
    (tmp_path / "jobs_of_mine.py").write_text(textwrap.dedent(JOBS))
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "__main__.py").write_text(textwrap.dedent(MAIN))
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.stdout.splitlines() == ["main runs", "HELLO", "InvalidInputError"], done.stderr
    assert done.stderr == "a print of the job\n"
