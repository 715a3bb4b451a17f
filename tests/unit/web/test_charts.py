import json
import math
import re
from xml.etree import ElementTree as ET

import pytest

from tropism.web.charts import (
    Band,
    Bucket,
    CalibrationPlot,
    CalibrationPoint,
    Frame,
    HeatMap,
    HeatRow,
    Histogram,
    LineChart,
    Marker,
    Parts,
    Series,
    Span,
    Timeline,
    figure,
    shade_legend,
)

WIDE, NARROW = Frame(1000, 340), Frame(380, 260)
EVIL = '<script>alert("x")</script>'
WEEK = 7 * 86_400_000_000


def line(*values, name="a", **more):
    return Series(name, tuple((WEEK * k, each) for k, each in enumerate(values)), "leaf", **more)


def heat(*values, name="a"):
    return HeatMap(
        "t", "d", (HeatRow(name, tuple((WEEK * k, each) for k, each in enumerate(values))),), (0.1, 0.2)
    )


EMPTY = [
    LineChart("t", "d", ()),
    LineChart("t", "d", (line(), line(None, math.nan))),
    HeatMap("t", "d", (), (0.1,)),
    HeatMap("t", "d", (HeatRow("a", ()),), (0.1,)),
    CalibrationPlot("t", "d", ()),
    CalibrationPlot("t", "d", (CalibrationPoint(math.nan, 0.1, 4), CalibrationPoint(0.5, 0.5, 0))),
    Histogram("t", "d", ()),
    Histogram("t", "d", (Bucket(0, 0, 3), Bucket(1, 2, 0))),
    Parts("t", "d", ()),
    Timeline("t", "d", ()),
]
ODD = [
    LineChart("t", "d", (line(0.5),)),
    LineChart("t", "d", (line(0.5, None, 0.5, None),), baseline=0.0),
    LineChart("t", "d", (line(1e308, -1e308, 5e-324),)),
    LineChart("t", "d", (line(1e15, 1e15 + 1),)),
    LineChart("t", "d", (line(1, math.inf, 2),), (Band(-WEEK, WEEK * 9, "long"),), (Marker(-WEEK, "before"), Marker(WEEK, "v1"))),
    LineChart("t", "d", (Series("far", ((-(2**62), 1.0), (2**62, 2.0)), "sky"),)),
    LineChart("t", "d", tuple(line(0.5, name=f"series {k}") for k in range(40))),
    LineChart("t", "d", (line(1, 2, name=EVIL),), (Band(0, WEEK, EVIL),), (Marker(0, EVIL, EVIL),)),
    heat(0.1),
    heat(None, math.nan, 1e308, -1.0),
    heat(0.1, 0.2, name=EVIL * 5),
    CalibrationPlot("t", "d", (CalibrationPoint(0, 1, 10**15), CalibrationPoint(1, 0, 1))),
    Histogram("t", "d", (Bucket(0, 1e-9, 1), Bucket(1e-9, 1e9, 10**15)), (("p50", None), ("p99", math.inf), (EVIL, 0.1))),
    Histogram("t", "d", (Bucket(1, 2, 1),), (("p50", 1.5), ("p51", 1.5), ("p52", 1.5), ("p53", 1.5))),
    Histogram("t", "d", tuple(Bucket(1.01**k, 1.01 ** (k + 1), 1) for k in range(1400))),
    Parts("t", "d", ((EVIL, 0.0), ("never", -1.0), ("long", 1e300))),
    Timeline("t", "d", (Span("v1", "champion", 0, None),)),
    Timeline("t", "d", (Span(EVIL, "shadow", 5, 5, EVIL), Span("v2", "rolled back", 9, 2))),
    Timeline("t", "d", tuple(Span(f"v{k}", "watch", WEEK * k, WEEK * k + 1) for k in range(60))),
]  # fmt: skip


def drawn(chart, frame):
    return ET.fromstring(chart.draw(frame))


@pytest.mark.parametrize("frame", [WIDE, NARROW])
@pytest.mark.parametrize("chart", EMPTY)
def test_a_chart_without_values_says_so(chart, frame):
    assert [each.text for each in drawn(chart, frame).iter("text")] == ["No values yet"]


@pytest.mark.parametrize("frame", [WIDE, NARROW])
@pytest.mark.parametrize("chart", [*EMPTY, *ODD])
def test_every_drawing_is_well_formed_named_and_finite(chart, frame):
    picture = drawn(chart, frame)
    assert picture.tag == "svg"
    assert [each.tag for each in picture][:2] == ["title", "desc"]
    assert picture.get("role") == "img"
    shapes = {
        key: value for each in picture.iter() for key, value in each.items() if not key.startswith("data-")
    }
    assert not re.search(r"\b(nan|inf)\b|e\+", " ".join(shapes.values()))
    assert not list(picture.iter("script"))


@pytest.mark.parametrize("frame", [WIDE, NARROW])
@pytest.mark.parametrize("chart", ODD)
def test_no_shape_leaves_its_frame(chart, frame):
    picture = drawn(chart, frame)
    _, _, width, height = map(float, (picture.get("viewBox") or "").split())
    for each in picture.iter():
        for key, most in (
            ("x", width),
            ("cx", width),
            ("x1", width),
            ("x2", width),
            ("y", height),
            ("cy", height),
            ("y1", height),
            ("y2", height),
        ):
            place = float(each.get(key, "0"))
            assert -12 <= place <= most + 12, (each.tag, key, place)


@pytest.mark.parametrize("chart", [*EMPTY, *ODD])
def test_same_values_same_bytes(chart):
    assert figure(chart) == figure(chart)


def test_an_absent_value_breaks_the_line():
    picture = drawn(LineChart("t", "d", (line(0.1, 0.2, None, 0.4, 0.5, None, 0.6),)), WIDE)
    paths = [each.get("d", "") for each in picture.iter("path") if each.get("class") == "line"]
    assert [each.count("M") for each in paths] == [2]
    assert len([each for each in picture.iter("circle") if each.get("class") == "dot"]) == 1
    told = json.loads(picture.get("data-hover", ""))
    assert [point[2][0][0] for point in told["points"]] == [
        "0.100",
        "0.200",
        "–",
        "0.400",
        "0.500",
        "–",
        "0.600",
    ]
    assert told["points"][2][2][0][1] is None


def test_points_tell_their_values_without_scripts():
    picture = drawn(LineChart("t", "d", (line(0.125, name="Tropism"),)), WIDE)
    assert "Tropism, 1 Jan 1970: 0.125" in [each.text for each in picture.iter("title")]


def test_every_line_is_named_at_its_end():
    picture = drawn(LineChart("t", "d", (line(1, 1, name="one"), line(1, 1, name="two"))), WIDE)
    names = {
        each.text: float(each.get("y", 0)) for each in picture.iter("text") if each.get("class") == "name"
    }
    assert names.keys() == {"one", "two"}
    assert abs(names["one"] - names["two"]) >= 15


def test_shades_part_at_the_thresholds_and_absent_is_hollow():
    chart = heat(0.05, 0.1, 0.2, None)
    assert [chart.shade(each) for each in (0.05, 0.1, 0.2, None, math.nan)] == [0, 1, 2, None, None]
    cells = list(drawn(chart, WIDE).iter("rect"))
    assert [each.get("class") for each in cells] == ["h0", "h1", "h2", "hx"]
    assert [each.findtext("title") for each in cells][-1] == "a, 22 Jan 1970:  –"
    assert "not computed" in shade_legend(chart)
    assert "not computed" in shade_legend(HeatMap("t", "d", (), ()))


def test_a_span_that_lasts_reaches_the_end():
    spans = (Span("v1", "champion", 0, None), Span("v2", "shadow", 0, WEEK))
    blocks = [
        each
        for each in drawn(Timeline("t", "d", spans), WIDE).iter("rect")
        if (each.get("class") or "").startswith("g-")
    ]
    assert blocks[0].get("width") == blocks[1].get("width")
    assert (blocks[0].findtext("title") or "").startswith("v1 champion, since")


def test_many_buckets_are_joined_and_none_is_lost():
    picture = drawn(
        Histogram("t", "d", tuple(Bucket(1.01**k, 1.01 ** (k + 1), 1) for k in range(1400))), WIDE
    )
    titles = [each.findtext("title") or "" for each in picture.iter("rect")]
    assert len(titles) <= 60
    assert sum(int(each.split(": ")[1].split(" ")[0]) for each in titles) == 1400
