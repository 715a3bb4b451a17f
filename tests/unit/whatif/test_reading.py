"""Columns, times and labels mean what is documented, or the error says what to mend."""

import datetime as dt
from pathlib import Path

import pytest

from tropism.core.errors import InvalidInputError, NotFoundError
from tropism.core.time import parse_iso
from tropism.whatif.columns import read_columns
from tropism.whatif.labels import read_labels
from tropism.whatif.reading import Raw, Sheet, read_sheet
from tropism.whatif.times import read_times


def text(*values, name="x"):
    return Raw(name, "text", list(values))


def sheet(*raws):
    return Sheet(Path("table.csv"), raws, 2)


def times(raw):
    return read_times(sheet(raw), raw, "--time")


NEW_YEAR = parse_iso("2024-01-01")


@pytest.mark.parametrize(
    "value",
    ["2024-01-01", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00", "2024-01-01T01:00:00+01:00",
     "1704067200", "1704067200.0", "1704067200000", "1704067200000000", "1704067200000000000", "20240101"],
)  # fmt: skip
def test_every_documented_way_to_write_a_time_gives_the_same_instant(value):
    assert times(text(value, "")) == [NEW_YEAR, None]


def test_numbers_are_read_by_the_largest_of_them():
    assert times(Raw("t", "number", [0, 1.5, None, float("nan")])) == [0, 1_500_000, None, None]


def test_a_time_that_is_none_names_its_line_and_not_its_value():
    with pytest.raises(InvalidInputError, match="line 3 of it holds no time. Write times as") as told:
        times(text("2024-01-01", "03/01/2024"))
    assert "03/01" not in str(told.value)


@pytest.mark.parametrize("value", ["1e30", "-1e30", "0800-01-01", "9999-12-31"])
def test_a_time_that_no_calendar_of_ours_reaches_names_its_line(value):
    with pytest.raises(InvalidInputError, match="line 3 of it lies outside of the years 1000 to 8999"):
        times(text("1000", value) if "e" in value else text("2024-01-01", value))


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["0", "1", ""], [0.0, 1.0, None]),
        (["1.0", "0.0", "NaN"], [1.0, 0.0, None]),
        (["True", "FALSE", "null"], [1.0, 0.0, None]),
        (["yes", "No", "N/A"], [1.0, 0.0, None]),
        (["-1", "1"], [0.0, 1.0]),
    ],
)
def test_labels_of_plain_meaning(values, labels):
    found, notes = read_labels(text(*values))
    assert found == labels
    assert len(notes) == (values[0] == "-1")


def test_of_any_other_two_values_the_last_in_order_is_one_and_said():
    found, notes = read_labels(text("ok", "late", "ok"))
    assert found == [1.0, 0.0, 1.0]
    assert "'ok' counts as 1 and 'late' as 0" in notes[0].text


def test_booleans_and_numbers_are_labels_too():
    assert read_labels(Raw("y", "boolean", [True, False, None]))[0] == [1.0, 0.0, None]
    assert read_labels(Raw("y", "number", [1, 0, None]))[0] == [1.0, 0.0, None]


@pytest.mark.parametrize(
    "values", [["1000000.1", "1000000.2"], ["9007199254740992", "9007199254740993"], ["0.1", "0.10000001"]]
)
def test_labels_that_differ_in_their_last_digit_are_two(values):
    assert read_labels(text(*values))[0] == [0.0, 1.0]
    with pytest.raises(InvalidInputError, match="3 different values"):
        read_labels(text(*values, "5"))


@pytest.mark.parametrize(
    ("values", "fact"),
    [
        (["1", "1"], "all its values are the same"),
        (["", "NA"], "all its 2 values are missing"),
        (
            ["1", "2", "3", "4", "5", "6"],
            "6 different values .*'1', '2', '3', '4' and 2 more.*a label has two",
        ),
    ],
)
def test_a_column_without_two_values_is_no_label(values, fact):
    with pytest.raises(InvalidInputError, match=fact):
        read_labels(text(*values))


def kinds(*raws):
    columns, notes = read_columns(raws)
    return {c.name: c.kind for c in columns}, " ".join(note.text for note in notes)


def test_kinds_of_columns():
    found, notes = kinds(
        text("1", "2.5", "", name="a"),
        text("true", "False", "", name="b"),
        text("red", "blue", "NA", name="c"),
        Raw("d", "boolean", [True, None, False]),
        Raw("e", "number", [1, 2, None]),
    )
    assert found == {"a": "number", "b": "boolean", "c": "category", "d": "boolean", "e": "number"}
    assert not notes


def test_missing_and_infinite_values_are_none():
    columns, _ = read_columns(
        [text("1", "inf", "nan", "2"), Raw("y", "number", [1.0, float("inf"), 2, None])]
    )
    assert columns[0].values == [1.0, None, None, 2.0]
    assert columns[1].values == [1.0, None, 2.0, None]


def test_numbers_too_large_to_reckon_with_are_missing_and_said():
    raws = [text("1", "1e300", "-inf", "nan", "2", name="a"), Raw("b", "number", [1e101, None, 3, 4, 5])]
    columns, said = read_columns(raws)
    assert [column.values for column in columns] == [[1, None, None, None, 2], [None, None, 3, 4, 5]]
    assert [note.text for note in said] == [
        "Column 'a' holds 2 numbers beyond 1e+100: taken as missing.",
        "Column 'b' holds 1 number beyond 1e+100: taken as missing.",
    ]


def test_a_mixed_column_is_a_category_and_said():
    columns, notes = read_columns([text("1", "2", "n.a.", "3")])
    assert columns[0].kind == "category"
    assert columns[0].values == ["1", "2", "n.a.", "3"]
    assert "'x' mixes 3 numbers with 1 text" in notes[0].text


def test_what_can_be_no_feature_is_left_out_and_said():
    found, notes = kinds(
        text(*[f"user-{n}" for n in range(100)], name="user"),
        Raw("serial", "number", list(range(100))),
        Raw("constant", "number", [7] * 100),
        text(*[""] * 100, name="empty"),
        text(*["2024-01-01"] * 50, *["2024-01-02"] * 50, name="day"),
        Raw("stamp", "time", list(range(100))),
        Raw("nested", "other", [None] * 100),
        Raw("cents", "number", [n * 997 % 100_003 for n in range(100)]),
    )
    assert found == {"cents": "number"}
    for said in ("'user', 'serial': they tell rows apart", "'day', 'stamp': they are times",
                 "'constant', 'empty': they have the same", "'nested': they are nested"):  # fmt: skip
        assert said in notes


def test_a_flag_that_is_set_or_missing_is_a_feature():
    assert kinds(text(*["x", ""] * 10))[0] == {"x": "category"}


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_of_any_separator(tmp_path, separator):
    file = tmp_path / "t.csv"
    file.write_text(f"\ufeffa{separator}b\n1{separator}x\n\n2{separator}y\n", "utf-8")
    found = read_sheet(file)
    assert [(raw.name, raw.values) for raw in found.columns] == [("a", ["1", "2"]), ("b", ["x", "y"])]


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "it has no header"),
        (b"a,a\n1,2\n", "names 'a' twice"),
        (b"a,\n1,2\n", "a column has no name"),
        (b"a,b\n1,2\n1\n", "line 3 has 1 values for 2 columns"),
        (b"a,b\n\xff,2\n", "it is not UTF-8"),
        (b'a,b\n"1,2\n', r"the row of line 2 is broken \(unexpected end of data\). Mend the line."),
    ],
)
def test_a_broken_csv_says_where(tmp_path, content, fact):
    file = tmp_path / "t.csv"
    file.write_bytes(content)
    with pytest.raises(InvalidInputError, match=fact):
        read_sheet(file)


def test_a_folder_is_no_table(tmp_path):
    with pytest.raises(NotFoundError, match="it is a folder. Name a CSV or Parquet file."):
        read_sheet(tmp_path)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_text("a\n1\n")
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda *_: False)
        with pytest.raises(NotFoundError, match="you may not read it. Name a CSV or Parquet file."):
            read_sheet(tmp_path / "t.csv")
    (tmp_path / "long").write_text("")
    with pytest.raises(NotFoundError, match="File name too long"):
        read_sheet(tmp_path / ("x" * 300 + ".csv"))


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(NotFoundError, match="there is no such file"):
        read_sheet(tmp_path / "none.csv")
    (tmp_path / "t.xlsx").write_bytes(b"")
    with pytest.raises(InvalidInputError, match=r"kind '.xlsx' is unknown. Name a .csv, .tsv or .parquet"):
        read_sheet(tmp_path / "t.xlsx")


def test_parquet_types(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    at = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int32()),
            "f": pa.array([1.5, None], pa.float32()),
            "b": pa.array([True, None]),
            "s": pa.array(["x", None]).dictionary_encode(),
            "zoned": pa.array([at, None], pa.timestamp("ns", "America/New_York")),
            "plain": pa.array([at.replace(tzinfo=None), None], pa.timestamp("ms")),
            "day": pa.array([at.date(), None], pa.date32()),
            "list": pa.array([[1], None]),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    found = {raw.name: (raw.kind, list(raw.values)) for raw in read_sheet(tmp_path / "t.parquet").columns}
    assert found["i"] == ("number", [1, None])
    assert found["f"] == ("number", [1.5, None])
    assert found["b"] == ("boolean", [True, None])
    assert found["s"] == ("text", ["x", ""])
    for name in ("zoned", "plain", "day"):
        assert found[name] == ("time", [NEW_YEAR, None])
    assert found["list"][0] == "other"


def test_what_is_no_parquet_says_so(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "t.parquet").write_bytes(b"not parquet")
    with pytest.raises(InvalidInputError, match="it is no Parquet file"):
        read_sheet(tmp_path / "t.parquet")


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    import builtins

    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name="pyarrow")
        return real(name, *args, **kwargs)

    (tmp_path / "t.parquet").write_bytes(b"")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Exception, match=r"pip install 'tropism\[parquet\]'"):
        read_sheet(tmp_path / "t.parquet")
