"""Columns: however they are cut, packed and put together, they stay what they were."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropism.models.columns import (
    IDS_BYTES_MAX,
    Words,
    alike,
    column_of,
    columns_of,
    ids_of,
    joined,
    joined_ids,
    pack,
    taken,
    unpack,
)

KINDS = [
    st.floats(-9, 9),
    st.integers(-9, 9),
    st.none(),
    st.booleans(),
    st.sampled_from(["x", "", "ß", "a\0"]),
    st.just(2**70),
]
VALUES = st.lists(st.sampled_from(KINDS), max_size=3).flatmap(
    lambda kinds: st.lists(st.one_of(st.none(), *kinds))
)
IDS = st.lists(st.text(st.sampled_from("ab\0ß😀\ud800"), max_size=3) | st.just("x" * (IDS_BYTES_MAX + 1)))


def told(column):
    """Return all that could differ of a column."""
    if isinstance(column, np.ndarray) and column.dtype != object:
        return column.dtype.kind, column.tolist() if column.dtype.kind == "S" else column.tobytes()
    if isinstance(column, Words):
        return list(map(repr, column.values)), column.codes.dtype, column.codes.tolist()
    return type(column), list(map(repr, column))


def cut(values, cuts):
    bounds = [0, *sorted(min(each, len(values)) for each in cuts), len(values)]
    return [values[a:b] for a, b in pairwise(bounds)]


def test_numbers_become_arrays_strings_and_truth_values_words_and_all_else_stays_a_list():
    table = [[1.5, 1, True, "a", 1, None], [None, 2, None, None, 2.5, None]]
    floats, whole, flags, texts, mixed, empty = columns_of(table, 6)
    np.testing.assert_array_equal(floats, [1.5, np.nan])
    assert (whole.dtype, whole.tolist(), mixed) == (np.int64, [1, 2], [1, 2.5])
    assert [each.values for each in (flags, texts, empty)] == [[True, None], ["a", None], [None]]
    assert columns_of([[2**70], [1]], 1) == [[2**70, 1]]
    assert list(map(len, columns_of([], 2))) == [0, 0]


@given(VALUES)
def test_the_values_of_a_column_are_those_it_was_made_of(values):
    found = taken(column_of(values), np.arange(len(values)))
    listed = found.tolist() if isinstance(found, np.ndarray) else found
    assert [repr(value).replace("nan", "None") for value in listed] == list(map(repr, values))
    assert isinstance(found, np.ndarray) or type(found) is list


@given(VALUES, st.lists(st.integers(0, 30), max_size=3))
def test_a_column_read_in_pieces_is_the_column_read_at_once(values, cuts):
    assert told(joined([column_of(piece) for piece in cut(values, cuts)])) == told(column_of(values))


@given(st.lists(VALUES.filter(lambda values: 2**70 not in values), max_size=3), IDS)
def test_packed_columns_come_back_as_they_were(columns, ids):
    ids = [id for id in ids if "\ud800" not in id]
    before = [*map(column_of, columns), ids_of(ids)]
    assert list(map(told, unpack(pack(before)))) == list(map(told, before))


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_packed_columns_of_which_a_byte_has_changed_are_refused(at, change):
    packed = pack([column_of([1.0, 2.0, None]), column_of(["a", None]), ids_of(["d1", "d2"])])
    at %= len(packed)
    spoilt = packed[:at] + bytes([packed[at] ^ change]) + packed[at + 1 :]
    with pytest.raises(ValueError):
        unpack(spoilt)


@given(IDS, IDS)
def test_ids_sort_and_compare_as_the_strings_they_are(some, others):
    one, other = alike([ids_of(some), ids_of(others)])
    both = joined_ids([one, other])
    listed = some + others
    assert np.argsort(both, kind="stable").tolist() == sorted(range(len(listed)), key=listed.__getitem__)
    same = [(one == other[n : n + 1]).tolist() for n in range(len(other))]
    assert same == [[a == b for a in some] for b in others]


def test_one_long_id_does_not_make_all_of_them_long():
    assert ids_of(["x" * 10_000, *["y"] * 100]).nbytes < 10_000
