"""Services at work: started, drained, told apart, and looked after."""

import signal
from pathlib import Path

import pytest
from tests.integration.conftest import is_alive

EVENTS = """
from tropism import Event
class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
class Noted(Event, type="notes.noted.v1", key="order"):
    order: str
    by: str
"""
SERVICE = """
import asyncio, os, time
from tropism import Service
from facts import Noted, Paid
{name} = Service("{name}")
@{name}.on(Paid, timeout_seconds=600)
async def note(paid: Paid) -> Noted:
    print("{name} takes", paid.order)
    {body}
    return Noted(order=paid.order, by="{name} {version}")
"""
COMPOSED = """
from tropism import App
from b import b
from c import c
app = App("shop", services=[b, c])
"""


def service(name, *, body="pass", version=1):
    return SERVICE.format(name=name, body=body, version=version)


@pytest.fixture
def shop(folder):
    folder.write("facts.py", EVENTS)
    folder.write("b.py", service("b"))
    folder.write("c.py", service("c"))
    folder.write("shop.py", COMPOSED)
    folder.write(
        "outside.py", "from facts import Paid\nfrom tropism import App\napp = App('out', events=[Paid])\n"
    )
    folder.write("tropism.toml", 'app = "shop:app"\n')
    return folder


def publish(shop, order):
    """Publish through an app of events alone: the services' code may be broken meanwhile."""
    data = f'{{"order": "{order}"}}'
    shop.run("events", "publish", "orders.paid.v1", "--data", data, "--id", order, TROPISM_APP="outside:app")


def noted(shop):
    """Return who noted what, in order."""
    return [(event["order"], event["by"]) for event in shop.events("notes")]


def test_one_process_runs_all_and_the_first_signal_drains(shop):
    shop.write("b.py", service("b", body="await asyncio.sleep(1)"))
    running = shop.start("run", "--drain-seconds", "20")
    running.wait_for("Ready: shop with b, c.")
    publish(shop, "x")
    shop.wait_until(lambda: "b takes x" in shop.out())
    assert running.stop() == 0
    assert sorted(noted(shop)) == [("x", "b 1"), ("x", "c 1")]
    assert "Traceback" not in running.text


def test_ctrl_c_is_130_and_a_second_signal_stops_at_once_and_loses_nothing(shop):
    shop.write("b.py", service("b", body="await asyncio.sleep(600)"))
    running = shop.start("run", "--drain-seconds", "600")
    running.wait_for("Ready")
    publish(shop, "x")
    shop.wait_until(lambda: "b takes x" in shop.out())
    running.process.send_signal(signal.SIGINT)
    running.wait_for("Finishing what is in flight")
    assert running.stop(signal.SIGINT) == 130
    shop.write("b.py", service("b", version=2))
    running = shop.start("run")
    # Whether c was done before the second signal is chance.
    shop.wait_until(lambda: len(noted(shop)) == 2)
    assert sorted(noted(shop)) == [("x", "b 2"), ("x", "c 1")]
    assert running.stop(signal.SIGINT) == 130


def test_services_in_processes_of_their_own_share_one_store(shop):
    first = shop.start("run", "--service", "b")
    first.wait_for("Ready")
    second = shop.start("run", "--service", "c")
    second.wait_for("Ready")
    report = shop.run("doctor", "--json").json
    assert report["ok"]
    assert report["ports"]["log"]["owner"] == f"process {first.process.pid}"
    assert "survives kill -9" in report["ports"]["log"]["durability"]
    third = shop.start("run", "--service", "c")
    third.wait_for("Waiting for c: another process has it at work")
    publish(shop, "x")
    shop.wait_until(lambda: sorted(noted(shop)) == [("x", "b 1"), ("x", "c 1")])
    # Whoever dies, owner of the store or holder of a lease, others take over.
    for running in (first, second):
        running.process.kill()
        running.process.wait()
    third.wait_for("Ready")
    publish(shop, "y")
    shop.wait_until(lambda: ("y", "c 1") in noted(shop))
    assert third.stop() == 0
    report = shop.run("doctor", "--json").json
    assert {c["name"]: c["behind"] for c in report["consumers"]} == {"b": 1, "c": 0}


def pids(running):
    pid = running.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_dev_reloads_only_who_changed_and_keeps_them_when_code_is_broken(shop):
    running = shop.start("dev")
    running.wait_for("| Ready", 2)
    publish(shop, "x")
    shop.wait_until(lambda: len(noted(shop)) == 2)

    shop.write("c.py", "def broken(:\n")
    running.wait_for("The services go on as they were.")
    assert "SyntaxError" in running.text
    publish(shop, "y")
    shop.wait_until(lambda: len(noted(shop)) == 4)

    shop.write("c.py", service("c", version=2))
    running.wait_for("Reloading c.")
    running.wait_for("c | Ready", 2)
    publish(shop, "z")
    shop.wait_until(lambda: len(noted(shop)) == 6)
    assert sorted(noted(shop))[-2:] == [("z", "b 1"), ("z", "c 2")]
    assert running.text.count("b | Ready") == 1
    assert running.stop() == 0
    assert "Traceback" not in running.text


def test_dev_restarts_who_crashes_hangs_or_grows_and_gives_up_on_the_cause(shop):
    body = """(
        os._exit(7) if paid.order == "crash" and not os.path.exists("c-mended")
        else time.sleep(600) if paid.order == "hang" and not os.path.exists("h-mended")
        else globals().setdefault("leak", bytearray(400 << 20)) if paid.order == "leak" else None
    )
    if paid.order == "leak":
        await asyncio.sleep(600 if not os.path.exists("l-mended") else 0)"""
    shop.write(
        "b.py", service("b", body=body.replace("globals()", "os.path.exists('l-mended') or globals()"))
    )
    running = shop.start("dev", "--hang-seconds", "1", "--memory-max", "300M")
    running.wait_for("| Ready", 2)
    for kind, told in (("crash", "it left with 7"), ("hang", "stood still"), ("leak", "more than 300")):
        publish(shop, kind)
        running.wait_for(told)
        shop.write(f"{kind[0]}-mended", "")
        shop.wait_until(lambda kind=kind: (kind, "b 1") in noted(shop))
    assert running.text.count("c | Ready") == 1
    assert running.stop() == 0


def test_no_service_outlives_dev(shop):
    shop.write("b.py", service("b", body="time.sleep(600)"))
    running = shop.start("dev")
    running.wait_for("| Ready", 2)
    publish(shop, "x")
    running.wait_for("b takes x")
    children = pids(running)
    assert len(children) == 2
    running.stop(signal.SIGKILL)
    shop.wait_until(lambda: not any(map(is_alive, children)))


def test_dev_says_what_is_wrong_at_the_start(shop):
    shop.write("b.py", "nope\n")
    assert "NameError: name 'nope' is not defined (in b.py, line 1)" in shop.run("dev", code=1).err
