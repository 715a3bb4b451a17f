"""Sketches count what they say they count; the laws of merging are proved in tests/property."""

import math
import random

import msgspec
import numpy as np
import pytest

from tropism.core.errors import InvalidInputError
from tropism.models.sketch.categories import Categories, categories_of
from tropism.models.sketch.distinct import DistinctCount
from tropism.models.sketch.features import FeatureSketch, feature_sketch
from tropism.models.sketch.histogram import Histogram, histogram_of
from tropism.models.sketch.latency import LatencySketch
from tropism.models.sketch.moments import Moments


def test_a_histogram_counts_below_inside_above_and_missing():
    sketch = histogram_of([1.0, 2.0, 3.0, 4.0], bins=2).emptied()
    assert sketch.edges == (1.0, 3.0, math.nextafter(4.0, math.inf))
    seen = sketch.observe([0.5, 1.0, 2.9, 3.0, 4.0, 4.1, None, float("nan"), math.inf, -math.inf])
    assert seen.counts == (2, 2, 2, 2)
    assert (seen.missing, seen.out_of_range, seen.rows) == (2, 4, 10)


def test_few_distinct_values_get_a_bin_each():
    assert histogram_of([0, 0, 0, 1, 5], bins=10).counts == (0, 3, 1, 1, 0)


def test_many_distinct_values_are_cut_into_bins_of_equal_mass():
    sketch = histogram_of(np.arange(1000) / 7, bins=10)
    assert sketch.counts == (0, *[100] * 10, 0)


def test_a_value_as_frequent_as_a_bin_is_never_shared_out():
    values = [0.0] * 500 + [float(x) for x in range(1, 501)]
    sketch = histogram_of(values, bins=10)
    assert sketch.counts[1] >= 500
    assert sum(sketch.counts) == 1000


def test_extremes_are_exact_and_absent_without_a_number():
    sketch = histogram_of([1.0, 9.0]).emptied()
    assert (sketch.low, sketch.high) == (None, None)
    assert sketch.observe([None, None]).low is None
    seen = sketch.observe([3.0, None, -2.0])
    assert (seen.low, seen.high) == (-2.0, 3.0)
    assert sketch.observe([math.inf]).high == pytest.approx(1.797e308, rel=1e-3)


def test_a_reference_without_numbers_has_everything_out_of_range():
    seen = histogram_of([None, None]).emptied().observe([1.0, None])
    assert (seen.edges, seen.counts, seen.out_of_range, seen.missing) == ((), (1,), 1, 1)


def test_text_among_numbers_is_refused_by_feature():
    sketch = feature_sketch(["delay"], [[1.0, 2.0]])
    with pytest.raises(InvalidInputError, match=r"^Cannot observe a numeric feature: .*Declare it") as caught:
        sketch.observe([["late", 2.0]])
    assert caught.value.__notes__ == ["In feature 'delay'."]


def test_categories_keep_the_most_frequent_with_ties_by_name():
    sketch = categories_of(["b", "a", "c", "b", None], categories_max=2)
    assert sketch.categories == ("b", "a")
    assert (sketch.counts, sketch.others, sketch.missing) == ((2, 1), 1, 1)


def test_whatever_is_no_known_category_is_among_the_others():
    seen = categories_of(["a", "b"]).emptied().observe(["a", "z", 3, float("nan"), None, True])
    assert (seen.counts, seen.others, seen.missing, seen.rows) == ((1, 0), 3, 2, 6)


def test_a_feature_sketch_observes_each_column_by_its_kind():
    reference = feature_sketch(["x", "carrier"], [[1.0, 2.0, None], ["AA", "UA", "AA"]])
    seen = reference.emptied().observe([np.array([1.5, np.nan]), np.array(["AA", "ZZ"])])
    numeric, carrier = seen.features
    assert isinstance(numeric, Histogram)
    assert isinstance(carrier, Categories)
    assert (seen.rows, numeric.rows, numeric.missing) == (2, 2, 1)
    assert (carrier.counts, carrier.others) == ((1, 0), 1)


def test_the_kinds_can_be_declared():
    sketch = feature_sketch(["hour"], [[None, None]], kinds=["category"])
    assert isinstance(sketch.features[0], Categories)


def test_a_sketch_of_no_rows_equals_the_emptied_reference():
    empty = feature_sketch(["x", "c"], [[1.0, 2.0], ["a", "b"]]).emptied()
    assert empty.observe([[], []]) == empty


@pytest.mark.parametrize("columns", [[[1.0]], [[1.0], ["a", "b"]], [[1.0], ["a"], [2.0]]])
def test_columns_that_do_not_fit_are_refused(columns):
    sketch = feature_sketch(["x", "c"], [[1.0, 2.0], ["a", "b"]])
    with pytest.raises(InvalidInputError, match=r"^Cannot observe .*Give one column per feature"):
        sketch.observe(columns)


def test_sketches_of_different_references_do_not_merge():
    one = feature_sketch(["x", "c"], [[1.0, 2.0], ["a", "b"]])
    others = [
        feature_sketch(["y", "c"], [[1.0, 2.0], ["a", "b"]]),
        feature_sketch(["x", "c"], [[1.0, 3.0], ["a", "b"]]),
        feature_sketch(["x", "c"], [[1.0, 2.0], ["a", "z"]]),
        feature_sketch(["x", "c"], [[1.0, 2.0], [1.0, 2.0]]),
    ]
    for other in others:
        with pytest.raises(InvalidInputError, match="Build both from one reference"):
            one.merged(other)


def test_wrong_sizes_and_names_are_refused():
    with pytest.raises(InvalidInputError, match="Choose 1 or more"):
        histogram_of([1.0], bins=0)
    with pytest.raises(InvalidInputError, match="Choose 1 or more"):
        categories_of(["a"], categories_max=0)
    with pytest.raises(InvalidInputError, match="Name each once"):
        feature_sketch(["x", "x"], [[1.0], [2.0]])


def test_every_sketch_survives_json():
    sketches = [
        feature_sketch(["x", "c", "none"], [[1.0, math.inf], ["a", None], [None, None]]),
        LatencySketch().observe([0.0, 0.004, 3.0, 1e9]),
        Moments().observe([0.1, 1e-200, -3e100]),
        DistinctCount().observe(["a", "b"]),
    ]
    for sketch in sketches:
        assert msgspec.json.decode(msgspec.json.encode(sketch), type=type(sketch)) == sketch


def test_latency_quantiles_are_within_the_accuracy():
    rng = random.Random(1)
    seconds = sorted(rng.lognormvariate(-5, 2) for _ in range(10_001))
    sketch = LatencySketch(accuracy=0.02).observe(seconds)
    for share in (0.01, 0.5, 0.9, 0.99, 0.999):
        exact = seconds[math.ceil(share * len(seconds)) - 1]
        assert sketch.quantile(share) == pytest.approx(exact, rel=0.02 * (1 + 1e-9))
    assert sketch.quantile(0.0) == pytest.approx(seconds[0], rel=0.02)
    assert sketch.quantile(1.0) == pytest.approx(seconds[-1], rel=0.02)


def test_latency_sketches_keep_to_constant_memory_whatever_they_see():
    sketch = LatencySketch().observe([10.0**exponent for exponent in range(-300, 300)])
    sketch = sketch.observe([1.001**step for step in range(-20_000, 20_000)])
    assert len(sketch.buckets) <= 1_384
    assert sketch.count == 40_600


def test_a_latency_sketch_without_durations_has_no_quantile():
    assert LatencySketch().quantile(0.5) is None
    assert LatencySketch().observe([]) == LatencySketch()


def test_impossible_latencies_are_refused():
    with pytest.raises(InvalidInputError, match="Give seconds of at least 0"):
        LatencySketch().observe([-0.001])
    with pytest.raises(InvalidInputError, match="Choose one in"):
        LatencySketch().quantile(1.5)
    with pytest.raises(InvalidInputError, match=r"Choose 0\.01"):
        LatencySketch(accuracy=0.0)
    with pytest.raises(InvalidInputError, match="Choose one accuracy"):
        LatencySketch().merged(LatencySketch(accuracy=0.02))


def test_moments_are_right_where_naive_sums_are_not():
    values = [1e9 + x for x in (4.0, 7.0, 13.0, 16.0)]
    moments = Moments().observe(values)
    assert (moments.mean, moments.variance) == (1e9 + 10.0, 30.0)
    assert (moments.low, moments.high, moments.count) == (1e9 + 4, 1e9 + 16, 4)


def test_moments_without_enough_numbers_are_absent():
    assert (Moments().mean, Moments().variance) == (None, None)
    assert Moments().observe([3.0]).variance is None


@pytest.mark.parametrize("value", [float("nan"), math.inf, 1e141])
def test_moments_refuse_what_is_no_number(value):
    with pytest.raises(InvalidInputError, match="Leave missing values out"):
        Moments().observe([1.0, value])


@pytest.mark.parametrize("count", [0, 1, 50, 2_000, 5_000, 60_000])
def test_distinct_counts_are_within_three_standard_errors(count):
    sketch = DistinctCount().observe(f"flight-{i}" for i in range(count))
    assert sketch.estimate() == pytest.approx(count, rel=3 * 0.023)


def test_registers_of_another_size_are_refused():
    with pytest.raises(InvalidInputError, match="Pass registers that a DistinctCount has written"):
        DistinctCount(bytes(7))


def test_a_thousand_batches_do_not_make_a_feature_sketch_larger():
    sketch = feature_sketch(["x", "c"], [list(map(float, range(100))), [f"c{i}" for i in range(100)]])
    grown = sketch.emptied()
    for step in range(1000):
        grown = grown.observe([[step * 1.7, None], [f"new-{step}", "c1"]])
    assert isinstance(grown, FeatureSketch)
    assert len(msgspec.json.encode(grown)) <= len(msgspec.json.encode(sketch)) * 1.2


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1.5, 2.0, float("nan")], np.float64),
        ([3, 1, 2], np.int64),
        ([True, False, True], np.bool_),
        (["a", "b", "a"], np.str_),
        (["a", None, "a"], object),
        ([1.0, None, 2.0], object),
    ],
)
def test_a_column_is_of_one_kind_as_a_list_and_as_an_array(values, dtype):
    one, other = (feature_sketch(("x",), [column]) for column in (values, np.array(values, dtype=dtype)))
    assert one == other
