"""The demo from the command line: one document, a report, and its folder to itself."""

import json

import pytest

from tropism.cli import demo
from tropism.core.errors import InvalidInputError

KEYS = {
    *("events", "decisions", "outcomes", "expired", "seconds", "events_per_second", "static", "cron"),
    *("adaptive", "hindsight", "promotions", "rollbacks", "stages", "digest"),
}


@pytest.fixture(scope="module")
def flown(shared_folder):
    """Two days of flights, loaded and flown once for all."""
    return shared_folder, shared_folder.run("demo", "flights", "--until", "2013-01-03", "--json", apart=True)


def test_one_document_and_a_page_that_says_what_is_not_known(flown):
    folder, done = flown
    assert set(done.json) >= KEYS
    assert done.json["decisions"] == done.json["outcomes"] + done.json["expired"] > 1000
    page = (folder.path / "flights-report.html").read_text("utf-8")
    assert "No decision is scored yet: January is there to learn from." in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--until", "soon"), "it is no date"),
        (("--until", "2012-12-01"), "nothing is known before. Choose a day of 2013."),
        (("--report", "."), "Cannot write the report '.': it is a folder. Choose another --report."),
        (("--report", ".tropism/flights/flights.db"), "it lies in the folder of the run"),
        (("--folder", "."), "it holds files of something else. Choose another --folder."),
    ],
)
def test_what_cannot_be_is_one_line_at_once(flown, arguments, told):
    folder, _ = flown
    store = folder.path / ".tropism" / "flights" / "flights.db"
    before = store.read_bytes()
    error = folder.run("demo", "flights", *arguments, code=1).err
    assert told in error
    assert error.count("\n") == 1
    # What cannot be does not cost the run that is there.
    assert store.read_bytes() == before


def test_a_run_whose_page_cannot_be_written_is_not_finished(folder, monkeypatch):
    def write_page(*_, **__):
        raise InvalidInputError("Cannot write the report: the disk is full. Choose another --report.")

    monkeypatch.setattr(demo, "write_page", write_page)
    arguments = ("demo", "flights", "--until", "2013-01-01T16:00", "--folder", "run")
    assert "the disk is full" in folder.run(*arguments, code=1).err
    assert json.loads((folder.path / "run" / "run.json").read_bytes())["finished"] is False
