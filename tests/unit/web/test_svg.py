import math
from xml.etree import ElementTree as ET

import pytest

from tropism.web.svg import coordinate, shortened, tag, text, titled, width_of


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onload='x", "&lt;", "]]>"]
)
def test_text_and_attributes_are_escaped(hostile):
    element = ET.fromstring(tag("g", titled("rect", hostile, x=1), data_told=hostile))
    assert element.get("data-told") == hostile
    assert element.findtext(".//title") == hostile
    assert len(list(element.iter())) == 3


@pytest.mark.parametrize("odd", ["\x00", "\x1b", "\ud800", "\u202e", "\x85"])
def test_what_a_page_cannot_hold_is_replaced(odd):
    assert text(f"a{odd}b") == "a\ufffdb"
    text(odd).encode()


def test_attributes_left_out_and_renamed():
    assert (
        tag("rect", x=1.04, y=-0.01, class_="a", stroke_width=2, rx=None)
        == '<rect x="1" y="0" class="a" stroke-width="2"></rect>'
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [(1.25, "1.2"), (10.0, "10"), (-0.04, "0"), (math.nan, "0"), (math.inf, "0"), (-3.5, "-3.5")],
)
def test_coordinates_are_short_and_finite(value, written):
    assert coordinate(value) == written


def test_long_names_are_cut_in_the_middle():
    cut = shortened("mean departure delay, origin and carrier, 3 h", 150)
    assert cut.startswith("mean")
    assert cut.endswith("3 h")
    assert width_of(cut) <= 150
    assert shortened("short", 150) == "short"
    assert shortened("anything", 0) == "…"
