"""The same services at work in several processes."""

import os
import signal
from collections import Counter

from tests.integration.test_cli_run import pids

SHOP = """
import os, time
from tropism import App, Event, Service, State, use
class Paid(Event, type="orders.paid.v1", key="who"):
    who: str
    order: int
class Noted(Event, type="notes.noted.v1", key="who"):
    who: str
    order: int
    count: int
    process: int
s = Service("counting")
@s.on(Paid)
async def note(paid: Paid, seen: State[int] = use("seen")) -> Noted:
    time.sleep({pause})
    count = (seen.get() or 0) + 1
    seen.set(count)
    return Noted(who=paid.who, order=paid.order, count=count, process=os.getpid())
app = App("shop", services=[s])
"""


def write(folder, pause):
    folder.write("shop.py", SHOP.format(pause=pause))
    folder.write("tropism.toml", 'app = "shop:app"\n')


def bring(folder, start, count):
    rows = [
        f'{{"who": "k{n % 29}", "order": {n}, "at": "2026-01-01T00:00:00Z"}}'
        for n in range(start, start + count)
    ]
    folder.write("rows.ndjson", "\n".join(rows))
    columns = ["--time", "at", "--id", "order"]
    folder.run("events", "import", "rows.ndjson", "--type", "orders.paid.v1", *columns)


def counted_once(folder, count):
    """Whether every event was handled, exactly once and in one worker's order of its key."""
    found = folder.events("notes")
    assert max(Counter(each["order"] for each in found).values(), default=1) == 1
    assert max(Counter((each["who"], each["count"]) for each in found).values(), default=1) == 1
    return len(found) == count


def test_a_worker_that_dies_is_replaced_and_its_work_taken_over(folder):
    """Two processes share the keys; one is killed in the middle, and nothing is lost or done twice."""
    write(folder, 0.005)
    running = folder.start("run", "--workers", "2")
    running.wait_for("Ready", 2)
    bring(folder, 0, 600)
    folder.wait_until(lambda: len(folder.events("notes")) > 100)
    victim = pids(running)[-1]
    folder.wait_until(lambda: any(each["process"] == victim for each in folder.events("notes")))
    os.kill(victim, signal.SIGKILL)
    running.wait_for("Starting again")
    folder.wait_until(lambda: counted_once(folder, 600))
    assert len({each["process"] for each in folder.events("notes")}) >= 2
    assert running.stop() == 0
    # Whoever runs it alone afterwards goes on where the two stood.
    bring(folder, 600, 50)
    alone = folder.start("run")
    folder.wait_until(lambda: counted_once(folder, 650))
    assert alone.stop() == 0


def test_workers_come_when_catching_up_would_take_too_long(folder):
    """What waits is measured in the time it takes, and more workers take their share of it."""
    write(folder, 0.004)
    bring(folder, 0, 4000)
    running = folder.start("run", "--autoscale", "3", "--catch-up-seconds", "2")
    running.wait_for("At work: 3 workers.")
    folder.wait_until(lambda: counted_once(folder, 4000))
    assert len({each["process"] for each in folder.events("notes")}) > 1
    assert running.stop() == 0


def test_more_workers_than_partitions_are_refused(folder):
    """A topic of four partitions cannot be shared by five."""
    write(folder, 0)
    refused = folder.run("run", "--workers", "5", code=1)
    assert "its events lie in 4 partitions" in refused.err
