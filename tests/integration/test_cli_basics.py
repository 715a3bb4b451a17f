"""Every command helps, leaves with the agreed codes, and says in one line what is wrong."""

import pytest

from tropism.cli.main import commands as root

APP = """
from tropism import App, Event, Service
class Paid(Event, type="orders.paid.v1", key="order"):
    order: str
    amount: int
s = Service("books")
@s.on(Paid)
def note(paid: Paid) -> None: ...
app = App("shop", services=[s])
number = 3
"""


def test_help_and_version_need_no_app(folder):
    told = folder.run("--help", apart=True).out
    for group in ("new", "dev", "run", "events", "dead-letters", "doctor"):
        assert group in told
    assert folder.run("--version", apart=True).out.startswith("tropism ")


def test_every_command_has_help():
    """What completes and documents itself has a sentence for every command and option."""
    import typer

    def walk(command, path):
        assert command.help, path
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden and parameter.name != "help":
                assert parameter.help, (path, parameter.name)
        for name, child in getattr(command, "commands", {}).items():
            walk(child, [*path, name])

    walk(typer.main.get_command(root), ["tropism"])


TALKS = """
import os
os.write(1, b"imported\\n")

class Talks:
    def __post_init__(self):
        print("made", self.order)
        os.write(1, b"made\\n")
"""


def test_standard_output_holds_the_document_alone_whatever_the_users_code_prints(folder):
    folder.write("talks.py", TALKS)
    folder.write(
        "shop.py", APP.replace("class Paid(Event", "from talks import Talks\nclass Paid(Talks, Event")
    )
    folder.write("tropism.toml", 'app = "shop:app"\n')
    folder.write("paid.csv", "order,amount,at\na,1,2026-01-01\n")
    paid = "orders.paid.v1"
    for arguments in (
        ("run", "--list"),
        ("events", "publish", paid, "--data", '{"order": "a", "amount": 1}', "--json"),
        ("events", "import", "paid.csv", "--type", paid, "--time", "at", "--json"),
    ):
        done = folder.run(*arguments, apart=True)
        assert done.json
        assert "imported" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("nix",),
        ("events",),
        ("events", "publish"),
        ("run", "--drain-seconds", "-1"),
        ("dev", "--memory-max", "big"),
        ("demo", "flights", "--speed", "inf"),
        ("demo", "flights", "--speed", "nan"),
    ],
)
def test_wrong_usage_leaves_with_2(folder, arguments):
    assert folder.run(*arguments, code=2).out == "" or arguments == ("events",)


def test_what_is_wrong_with_the_app_is_one_line(folder):
    folder.write("broken.py", "x = 1\nnope\n")
    error = folder.run("run", "--list", "--app", "broken:app", code=1, apart=True).err
    assert "NameError: name 'nope' is not defined (in broken.py, line 2)" in error
    assert len(error.strip().splitlines()) == 1


def test_a_missing_extra_is_named(folder):
    """Where a module is not there that an extra brings, one line says which."""
    folder.write("numpy.py", "raise ModuleNotFoundError('No module named numpy', name='numpy')\n")
    folder.write("shop.py", "from tropism import Model\n")
    folder.write("table.csv", "when,label\n")
    for command, told in (
        (("run", "--list", "--app", "shop:app"), "Cannot load app 'shop:app': 'numpy' is not installed"),
        (
            ("whatif", "table.csv", "--time", "when", "--label", "label", "--delay-rows", "1"),
            "Cannot run 'tropism whatif': 'numpy' is not installed",
        ),
    ):
        error = folder.run(*command, code=1, apart=True).err
        assert f"{told}. Run pip install 'tropism[models]'." in error
        assert error.count("\n") == 1
    told = folder.run("demo", "flights", code=1, apart=True).err
    assert "Run pip install 'tropism[demo]'." in told


def test_an_option_comes_before_the_variable_before_the_file(folder):
    folder.write("shop.py", APP)
    folder.write("tropism.toml", 'app = "absent:app"\n')
    assert "absent" in folder.run("run", "--list", code=1).err
    assert folder.run("run", "--list", TROPISM_APP="shop:app").json["app"] == "shop"
    assert folder.run("run", "--list", "--app", "shop:app", TROPISM_APP="nix:app").json["app"] == "shop"


@pytest.mark.parametrize(
    ("text", "told"),
    [("app = 3\n", "Put it between quotes"), ("app = \n", "Mend the file"), ("lag = 'x'\n", "no port")],
)
def test_wrong_settings_are_named(folder, text, told):
    folder.write("tropism.toml", text)
    assert told in folder.run("doctor", code=1).out
    assert told in folder.run("run", "--list", code=1).err


def test_what_is_wrong_with_the_users_own_is_not_to_be_reported(folder):
    """One line each that says what to mend, and none that asks to report it."""
    bounded = APP.replace("order: str", "order: Annotated[str, msgspec.Meta(ge=1)]")
    folder.write("bounded.py", "import msgspec\nfrom typing import Annotated\n" + bounded)
    folder.write("shop.py", APP)
    (folder.path / "latin.json").write_bytes(b'{"order": "caf\xe9", "amount": 1}')
    paid, bad = "orders.paid.v1", "\udce9"
    errors = [
        folder.run("events", "publish", paid, *data, "--app", app, code=1).err
        for app, data in (
            ("bounded:app", ("--data", "{}")),
            ("shop:app", ("--file", "latin.json")),
            ("shop:app", ("--data", f'{{"order": "{bad}", "amount": 1}}')),
        )
    ]
    (folder.path / "tropism.toml").mkdir()
    errors.append(folder.run("models", "list", code=1).err)
    for error, told in zip(errors, ("Mend the class.", "'", "is not UTF-8", "Make it a file"), strict=True):
        assert told in error
        assert "report it" not in error
        assert error.count("\n") == 1


def test_control_characters_of_events_reach_no_terminal(folder):
    folder.write("shop.py", APP)
    shop = ("--app", "shop:app")
    paid = ("events", "publish", "orders.paid.v1", "--data", '{"order": "\\u001b[2J\\u009b", "amount": 1}')
    folder.run(*paid, *shop)
    shown = folder.run("events", "tail", *shop).out
    assert "\x1b" not in shown
    assert "\x9b" not in shown
    assert "\\x1b[2J" in shown


def test_unknown_service_and_wrong_url(folder):
    folder.write("shop.py", APP)
    app = ("--app", "shop:app")
    assert "Name one of ['books']" in folder.run("run", "--service", "nix", *app, code=1).err
    error = folder.run("run", *app, code=1, TROPISM_LOG="kafak://x").err
    assert "no adapter is installed for 'kafak'" in error


def test_doctor_names_each_problem_and_leaves_with_1(folder):
    folder.write("shop.py", APP)
    wrong = {"TROPISM_BLOBS": "kafak://x", "TROPISM_APP": "shop:app"}
    report = folder.run("doctor", "--json", code=1, **wrong).json
    assert not report["ok"]
    assert report["ports"]["log"]["ok"]
    assert "no adapter is installed for 'kafak'" in report["ports"]["blobs"]["problem"]
    assert report["problems"] == [report["ports"]["blobs"]["problem"]]
    assert "All is well." in folder.run("doctor", TROPISM_APP="shop:app").out
    (folder.path / ".tropism").mkdir()
    (folder.path / ".tropism" / "tropism.db").write_bytes(b"no database" * 1000)
    assert "Restore the file" in folder.run("doctor", code=1, TROPISM_APP="shop:app").out


def test_top_tells_what_waits_and_makes_nothing(folder):
    """A service that never ran has all before it; looking makes no store; what is unknown is absent."""
    folder.write("shop.py", APP)
    app = ("--app", "shop:app")
    look = ("top", "--every", "0.1", *app)
    assert folder.run(*look, "--json").json["services"][0]["events"] == 0
    assert not (folder.path / ".tropism").exists()
    for order in "ab":
        data = f'{{"order": "{order}", "amount": 1}}'
        folder.run("events", "publish", "orders.paid.v1", "--data", data, *app)
    (found,) = folder.run(*look, "--json").json["services"]
    assert (found["service"], found["events"], found["workers"]) == ("books", 2, 1)
    assert (found["cost_us"], found["drain_seconds"], found["catches_up"]) == (None, None, None)
    assert found["oldest_seconds"] > 0
    assert "books" in folder.run(*look).out
    assert "not known yet" in folder.run(*look, "--once").out


def test_doctor_shows_the_queue_and_what_it_promises(folder):
    """The queue is a port like the others: opened from its URL, with its durability in words."""
    told = folder.run("doctor", "--json").json["ports"]["queue"]
    assert (told["ok"], told["adapter"], told["owner"]) == (True, "SqliteQueue", "this process")
    assert "synchronous=FULL" in told["durability"]
    told = folder.run("doctor", "--json", TROPISM_QUEUE="memory:").json["ports"]["queue"]
    assert (told["url"], told["adapter"]) == ("memory:", "MemoryQueue")
    assert "\nqueue: In memory: everything is lost" in folder.run("doctor", TROPISM_QUEUE="memory:").out
    wrong = folder.run("doctor", "--json", code=1, TROPISM_QUEUE="process:").json["ports"]["queue"]
    assert "its adapter has none. Choose another URL" in wrong["problem"]


def test_doctor_names_what_is_done_instead_of_one_commit(folder):
    """Where log and state are different stores, it says what carries outputs over."""
    folder.write("shop.py", APP)
    apart = {"TROPISM_STATE": "memory:", "TROPISM_APP": "shop:app"}
    assert "emulated: outbox and relay" in folder.run("doctor", **apart).out
    (told,) = folder.run("doctor", "--json", **apart).json["emulations"]
    assert "do not commit together" in told
    assert folder.run("doctor", "--json", TROPISM_APP="shop:app").json["emulations"] == []


def test_doctor_warns_of_a_disk_that_is_nearly_full(folder, monkeypatch):
    folder.write("shop.py", APP)
    monkeypatch.setattr("tropism.cli.checkup.FREE_BYTES_MIN", 2**62)
    for url in ("sqlite:///./shop.db", "sqlite:///./shop.db?synchronous=normal"):
        stores = {"TROPISM_LOG": url, "TROPISM_STATE": url, "TROPISM_BLOBS": "memory:"}
        report = folder.run("doctor", "--app", "shop:app", "--json", code=1, **stores).json
        (problem,) = report["problems"]
        assert f"Cannot store much more at '{url}'" in problem
        assert "MiB left. Free some space." in problem


@pytest.mark.parametrize(
    "arguments",
    [("doctor",), ("models", "list"), ("dead-letters", "list"), ("events", "tail", "--app", "shop:app")],
)
def test_to_look_is_to_make_nothing(folder, arguments):
    folder.write("shop.py", APP)
    folder.run(*arguments)
    assert not (folder.path / ".tropism").exists()


def test_no_password_of_a_url_is_told(folder):
    url = "kafak://bob:s3cr:et@/x@host:1/x?sasl_password=s3cret&a=1"
    for arguments in (("doctor",), ("doctor", "--json"), ("models", "list")):
        done = folder.run(*arguments, code=1, TROPISM_LOG=url)
        assert "s3cr" not in done.out + done.err
        assert "kafak://bob:***@host:1/x?sasl_password=***&a=1" in done.out + done.err


def test_doctor_does_not_say_what_it_could_not_see(folder):
    folder.write("shop.py", APP)
    told = folder.run("doctor", "--app", "shop:app", code=1, TROPISM_LOG="kafak://x").out
    assert (
        "Consumers are not known while a port is not open."
        in folder.run("doctor", code=1, TROPISM_LOG="kafak://x").err
    )
    assert "No consumer has run here." not in told


def test_new_makes_an_app_once(folder):
    folder.run("new", "my-shop")
    listed = folder.run("run", "--list", "--app", "app:app", code=1)
    assert "no module 'app'" in listed.err
    assert "not empty" in folder.run("new", "my-shop", code=1).err
    assert "a name begins with a letter" in folder.run("new", "9lives", code=1).err
    made = {
        str(p.relative_to(folder.path / "my-shop"))
        for p in (folder.path / "my-shop").rglob("*")
        if p.is_file()
    }
    assert made == {"app.py", "tests/test_app.py", "tropism.toml", "pytest.ini", ".gitignore"}
