"""Publishing for later from the command line."""

import json
import signal

import pytest

APP = """
from tropism import App, Event, Service, delayed

class Reminded(Event, type="visits.reminded.v1", key="who"):
    who: str
    n: int = 0

class Other(Event, type="visits.other.v1", key="who"):
    who: str

app = App("clinic", services=[delayed(Reminded)], events=[Reminded, Other])
"""
REMINDED = "visits.reminded.v1"


@pytest.fixture
def clinic(folder):
    folder.write("clinic.py", APP)
    folder.write("tropism.toml", 'app = "clinic:app"\n')
    return folder


def publish(folder, n, *more, who="a"):
    return folder.run(
        "events", "publish", REMINDED, "--data", json.dumps({"who": who, "n": n}), "--json", *more
    )


def test_what_is_published_for_later_comes_once_though_its_keeper_is_killed(clinic):
    """Scheduled, put off by name, or due already: each is published once, by whoever is at work then."""
    running = clinic.start("run")
    running.wait_for("Ready")
    publish(clinic, 2, "--in", "30d", "--name", "visit")
    publish(clinic, 3, "--at", "2020-01-01T00:00:00Z", "--name", "visit")
    clinic.wait_until(lambda: len(clinic.events("visits")) == 1)
    told = publish(clinic, 1, "--in", "1s").json
    assert told["type"] == REMINDED
    assert told["due"] > told["time"]
    running.process.send_signal(signal.SIGKILL)
    running.process.wait()
    again = clinic.start("run")
    again.wait_for("Ready")
    clinic.wait_until(lambda: len(clinic.events("visits")) == 2)
    again.stop()
    shown = clinic.run("events", "tail", "--topic", "visits", "--json").json
    assert [event["data"]["n"] for event in shown] == [3, 1]
    assert shown[0]["dueat"] == "2020-01-01T00:00:00Z"


def test_times_that_cannot_be_meant_are_refused(clinic):
    """Two times, no time, a far year, a type that nobody keeps: each is told with its remedy."""
    for more, fact in [
        (["--in", "5m", "--at", "2030-01-01"], "each say when. Name one"),
        (["--in", "5m", "--time", "2030-01-01"], "each say when. Name one"),
        (["--name", "x"], "Add --at or --in"),
        (["--in", "soon"], "Write it like 90m or 2d"),
        (["--in", "9999999999d"], "longer than any calendar"),
        (["--in", "3000000d"], "outside of the years"),
        (["--at", "tomorrow"], "is not ISO 8601"),
    ]:
        arguments = ["events", "publish", REMINDED, "--data", '{"who": "a"}', *more]
        assert fact in clinic.run(*arguments, code=1).err
    other = ["events", "publish", "visits.other.v1", "--data", '{"who": "a"}', "--in", "5m"]
    assert "Add delayed(Other) to its services." in clinic.run(*other, code=1).err
    assert "'delayed': it does not exist" in clinic.run("events", "tail", "--topic", "delayed", code=1).err


def test_doctor_names_how_events_are_kept_back(clinic):
    """That no log keeps events back, and the state does instead, is told by name."""
    told = clinic.run("doctor", "--json").json
    assert any(text.startswith("delayed events: ") for text in told["emulations"])
    assert {"need": "delay", "how": "emulated"}.items() <= next(
        each for each in told["needs"] if each["need"] == "delay"
    ).items()


def waiting(folder, *more):
    return folder.run("events", "delayed", "list", "--json", *more).json["delayed"]


def test_what_is_kept_for_later_is_listed_and_canceled(clinic):
    """At work its keeper is asked, away it is taken from its store; what is canceled never comes."""
    assert waiting(clinic) == []
    running = clinic.start("run")
    running.wait_for("Ready")
    publish(clinic, 1, "--in", "30d")
    publish(clinic, 2, "--in", "20d", "--name", "visit")
    publish(clinic, 3, "--in", "10d", who="b")
    clinic.wait_until(lambda: len(waiting(clinic)) == 3)
    third, second, first = waiting(clinic)
    assert [each["event"]["data"]["n"] for each in (third, second, first)] == [3, 2, 1]
    assert (second["service"], second["key"], second["name"]) == ("delayed", "a", "visit")
    assert waiting(clinic, "--key", "b") == waiting(clinic, "--count", "1") == [third]
    assert waiting(clinic, "--type", "visits.other.v1") == []
    told = clinic.run("events", "delayed", "cancel", third["id"][:20], "--json").json
    assert told == {"count": 1, "canceled": [], "asked": [third["id"]]}
    clinic.wait_until(lambda: waiting(clinic) == [second, first])
    running.stop()
    told = clinic.run("events", "delayed", "cancel", first["id"], second["id"], "--json").json
    assert told["canceled"] == [second["id"], first["id"]]
    assert waiting(clinic) == []
    assert "No events are kept" in clinic.run("events", "delayed", "list").err
    assert "begins so" in clinic.run("events", "delayed", "cancel", "x", code=1).err
    assert "none of that name" in clinic.run("events", "delayed", "list", "--service", "x", code=1).err
