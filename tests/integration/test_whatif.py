"""``tropism whatif`` as users run it: on CSV and Parquet, with every bad input, in figures and in JSON."""

import csv

import pytest
from tests.unit.whatif.tables import write_stream

PLAIN = ("--time", "when", "--label", "label", "--label-at", "known", "--key", "id", "--model", "logistic")


@pytest.fixture
def table(folder):
    return write_stream(folder.path / "t.csv", 400)


def test_one_json_document_a_card_and_the_same_figures_from_parquet(folder, table):
    """Apart, as a user would: standard output holds the document and nothing else."""
    done = folder.run("whatif", table, *PLAIN, "--output", "out/card.html", "--json", apart=True)
    found = done.json
    assert found["table"]["rows"] == found["table"]["labels"] == 400
    assert found["table"]["features"] == {"a": "number", "b": "number", "noise": "number", "kind": "category"}
    assert found["card"] == "out/card.html"
    for way in ("no_change", "static", "cron", "tropism"):
        assert 0.0 < found[way]["accuracy"] < 1.0
        assert found[way]["trainings"] >= (way != "no_change")
    assert set(found["tropism"]) == {
        *("accuracy", "auc", "log_loss", "brier", "trainings", "promotions", "rollbacks", "alarms")
    }
    assert found["verdict"]["answer"] in {"yes", "no", "unclear"}
    card = (folder.path / "out" / "card.html").read_text("utf-8")
    assert card.startswith("<!doctype html>")
    assert found["verdict"]["sentence"].split(":")[0] in card
    assert "http://" not in card.replace("http://www.w3.org", "")
    again = folder.run("whatif", as_parquet(table), *PLAIN, "--json").json
    assert again["digest"] == found["digest"]
    assert again["tropism"] == found["tropism"]
    assert again["static"] == found["static"]


def as_parquet(path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    numbers = {name: [float(value) for value in columns[name]] for name in ("a", "b", "noise")}
    whole = [int(value) for value in columns["label"]]
    times = {
        name: pa.array([int(v) * 1_000_000 for v in columns[name]], pa.timestamp("us", "UTC"))
        for name in ("when", "known")
    }
    target = path.with_suffix(".parquet")
    parquet.write_table(pa.table({**columns, **numbers, **times, "label": whole}), target)
    return target


def test_a_table_on_the_screen_with_remarks_and_a_verdict(folder):
    path = write_stream(folder.path / "t.csv", 400, spoiler=lambda _, label: label)
    done = folder.run("whatif", path, *PLAIN)
    assert "Careful: Column 'spoiler' alone tells the label almost perfectly" in done.out
    for word in ("accuracy", "log loss", "trainings", "promotions", "alarms", "no change", "Tropism"):
        assert word in done.out
    assert "Card: whatif-t.html" in done.out
    card = (folder.path / "whatif-t.html").read_text("utf-8")
    assert "Careful." in card
    assert "spoiler" in card
    kept = folder.run("whatif", path, *PLAIN, "--drop", "spoiler", "--json").json
    assert kept["notes"] == []
    assert "spoiler" not in kept["table"]["features"]


def test_a_model_of_ones_own_and_labels_after_rows(folder, table):
    folder.write(
        "mine.py",
        "import numpy as np\n"
        "class Share:\n"
        "    def __init__(self, rows):\n"
        "        a = np.asarray(rows.columns[0], dtype=float)\n"
        "        self.high = float(rows.outcomes[a > 0].mean())\n"
        "    def predict(self, rows):\n"
        "        return [self.high if value > 0 else 1 - self.high for value in rows.columns[0]]\n"
        "def train(rows, seed):\n"
        "    print('training')\n"
        "    return Share(rows)\n",
    )
    roles = ("--time", "when", "--label", "label", "--delay-rows", "20", "--drop", "known", "--drop", "id")
    done = folder.run("whatif", table, *roles, "--model", "mine:train", "--json", apart=True)
    assert "training" in done.err
    found = done.json
    assert found["model"] == "mine:train"
    assert found["static"]["accuracy"] > 0.6
    assert found["never_known"] == 0


def test_a_model_of_ones_own_that_raises_is_named_and_not_to_be_reported(folder, table):
    folder.write(
        "mine.py",
        "import sys\n"
        "from tropism.whatif.trainers import train_logistic\n"
        "def train(rows, seed):\n"
        "    if any(name.endswith('baselines') for name in frames()):\n"
        "        raise ZeroDivisionError('no rows')\n"
        "    return train_logistic(rows, seed)\n"
        "def frames():\n"
        "    frame = sys._getframe()\n"
        "    while frame is not None:\n"
        "        yield frame.f_globals['__name__']\n"
        "        frame = frame.f_back\n",
    )
    columns = PLAIN[: PLAIN.index("--model")]
    error = folder.run("whatif", table, *columns, "--model", "mine:train", code=1).err
    assert (
        "Cannot use --model 'mine:train': training or predicting raised ZeroDivisionError: no rows." in error
    )
    assert "report it" not in error


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--time", "whne", "--label", "label", "--delay-rows", "3"), "Did you mean 'when'?"),
        (("--time", "when", "--label", "labl", "--delay-rows", "3"), "Did you mean 'label'?"),
        (("--time", "when", "--label", "a", "--delay-rows", "3"), "a label has two"),
        (("--time", "kind", "--label", "label", "--delay-rows", "3"), "line 2 of it holds no time"),
        (("--time", "when", "--label", "label"), "Give either --label-at COL or --delay-rows N."),
        (("--time", "when", "--label", "label", "--delay-rows", "3", "--label-at", "known"), "both say"),
        (("--time", "when", "--label", "label", "--delay-rows", "9999"), "no label would be known before"),
        (("--time", "known", "--label", "label", "--label-at", "when"), "most labels were known before"),
        (
            ("--time", "when", "--label", "label", "--delay-rows", "3", "--model", "forest"),
            "none of that name",
        ),
        (
            ("--time", "when", "--label", "label", "--delay-rows", "3", "--model", "no:f"),
            "importing 'no' failed",
        ),
        (("--time", "when", "--label", "label", "--delay-rows", "3", "--drop", "x9"), "no such column"),
    ],
)
def test_wrong_options_are_one_line_that_says_what_to_do(folder, table, arguments, told):
    done = folder.run("whatif", table, *arguments, code=1)
    assert told in done.err
    assert done.err.count("\n") == 1
    assert not done.out


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.csv", None, "there is no such file"),
        ("t.xlsx", b"", "Name a .csv, .tsv or .parquet file."),
        ("t.csv", b"", "it has no header"),
        ("t.csv", b"when,label\n", "it has no rows"),
        ("t.csv", b"when,label\n1,1,1\n", "line 2 has 3 values for 2 columns. Mend the line."),
        ("t.csv", b"when,label\n" + b"1,1\n2,0\n" * 50, "it has 100 rows. Bring at least 200"),
        ("t.csv", b"when,label\n" + b"1,1\n2,\n" * 150, "all its values are the same"),
        ("t.csv", b"when,label\n" + b"1,1\n1e30,0\n" * 150, "line 3 of it lies outside of the years"),
        ("t.csv", b"when,label\n" + b"1,1\n2,1\n" * 150, "all its values are the same"),
        ("t.csv", b"when,label\n" + b"1,1\n1,0\n" * 150, "all rows have the same time"),
        ("t.csv", b"when,label\n" + b"1,1\n2,0\n" * 150, "no column is left to learn from"),
        ("t.parquet", b"PAR1", "it is no Parquet file"),
    ],
)
def test_bad_tables_are_one_line_that_says_what_to_do(folder, name, content, told):
    if content is not None:
        (folder.path / name).write_bytes(content)
    done = folder.run("whatif", name, "--time", "when", "--label", "label", "--delay-rows", "3", code=1)
    assert told in done.err
    assert done.err.count("\n") == 1
    assert not done.out


def test_a_card_is_not_written_over_its_table(folder, table):
    before = table.read_text()
    done = folder.run("whatif", table, *PLAIN, "--output", "t.csv", code=1)
    assert "which would be lost. Choose another --output." in done.err
    assert table.read_text() == before


def test_a_card_that_cannot_be_written_says_so(folder, table):
    (folder.path / "taken").write_text("")
    done = folder.run("whatif", table, *PLAIN, "--output", "taken/card.html", code=1)
    assert "Cannot write the card 'taken/card.html'" in done.err
    assert "Choose another --output." in done.err
