"""Records come out in order of time, those of one moment as they came, however many runs it takes."""

from hypothesis import given
from hypothesis import strategies as st

from tropism.cli.sorting import sorted_by_time
from tropism.core.envelope import Record


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 20))
def test_sorting_is_stable_through_files(times, run_count):
    records = [Record(str(n), "a.b", "a", "", time, b"x" * n) for n, time in enumerate(times)]
    assert list(sorted_by_time(records, run_count=run_count)) == sorted(records, key=lambda r: r.time_us)
