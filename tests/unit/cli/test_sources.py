"""A service is made of its handlers' files, of what they import, and of the file that composes the app."""

import sys
from pathlib import Path

import pytest

from tropism.cli.discovery import load_app
from tropism.cli.sources import files_of_services, source_files

SERVICE = """
from tropism import Service
from s_app.facts import Paid
{more}
{name} = Service("{name}")
@{name}.on(Paid)
def note(paid: Paid) -> None: ...
"""
FACTS = """
from tropism import Event
class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
"""
COMPOSED = """
from tropism import App
from s_app.b import b
from s_app.c import c
app = App("shop", services=[b, c])
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    texts = {
        "s_app/__init__.py": "",
        "s_app/facts.py": FACTS,
        "s_app/tools.py": "from . import deep\n",
        "s_app/deep.py": "",
        "s_app/unused.py": "",
        "s_app/b.py": SERVICE.format(name="b", more="from .tools import deep"),
        "s_app/c.py": SERVICE.format(name="c", more=""),
        "s_main.py": COMPOSED,
        ".venv/lib.py": "",
        "env/pyvenv.cfg": "",
        "env/lib.py": "",
        "__pycache__/x.py": "",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    found = files_of_services(load_app("s_main:app"))
    yield {
        service: {str(path.relative_to(tmp_path.resolve())) for path in paths}
        for service, paths in found.items()
    }
    for name in [name for name in sys.modules if name.startswith("s_")]:
        del sys.modules[name]


def test_a_change_concerns_only_those_made_of_it(files):
    shared = {"s_app/__init__.py", "s_app/facts.py", "s_main.py"}
    assert files["c"] == {*shared, "s_app/c.py"}
    assert files["b"] == {*shared, "s_app/b.py", "s_app/tools.py", "s_app/deep.py"}


def test_a_folder_that_vanishes_or_may_not_be_read_has_no_files(tmp_path, monkeypatch):
    for name in ("a/a.py", "gone/b.py", "shut/c.py", "d.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    listed = Path.iterdir

    def iterdir(path):
        if path.name in {"gone", "shut"}:
            raise FileNotFoundError if path.name == "gone" else PermissionError
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert [path.name for path in source_files(tmp_path)] == ["a.py", "d.py"]


def test_a_file_that_cannot_be_parsed_and_was_not_imported_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "s_one.py").write_text(FACTS + "\ndef later():\n    import s_broken\n")
    (tmp_path / "s_broken.py").write_text("def :")
    (tmp_path / "s_app1.py").write_text(
        SERVICE.format(name="x", more="").replace("s_app.facts", "s_one")
        + "\nfrom tropism import App\napp = App('shop', services=[x])\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    found = files_of_services(load_app("s_app1:app"))
    assert {path.name for path in found["x"]} == {"s_one.py", "s_broken.py", "s_app1.py"}
    for name in [name for name in sys.modules if name.startswith("s_")]:
        del sys.modules[name]


def test_environments_and_hidden_folders_are_not_watched(files, tmp_path):
    watched = {str(path.relative_to(tmp_path)) for path in source_files(tmp_path)}
    assert watched == {
        f"s_app/{n}.py" for n in ("__init__", "facts", "tools", "deep", "unused", "b", "c")
    } | {"s_main.py"}
