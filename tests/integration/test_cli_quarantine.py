"""Events in quarantine: listed with their evidence, released with a note, or forgotten when told to."""

import pytest

APP = """
from tropism import App, Envelope, Event, Provider, RefusedError, Retry, Service
class Asked(Event, type="claims.asked.v1", key="claim"):
    claim: str
    cents: int
class Granted(Event, type="claims.granted.v1", key="claim"):
    claim: str
    note: str
claims = Service("claims")
@claims.on(Asked, retry=Retry(attempts=5), provider=Provider("registry", per_second=100, in_flight=8))
def grant(asked: Envelope[Asked]) -> Granted:
    if asked.data.cents > 1000 and asked.released is None:
        raise RefusedError("too large for a machine", {"limit": 1000})
    return Granted(claim=asked.data.claim, note=asked.released or "")
app = App("insurer", services=[claims])
"""


@pytest.fixture(scope="module")
def insurer(shared_folder):
    shared_folder.write("insurer.py", APP)
    shared_folder.write("tropism.toml", 'app = "insurer:app"\n')
    return shared_folder


def refused(insurer):
    return insurer.run("quarantine", "list", "--json").json


def test_the_whole_life_of_a_refusal(insurer):
    """One story, for each of its steps needs the one before."""
    running = insurer.start("run")
    running.wait_for("Ready: insurer with claims.")
    for claim, cents in (("a", 5000), ("b", 10), ("c", 7000)):
        data = f'{{"claim": "{claim}", "cents": {cents}}}'
        insurer.run("events", "publish", "claims.asked.v1", "--data", data, "--id", f"e-{claim}")
    insurer.wait_until(lambda: refused(insurer)["count"] == 2)
    told = "claims.grant refused claims.asked.v1 'e-a': too large for a machine. See 'tropism quarantine'."
    assert told in running.text
    first = refused(insurer)["quarantined"][0]
    assert (first["id"], first["attempts"]) == ("e-a/claims.grant", 1)
    assert first["evidence"] == {"limit": 1000}
    assert insurer.run("dead-letters", "list", "--json").json == {"count": 0, "dead_letters": []}
    shown = insurer.run("quarantine", "show", "e-a").out
    assert "evidence:  limit = 1000" in shown
    assert '{"claim":"a","cents":5000}' in shown
    assert "too large for a machine" in insurer.run("quarantine", "list").out

    report = insurer.run("doctor", "--json").json
    assert report["quarantined"] == {"claims": 2}
    assert report["providers"] == {
        "registry": {"per_second": 100.0, "in_flight": 8, "handlers": ["claims.grant"]}
    }
    assert "provider 'registry': 100 calls a second, 8 at a time a process" in insurer.run("doctor").out

    assert (
        "Cannot release events in quarantine: nothing says"
        in insurer.run("quarantine", "release", code=1).err
    )
    assert "Cannot find event in quarantine 'x'" in insurer.run("quarantine", "show", "x", code=1).err
    released = insurer.run("quarantine", "release", "e-a", "--note", "Ann looked", "--json").json
    assert released == {"count": 1, "released": ["e-a/claims.grant"]}
    insurer.wait_until(lambda: len(insurer.events("claims")) == 5)
    assert {event.get("note") for event in insurer.events("claims")} == {None, "", "Ann looked"}
    assert insurer.run("quarantine", "discard", "--all", "--yes", "--json").json["count"] == 1
    assert refused(insurer) == {"count": 0, "quarantined": []}
    assert "No events in quarantine." in insurer.run("quarantine", "release", "--all").err
    assert running.stop() == 0
