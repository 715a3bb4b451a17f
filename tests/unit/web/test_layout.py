from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tropism.web.layout import place, spread

PIXELS = st.floats(0, 300)


@given(st.lists(PIXELS, max_size=12), st.floats(1, 40))
def test_names_at_line_ends_never_meet_and_never_leave(wanted, gap):
    found = spread(wanted, gap, 0, 300)
    room = min(gap, 300 / max(1, len(wanted) - 1))
    assert all(b - a >= room - 1e-6 for a, b in pairwise(sorted(found)))
    assert all(-1e-6 <= each <= 300 + 1e-6 for each in found)
    in_order = sorted(range(len(wanted)), key=lambda each: wanted[each])
    assert all(found[a] <= found[b] for a, b in pairwise(in_order))


def test_names_with_room_stay_where_they_are():
    assert spread([10, 200, 90], 16, 0, 300) == [10, 200, 90]


@given(st.lists(st.tuples(PIXELS, st.floats(1, 60)), max_size=30), st.integers(1, 3))
def test_labels_of_one_tier_never_meet(starts, tiers):
    spans = [(start, start + width) for start, width in starts]
    found = place(spans, tiers)
    for tier in range(tiers):
        row = sorted(span for span, each in zip(spans, found, strict=True) if each == tier)
        assert all(a[1] + 4 <= b[0] for a, b in pairwise(row))
