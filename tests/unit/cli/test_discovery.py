"""Whatever is wrong with an app's name is told apart."""

import sys

import pytest

from tropism.cli.discovery import app_name, load_app, types_of
from tropism.core.errors import InvalidInputError, NotFoundError

APP = """
from tropism import App, Event, Service, View, count, hours
class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
class Seen(Event, type="web.seen.v1"):
    page: str
class Other(Event, type="other.thing.v1"):
    text: str
s = Service("books")
@s.on(Paid)
def note(paid: Paid) -> None: ...
seen = View("seen", Seen, by=lambda e: e.page, window=hours(1), times=count())
app = App("shop", services=[s], views=[seen], events=[Other])
number = 3
def make() -> App:
    return app
def fail():
    raise ValueError("no settings")
"""

FILES = {
    "d_shop.py": APP,
    "d_broken.py": "x = 1\nnope\n",
    "d_torn.py": "def app(:\n",
    "d_needy.py": "import d_absent_dependency\n",
    "d_leaver.py": "raise SystemExit(0)\n",
    "d_package/__init__.py": "",
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("TROPISM_APP", raising=False)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("d_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("given", "kind", "told"),
    [
        (None, NotFoundError, "nothing names it"),
        ("d_shop", InvalidInputError, "not of the form 'module:attribute'"),
        (":app", InvalidInputError, "not of the form 'module:attribute'"),
        ("d_shop:a-b", InvalidInputError, "not of the form 'module:attribute'"),
        ("d_absent:app", NotFoundError, "no module 'd_absent'"),
        ("d_package.absent:app", NotFoundError, "no module 'd_package.absent'"),
        ("d_shop:other", InvalidInputError, "has no such attribute. Name one of ['app']"),
        ("d_package:app", InvalidInputError, "Compose one there: app = App(...)"),
        ("d_shop:number", InvalidInputError, "has a int there, which is no App"),
        (
            "d_shop:fail",
            InvalidInputError,
            "calling it raised ValueError: no settings (in d_shop.py, line 18)",
        ),
        ("d_broken:app", InvalidInputError, "NameError: name 'nope' is not defined (in d_broken.py, line 2)"),
        ("d_torn:app", InvalidInputError, "SyntaxError"),
        ("d_needy:app", InvalidInputError, "No module named 'd_absent_dependency'"),
        ("d_leaver:app", InvalidInputError, "SystemExit: 0"),
    ],
)
def test_each_fault_has_its_own_words(given, kind, told):
    with pytest.raises(kind) as caught:
        load_app(given)
    assert told in str(caught.value)


def test_an_option_wins_over_the_variable_over_the_file(here, monkeypatch):
    (here / "tropism.toml").write_text('app = "in_file:app"\n')
    assert app_name(None) == "in_file:app"
    monkeypatch.setenv("TROPISM_APP", "in_variable:app")
    assert app_name(None) == "in_variable:app"
    assert app_name("given:app") == "given:app"


def test_the_types_of_an_app_are_those_it_handles_views_and_names():
    types = types_of(load_app("d_shop:app")).types
    assert {"orders.paid.v1", "web.seen.v1", "other.thing.v1"} <= set(types)


def test_a_function_may_compose_the_app():
    assert load_app("d_shop:make").name == "shop"
