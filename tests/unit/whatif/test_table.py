"""A table becomes rows in order of time, and whatever is odd about it is handled as documented, and said."""

import csv

import numpy as np
import pytest
from tests.unit.whatif.tables import write_stream

from tropism.core.errors import InvalidInputError
from tropism.whatif.table import Roles, read_table

ROLES = Roles("when", "label", "known")


def rewritten(path, change):
    """Change the rows of a file: a function of a list of dictionaries."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0])
    rows = change(rows) or rows
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, names)
        out.writeheader()
        out.writerows(rows)
    return path


@pytest.fixture
def stream(tmp_path):
    return write_stream(tmp_path / "t.csv", 400)


def notes(table):
    return " ".join(note.text for note in table.notes)


def test_a_plain_table_has_its_rows_features_labels_and_no_remarks_but_the_id(stream):
    table = read_table(stream, ROLES)
    assert len(table) == 400
    assert table.names == ("a", "b", "noise", "kind")
    assert table.known_us[0] == table.times_us[0] + 1_800_000_000
    assert notes(table) == "Left out 'id': they tell rows apart, and say nothing of new ones."
    rows = table.rows()
    assert len(rows) == 400
    assert not np.isnan(rows.outcomes).any()


def test_time_label_and_key_are_no_features_and_neither_is_what_is_dropped(stream):
    table = read_table(stream, Roles("when", "label", "known", key="id", drop=("noise",)))
    assert table.names == ("a", "b", "kind")
    assert table.keys[:2] == ("r0", "r1")
    assert not table.notes


def test_labels_after_rows_and_the_last_ones_after_the_end(stream):
    table = read_table(stream, Roles("when", "label", delay_rows=48))
    assert table.known_us[0] == table.times_us[48]
    assert table.known_us[-48:] == (table.times_us[-1] + 1,) * 48


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        (
            Roles("When", "label", "known"),
            "--time 'When': the table has no such column. Did you mean 'when'?",
        ),
        (Roles("when", "lable", "known"), "--label 'lable': .* Did you mean 'label'"),
        (Roles("when", "label", "knwon"), "--label-at 'knwon': .* Did you mean 'known'"),
        (Roles("when", "label", "known", key="qqqqq"), "--key 'qqqqq': .* It has 'when', 'id', 'known'"),
        (Roles("when", "label", "known", drop=("nois",)), "--drop 'nois': .* Did you mean 'noise'"),
        (Roles("when", "when", "known"), "--label 'when': it is the column of times as well"),
        (Roles("kind", "label", "known"), "--time 'kind': line 2 of it holds no time"),
    ],
)
def test_wrong_columns_are_named_with_the_nearest_ones(stream, roles, told):
    with pytest.raises(InvalidInputError, match=told):
        read_table(stream, roles)


def test_unsorted_times_are_sorted_stably_and_said(stream):
    before = read_table(stream, Roles("when", "label", "known", key="id"))
    rewritten(stream, lambda rows: rows[::-1])
    after = read_table(stream, Roles("when", "label", "known", key="id"))
    assert after.keys == before.keys
    assert "not in order of 'when': they were sorted" in notes(after)


def test_rows_of_one_instant_stay_as_they_stand(stream):
    def together(rows):
        for number, row in enumerate(rows):
            row["when"] = str(1_600_000_000 + number // 10)

    table = read_table(rewritten(stream, together), Roles("when", "label", "known", key="id"))
    assert table.keys == tuple(f"r{n}" for n in range(400))
    assert "sorted" not in notes(table)


def test_missing_labels_times_and_moments_are_counted(stream):
    def holes(rows):
        rows[3]["label"] = ""
        rows[4]["label"] = "NA"
        rows[5]["when"] = ""
        rows[6]["known"] = ""
        rows[7]["known"] = rows[0]["when"]

    table = read_table(rewritten(stream, holes), ROLES)
    assert len(table) == 399
    told = notes(table)
    assert "2 rows have no label: decided like all others" in told
    assert "1 row has no time in 'when'" in told
    assert "1 label has no time in 'known': they count as never known" in told
    assert "1 label was known before the row" in told
    # Neither learned from nor scored: the two without, the one never known, the early one.
    assert np.isnan(table.rows().outcomes).sum() == 4


def test_a_label_of_the_same_instant_is_known_just_after_the_decision(stream):
    table = read_table(stream, Roles("when", "label", "when"))
    assert all(k == t + 1 for t, k in zip(table.times_us, table.known_us, strict=True))


def test_labels_mostly_known_before_their_rows_are_refused(stream):
    with pytest.raises(InvalidInputError, match="most labels were known before.*or give --delay-rows"):
        read_table(stream, Roles("known", "label", "when"))


def test_repeated_keys_are_decisions_of_their_own(stream):
    def twice(rows):
        for row in rows:
            row["id"] = row["id"][:3]

    table = read_table(rewritten(stream, twice), Roles("when", "label", "known", key="id"))
    assert len(set(table.keys)) == 400
    assert table.keys[10] == "r10"
    assert table.keys[100] == "r10#2"
    assert "Column 'id' repeats" in notes(table)


def test_a_key_that_looks_like_the_second_row_of_another_is_its_own(stream):
    def alike(rows):
        for row, key in zip(rows, ["a#2", "a", "a", "a#2", "b"], strict=False):
            row["id"] = key

    table = read_table(rewritten(stream, alike), Roles("when", "label", "known", key="id"))
    assert len(set(table.keys)) == 400


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: [], "it has no rows. Bring at least 200"),
        (lambda rows: rows[:1], "it has 1 row. Bring at least 200"),
        (
            lambda rows: [{**r, "label": "" if n >= 150 else r["label"]} for n, r in enumerate(rows)],
            "150 rows have a time and a label, and training and judging take 200",
        ),
        (lambda rows: [{**r, "label": "1"} for r in rows], "all its values are the same"),
        (
            lambda rows: [{**r, "when": "5"} for r in rows],
            "all rows have the same time, 1970-01-01T00:00:05Z",
        ),
        (lambda rows: [{**r, "label": n} for n, r in enumerate(rows)], "400 different values"),
    ],
)
def test_tables_that_cannot_tell_are_refused(stream, change, told):
    def changed(rows):
        found = change(rows)
        return found or [{}]

    path = rewritten(stream, changed)
    if not change([{"label": "1", "when": "1"}]):
        path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(InvalidInputError, match=told):
        read_table(path, ROLES)


def test_nothing_to_learn_from_is_refused(stream):
    with pytest.raises(InvalidInputError, match="no column is left to learn from"):
        read_table(stream, Roles("when", "label", "known", drop=("a", "b", "noise", "kind", "id")))


@pytest.mark.parametrize(
    "leak",
    [
        lambda n, y: y,
        lambda n, y: "done" if y else "open",
        lambda n, y: n % 7 + 100 * y,
        lambda n, y: n % 9 if y else "",
    ],
    ids=["equal", "words", "number", "missing"],
)
def test_a_column_that_knows_the_label_is_warned_of(tmp_path, leak):
    table = read_table(write_stream(tmp_path / "t.csv", 400, spoiler=leak), ROLES)
    warnings = [note.text for note in table.notes if note.level == "warning"]
    assert len(warnings) == 1
    assert "Column 'spoiler' alone tells the label almost perfectly" in warnings[0]
    assert "--drop 'spoiler'" in warnings[0]


def test_honest_columns_are_not_warned_of(stream):
    assert all(note.level == "note" for note in read_table(stream, ROLES).notes)
