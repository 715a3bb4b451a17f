"""``tropism models`` on an app that runs: what it lists, what it orders, and what it trains again."""

import json

import pytest

APP = """
from datetime import timedelta
from typing import NamedTuple
from tropism import App, Event, Service, use
from tropism.models.model import Model, Outcome
from tropism.models.policy import Gate, Policy
from tropism.models.serving import Decider
from learner import train

class Asked(Event, type="asks.asked.v1", key="id"):
    id: str
    kind: str
class Answered(Event, type="answers.answered.v1", key="id"):
    id: str
    yes: bool
class Row(NamedTuple):
    kind: str
def features(asked: Asked) -> Row:
    return Row(asked.kind)
quick = timedelta(seconds=1)
policy = Policy(first_after=20, review=quick, allowance=quick, growth=None, max_age=None, drift=None,
                gate=Gate(backtest_share=0.0))
verdict = Model("verdict", decides_on=Asked, features=features, train=train, policy=policy,
                outcome=Outcome(Answered, value=lambda e: float(e.yes), within=timedelta(hours=1)))
court = Service("court")
@court.on(Asked)
async def rule(asked: Asked, judge: Decider = use(verdict)) -> None:
    await judge(asked)
app = App("law", services=[court], models=[verdict])
"""
LEARNER = """
class Rates:
    def __init__(self, rates): self.rates = rates
    def predict(self, rows): return [self.rates.get(kind, 0.5) for kind in rows.columns[0]]
def train(rows, seed):
    found = {}
    for kind, outcome in zip(rows.columns[0], rows.outcomes.tolist()):
        found.setdefault(kind, []).append(outcome)
    return Rates({kind: (sum(seen) + 1) / (len(seen) + 2) + (seed % 50) / 1e4 for kind, seen in found.items()})
"""


@pytest.fixture(scope="module")
def law(shared_folder):
    """An app that has asked, learned, and trained its first version; it still runs."""
    folder = shared_folder
    folder.write("law.py", APP)
    folder.write("learner.py", LEARNER)
    folder.write("tropism.toml", 'app = "law:app"\n')
    for name, rows in (
        ("asks", [{"id": f"q{n}", "kind": "ab"[n % 2]} for n in range(30)]),
        ("answers", [{"id": f"q{n}", "yes": n % 2 == 0} for n in range(30)]),
    ):
        folder.write(f"{name}.ndjson", "\n".join(json.dumps(row) for row in rows))
    folder.start("run")
    for name in ("asks", "answers"):
        if name == "answers":
            folder.wait_until(lambda: len(folder.events("decisions")) == 30)
        for line in (folder.path / f"{name}.ndjson").read_text().splitlines():
            kind = "asks.asked.v1" if name == "asks" else "answers.answered.v1"
            folder.run("events", "publish", kind, "--data", line)
    folder.wait_until(lambda: any(e.get("reason") == "first version" for e in folder.events("models")))
    return folder


def models(law, *arguments, **more):
    return law.run("models", *arguments, **more)


def test_what_was_trained_is_listed_shown_and_told_step_by_step(law):
    listed = models(law, "list", "--json").json
    (told,) = [model for model in listed["models"] if model["name"] == "verdict"]
    assert told["champion"] is not None
    first = told["versions"][0]
    assert (first["version"], first["reason"]) == ("verdict@1", "first outcomes")
    assert first["evidence"]["rows"] >= 20
    assert "verdict@1" in models(law, "list").out
    assert models(law, "show", "verdict@1", "--json").json["evidence"] == first["evidence"]
    assert "evidence digest:" in models(law, "show", "verdict@1").out
    steps = models(law, "history", "verdict", "--json").json["steps"]
    assert [step["step"] for step in steps[:3]] == ["TrainingRequested", "VersionTrained", "VersionPromoted"]
    assert "first version" in models(law, "history", "verdict").out


def test_who_decided_is_known_for_every_instant(law):
    steps = models(law, "history", "verdict", "--json").json["steps"]
    effective = steps[2]["effective_from"]
    assert models(law, "show", "verdict", "--at", "2001-01-01", "--json").json["champion"] is None
    assert models(law, "show", "verdict", "--at", effective, "--json").json["champion"] is None
    assert models(law, "show", "verdict", "--at", "2999-01-01", "--json").json["champion"] is not None
    assert "champion:" in models(law, "show", "verdict").out


def test_orders_are_carried_out_by_the_running_app(law):
    trained = models(law, "train", "verdict", "--wait", "--by", "ada", "--json").json
    assert trained["done"] == "VersionTrained"
    number = trained["version"]
    promoted = models(law, "promote", f"verdict@{number}", "--wait", "--json").json
    assert (promoted["done"], promoted["version"]) == ("VersionPromoted", number)
    assert models(law, "show", "verdict", "--json").json["champion"] == number
    rolled = models(law, "rollback", "verdict", "--wait", "--by", "bob")
    assert f"VersionRolledBack: verdict@{number}." in rolled.err
    steps = models(law, "history", "verdict", "--json").json["steps"]
    assert [step["by"] for step in steps if step["step"] == "VersionRolledBack"] == ["bob"]
    assert "ordered by ada" in [step["why"] for step in steps]


def test_an_order_that_is_refused_is_one_line_and_code_1(law):
    champion = models(law, "show", "verdict", "--json").json["champion"]
    refused = models(law, "promote", f"verdict@{champion}", "--wait", code=1)
    assert refused.err.strip().count("\n") == 0
    assert "is champion already" in refused.err


def test_an_order_without_wait_says_where_to_look(law):
    assert "tropism models history verdict" in models(law, "rollback", "verdict").err


def test_a_version_is_reproduced_from_the_log(law):
    told = models(law, "reproduce", "verdict@1", "--json").json
    assert (told["reproduced"], told["changed"]) == (True, [])
    assert told["digest"]["now"] == told["digest"]["recorded"]
    assert "Reproduced verdict@1:" in models(law, "reproduce", "verdict@1").err


def test_changed_code_is_told_and_leaves_with_code_1_if_it_predicts_otherwise(law):
    law.write("learner.py", LEARNER.replace("+ 2)", "+ 5)"))
    try:
        told = models(law, "reproduce", "verdict@1", "--json", code=1).json
        assert (told["reproduced"], told["changed"]) == (False, ["code"])
        assert "Cause: code changed." in models(law, "reproduce", "verdict@1", code=1).err
    finally:
        law.write("learner.py", LEARNER)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("reproduce", "verdict"), "it is not of the form NAME@N. Write it like late-arrival@3"),
        (("promote", "verdict@x"), "it is not of the form NAME@N"),
        (("promote", "@1"), "it is not of the form NAME@N"),
        (("promote", "verdict@99"), "it was never asked for. Name one of [1"),
        (("show", "nobody"), "Name one of ['verdict']"),
        (("history", "nobody"), "Name one of ['verdict']"),
        (("rollback", "nobody"), "Name one of ['verdict']"),
        (("train", "nobody"), "Name one of ['verdict']"),
        (("reproduce", "nobody@1"), "Name one of ['verdict']"),
        (("show", "verdict", "--at", "yesterday"), "is not ISO 8601"),
        (("show", "verdict@1", "--at", "2026-01-31"), "Name the model alone, or leave --at away."),
    ],
)
def test_what_cannot_be_is_one_line_with_a_remedy(law, arguments, told):
    done = models(law, *arguments, code=1)
    assert told in done.err
    assert done.err.strip().count("\n") == 0
    assert done.out == ""


def test_without_any_model_the_commands_say_so(folder):
    assert models(folder, "list", "--json").json == {"models": []}
    assert "No version yet." in models(folder, "list").err
    assert "Run the app until it trains a first version" in models(folder, "show", "m", code=1).err
