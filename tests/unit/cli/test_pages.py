"""A page goes where it was asked to, or the command says so at once; it is served alone."""

import threading
import urllib.error
import urllib.request

import pytest

from tropism.cli import pages
from tropism.core.errors import InvalidInputError

WORDS = {"what": "report", "option": "--report"}


def test_a_place_is_refused_before_the_work_and_nothing_is_made(tmp_path):
    pages.check_place(tmp_path / "new" / "page.html", **WORDS)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    for place, fact in ((tmp_path, "it is a folder"), (tmp_path / "file" / "x", "is no folder")):
        with pytest.raises(InvalidInputError, match=f"{fact}.*Choose another --report."):
            pages.check_place(place, **WORDS)
    with pytest.raises(InvalidInputError, match="Cannot write the report"):
        pages.write_page(tmp_path / "file" / "x", "", **WORDS)


def test_a_file_that_is_read_is_not_written_over_under_any_name(tmp_path):
    table, link = tmp_path / "table.csv", tmp_path / "link.html"
    table.write_text("a,b")
    link.symlink_to(table)
    (tmp_path / "x").mkdir()
    for place in (table, link, tmp_path / "x" / ".." / "table.csv"):
        with pytest.raises(InvalidInputError, match="would be lost. Choose another --report."):
            pages.check_place(place, **WORDS, read=[table])
    pages.check_place(tmp_path / "other", **WORDS, read=[table, tmp_path / "absent"])


def test_a_page_that_may_not_be_written_to_is_refused_before_the_work(tmp_path, monkeypatch):
    page = tmp_path / "page.html"
    page.write_text("<p>")
    monkeypatch.setattr(pages.os, "access", lambda path, _: path != page)
    with pytest.raises(InvalidInputError, match="you may not write to it. Choose another --report."):
        pages.check_place(page, **WORDS)


def test_a_page_is_served_and_nothing_beside_it(tmp_path, monkeypatch):
    pages.write_page(tmp_path / "my page.html", "<p>", **WORDS)
    (tmp_path / "secret").write_text("s")
    said, told = [], threading.Event()
    monkeypatch.setattr(pages, "say", lambda text: (said.append(text), told.set()))
    threading.Thread(target=pages.serve_page, args=(tmp_path / "my page.html",), daemon=True).start()
    assert told.wait(10)
    address = said[0].split()[2].rstrip(";")
    assert urllib.request.urlopen(address).read() == b"<p>"  # noqa: S310 (the page that is served here)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(address.rpartition("/")[0] + "/secret")  # noqa: S310 (the page that is served here)
