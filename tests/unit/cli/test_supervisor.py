"""Whatever goes wrong around the services, ``tropism dev`` says it and goes on."""

import asyncio

import pytest

from tropism.cli import supervisor
from tropism.cli.reload import Build
from tropism.cli.supervisor import Options, Supervisor

OPTIONS = Options(None, 1.0, 15.0, None, 30.0, reload=True)


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(supervisor, "say", lines.append)
    return lines


class Sources:
    """Sources that change all the time."""

    async def wait_changed(self):
        await asyncio.sleep(0)
        return ["app.py"]


def test_a_reload_that_fails_is_said_and_the_next_one_is_tried(monkeypatch, said):
    asyncio.run(failing_reloads(monkeypatch, said))


async def failing_reloads(monkeypatch, said):
    answers = iter([OSError("no more processes"), ValueError("x"), Build("shop", {})])
    done = asyncio.Event()

    async def probe(app):
        answer = next(answers, None)
        if answer is None:
            done.set()
            return await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(supervisor, "Sources", Sources)
    monkeypatch.setattr(supervisor, "probe", probe)
    made = Supervisor(OPTIONS)
    task = asyncio.create_task(made._reload_for_ever())
    async with asyncio.timeout(10):
        await done.wait()
    task.cancel()
    told = [line for line in said if line.startswith("Cannot reload")]
    assert [line.partition(".")[0] for line in told] == [
        "Cannot reload: OSError: no more processes",
        "Cannot reload: ValueError: x",
    ]
    await made.close()


def test_a_process_that_cannot_be_started_is_tried_again_after_pauses_that_double(monkeypatch, said):
    asyncio.run(failing_starts(monkeypatch, said))


async def failing_starts(monkeypatch, said):
    thrice = asyncio.Event()
    starts = iter(range(4))

    async def start(*_):
        if next(starts, 3) == 3:
            thrice.set()
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor.Child, "start", start)
    monkeypatch.setattr(supervisor, "_PAUSE_FIRST", 0.001)
    made = Supervisor(OPTIONS)
    made._change({"billing"}, set())
    async with asyncio.timeout(10):
        await thrice.wait()
    pauses = [line.partition(" s: ")[0].split()[-1] for line in said if "Starting again" in line]
    assert pauses[:3] == ["0.001", "0.002", "0.004"]
    assert "it cannot be started (Resource temporarily unavailable)" in said[0]
    await made.close()
