"""Laws of the sketches: merging is exact, commutative and associative, and equals having seen all rows at once."""

import math
from fractions import Fraction

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tropism.models.drift import chi_square_p_value, jensen_shannon, population_stability
from tropism.models.sketch.distinct import DistinctCount
from tropism.models.sketch.features import feature_sketch
from tropism.models.sketch.histogram import histogram_of
from tropism.models.sketch.latency import LatencySketch
from tropism.models.sketch.moments import Moments

LAW = settings(deadline=None, max_examples=100, derandomize=True)

NUMBERS = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.0, 1.0, 2.0, 3.0, math.inf]))
ROWS = st.lists(st.tuples(NUMBERS, st.sampled_from(["a", "b", "z", None])), max_size=20)
REFERENCE = feature_sketch(["x", "c"], [[0.0, 1.0, 2.0, 3.0, None], ["a", "b", "a", None, "b"]], bins=3)
SECONDS = st.lists(st.floats(0.0, 1e12), max_size=20)
MAGNITUDES = st.lists(st.floats(-1e140, 1e140), max_size=12)
WORDS = st.lists(st.text(max_size=3), max_size=20)


def of_rows(rows):
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], []]
    return REFERENCE.emptied().observe(columns)


SKETCHES = {
    "features": (ROWS, of_rows),
    "latency": (SECONDS, LatencySketch().observe),
    "moments": (MAGNITUDES, Moments().observe),
    "distinct": (WORDS, DistinctCount().observe),
}


def same(one, other):
    """Equal as values and as stored bytes."""
    return one == other and msgspec.json.encode(one) == msgspec.json.encode(other)


@pytest.mark.parametrize("name", sorted(SKETCHES))
@settings(LAW, max_examples=40)
@given(data=st.data())
def test_merging_is_exact_commutative_and_associative(data, name):
    strategy, sketch_of = SKETCHES[name]
    one, two, three = (data.draw(strategy) for _ in range(3))
    a, b, c = map(sketch_of, (one, two, three))
    assert same(a.merged(b), b.merged(a))
    assert same(a.merged(b).merged(c), a.merged(b.merged(c)))
    assert same(a.merged(b).merged(c), sketch_of([*three, *one, *two]))
    assert same(a.merged(sketch_of([])), a)


@pytest.mark.parametrize("name", sorted(SKETCHES))
@settings(LAW, max_examples=25)
@given(data=st.data())
def test_sketches_survive_json(data, name):
    strategy, sketch_of = SKETCHES[name]
    sketch = sketch_of(data.draw(strategy))
    assert same(msgspec.json.decode(msgspec.json.encode(sketch), type=type(sketch)), sketch)


@LAW
@given(st.lists(NUMBERS, max_size=40), st.integers(1, 12), st.lists(NUMBERS, max_size=40))
def test_a_histogram_counts_as_a_loop_over_its_edges_would(reference, bins, values):
    sketch = histogram_of(reference, bins=bins).emptied()
    numbers = [v for v in values if v is not None and not math.isnan(v)]
    expected = [0] * (len(sketch.edges) + 1)
    for value in numbers:
        expected[sum(value >= edge for edge in sketch.edges)] += 1
    seen = sketch.observe(values)
    assert seen.counts == tuple(expected)
    assert seen.missing == len(values) - len(numbers)


@LAW
@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=40), st.integers(1, 12))
def test_a_reference_is_never_out_of_its_own_range_and_has_no_more_bins_than_asked(reference, bins):
    sketch = histogram_of(reference, bins=bins)
    assert sketch.out_of_range == 0
    assert len(sketch.edges) - 1 <= bins
    assert min(sketch.counts[1:-1]) > 0


@LAW
@given(st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=20))
def test_moments_are_the_exact_ones_rounded_once(values):
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    moments = Moments().observe(values)
    assert moments.mean == float(mean)
    variance = float(sum((v - mean) ** 2 for v in exact) / (len(exact) - 1))
    assert math.isclose(moments.variance, variance, rel_tol=1e-12, abs_tol=1e-300)


@LAW
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=60), st.floats(0.0, 1.0))
def test_latency_quantiles_are_within_their_accuracy(seconds, share):
    sketch = LatencySketch(accuracy=0.05).observe(seconds)
    exact = sorted(seconds)[max(1, math.ceil(share * len(seconds) - 1e-9)) - 1]
    assert abs(sketch.quantile(share) - exact) <= 0.05 * exact * (1 + 1e-9)


@LAW
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=10), st.randoms())
def test_drift_measures_are_symmetric_and_blind_to_the_order_of_cells(cells, rng):
    before, after = zip(*cells, strict=True)
    shuffled = cells.copy()
    rng.shuffle(shuffled)
    for measure in (population_stability, jensen_shannon, chi_square_p_value):
        value = measure(before, after)
        for other in (measure(after, before), measure(*zip(*shuffled, strict=True))):
            assert (value is None) == (other is None)
            assert value is None or math.isclose(value, other, rel_tol=1e-9, abs_tol=1e-12)


@LAW
@given(st.lists(st.integers(0, 400), min_size=1, max_size=10), st.integers(1, 3))
def test_the_same_shares_are_no_drift(counts, times):
    scaled = [times * count for count in counts]
    if sum(counts):
        assert jensen_shannon(counts, scaled) < 1e-12
        assert chi_square_p_value(counts, scaled) in (None, 1.0)


@LAW
@given(st.lists(st.text(min_size=1, max_size=2), max_size=30))
def test_repeats_never_change_a_distinct_count(words):
    once = DistinctCount().observe(words)
    assert same(once.observe([*words, *reversed(words)]), once)


@LAW
@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=1, max_size=30))
def test_arrays_and_lists_are_observed_alike(rows):
    matrix = np.array(rows).T
    sketch = feature_sketch(["x", "y"], matrix)
    assert same(sketch.observe(matrix), sketch.observe([list(column) for column in matrix]))
