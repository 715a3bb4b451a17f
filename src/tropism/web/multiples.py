"""Charts on a page: drawn for a wide and for a narrow screen, alone or as small multiples."""

from collections.abc import Sequence
from typing import Literal

from tropism.web.layout import Chart, Frame, Tone
from tropism.web.lines import Series
from tropism.web.svg import EMPTY, Markup, join, tag, text

WIDE = Frame(1000, 340)
NARROW = Frame(380, 270)


def figure(chart: Chart, *, legend: Markup = EMPTY, wide: Frame = WIDE, narrow: Frame = NARROW) -> Markup:
    """Return a chart with its legend; the style sheet shows the drawing that suits the screen."""
    return tag("figure", legend, both(chart, wide, narrow))


def small_multiples(
    charts: Sequence[Chart],
    *,
    legend: Markup = EMPTY,
    wide: Frame,
    narrow: Frame,
    across: int,
    across_narrow: int = 1,
) -> Markup:
    """Return charts of one kind side by side, each under its name, to be compared at a glance."""
    cells = [
        tag("div", tag("h3", text(each.title)), both(each, wide, narrow), class_="cell") for each in charts
    ]
    grid = tag("div", *cells, class_=f"multiples across-{across} narrow-{across_narrow}")
    return tag("figure", legend, grid)


def both(chart: Chart, wide: Frame, narrow: Frame) -> Markup:
    """Return a chart drawn twice."""
    return join(
        [
            tag("div", chart.draw(wide), class_="wide"),
            tag("div", chart.draw(narrow), class_="narrow"),
        ]
    )


def line_legend(series: Sequence[Series], *extra: Markup) -> Markup:
    """Return the key of lines, with further keys behind."""
    return tag("div", *(_line_key(each) for each in series), *extra, class_="legend")


def key(kind: Literal["band", "pin"], name: str, tone: Tone = "leaf") -> Markup:
    """Return the key of a band or a pin."""
    if kind == "band":
        drawn = tag("g", tag("rect", x=7, y=0, width=8, height=12), class_="band")
    else:
        drawn = tag(
            "g",
            tag("line", x1=11, x2=11, y1=3, y2=12),
            tag("circle", cx=11, cy=4, r=3.2),
            class_=f"pin t-{tone}",
        )
    return tag("span", tag("svg", drawn, viewBox="0 0 22 12", class_="key", aria_hidden="true"), text(name))


def _line_key(series: Series) -> Markup:
    look = f"t-{series.tone}{' strong' if series.strong else ''}{' dashed' if series.dashed else ''}"
    drawn = tag("g", tag("path", d="M0 6H22", class_="line"), class_=look)
    return tag(
        "span", tag("svg", drawn, viewBox="0 0 22 12", class_="key", aria_hidden="true"), text(series.name)
    )
