"""One value per row and stretch of time, as shades: how much each feature has drifted, week by week."""

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

from tropism.core.time import MICROSECONDS
from tropism.web.layout import Frame, Marker, markers, nothing, svg, time_axis
from tropism.web.svg import EMPTY, Markup, coordinate, join, shortened, tag, text, titled, width_of
from tropism.web.ticks import Scale
from tropism.web.words import day, decimal, finite

_WEEK_US = 7 * 86_400 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One row: a name, and values at the instants where their stretches start."""

    name: str
    values: tuple[tuple[int, float | None], ...]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Rows of shades over time. ``thresholds`` (six at most) part the shades; an absent value is hollow."""

    title: str
    description: str
    rows: tuple[HeatRow, ...]
    thresholds: tuple[float, ...]
    unit: str = ""
    markers: tuple[Marker, ...] = ()
    digits: int = 2

    def draw(self, frame: Frame) -> Markup:
        """Return the drawing as one inline SVG, as high as its rows need."""
        if not any(row.values for row in self.rows):
            return nothing(self.title, self.description, frame)
        return _Grid.of(self, frame).draw()

    def shade(self, value: float | None) -> int | None:
        """Return the number of the shade of a value, from 0 up, or None if it is absent."""
        known = finite(value)
        return None if known is None else bisect_right(self.thresholds[:6], known)


@dataclass(frozen=True, slots=True)
class _Grid:
    chart: HeatMap
    frame: Frame
    x: Scale
    step: int
    top: float
    row: float

    @classmethod
    def of(cls, chart: HeatMap, frame: Frame) -> "_Grid":
        times = sorted({time for row in chart.rows for time, _ in row.values})
        step = min((b - a for a, b in pairwise(times)), default=_WEEK_US)
        names = max(width_of(row.name, 12) for row in chart.rows) + 10
        left = min(names, frame.width * (0.42 if frame.narrow else 0.3))
        top = 30.0 if chart.markers else 6.0
        row = 15.0 if frame.narrow else 18.0
        height = top + row * len(chart.rows) + 40
        return cls(
            chart,
            Frame(frame.width, height),
            Scale(times[0], times[-1] + step, left, frame.width - 6),
            step,
            top,
            row,
        )

    def draw(self) -> Markup:
        chart, bottom = self.chart, self.top + self.row * len(self.chart.rows)
        return svg(
            chart.title,
            chart.description,
            self.frame,
            join(self._row(row, self.top + self.row * k) for k, row in enumerate(chart.rows)),
            time_axis(self.x, bottom, bottom),
            markers(chart.markers, self.x, self.top - 8, bottom, 1),
            class_="heat",
        )

    def _row(self, row: HeatRow, top: float) -> Markup:
        name = shortened(row.name, self.x.start - 8)
        words = tag(
            "text",
            tag("title", text(row.name)) if name != row.name else EMPTY,
            text(name),
            x=self.x.start - 8,
            y=top + self.row / 2 + 4,
            text_anchor="end",
        )
        cells = self._merged(row, top) if self.frame.narrow else self._told(row, top)
        return tag("g", words, join(cells))

    def _told(self, row: HeatRow, top: float) -> Iterator[Markup]:
        """Give a cell for each value, which tells it when pointed at."""
        for time, value in row.values:
            shade = self.chart.shade(value)
            told = f"{row.name}, {day(time)}: {self.chart.unit} {decimal(value, self.chart.digits)}"
            inset = 0.6 if shade is None else 0.0
            yield titled(
                "rect",
                told,
                x=self.x(time) + inset,
                y=top + inset,
                width=max(1.0, self._width() - 0.8 - 2 * inset),
                height=self.row - 1 - 2 * inset,
                class_=_shade_class(shade),
            )

    def _merged(self, row: HeatRow, top: float) -> Iterator[Markup]:
        """Give one shape per shade: a small screen has no pointer, and less to load."""
        shaded = sorted(
            ((self.chart.shade(value), time) for time, value in row.values),
            key=lambda each: (-1 if each[0] is None else each[0], each[1]),
        )
        width, height = coordinate(self._width() - 0.3), coordinate(self.row - 1)
        for shade, cells in groupby(shaded, key=lambda each: each[0]):
            drawn = "".join(
                f"M{coordinate(self.x(time))} {coordinate(top)}h{width}v{height}h-{width}z"
                for _, time in cells
            )
            yield tag("path", d=drawn, class_=_shade_class(shade))

    def _width(self) -> float:
        return max(1.0, self.x(self.x.low + self.step) - self.x.start)


def shade_legend(chart: HeatMap) -> Markup:
    """Return the key of the shades."""
    edges = chart.thresholds[:6] or (math.inf,)
    names = [f"< {edges[0]:g}", *(f"{a:g} – {b:g}" for a, b in pairwise(edges)), f"≥ {edges[-1]:g}"]
    keys = [_key(f"h{k}", name) for k, name in enumerate(names)]
    return tag("div", *keys, _key("hx", "not computed"), class_="legend")


def _key(shade: str, name: str) -> Markup:
    box = tag("rect", x=0.5, y=0.5, width=17, height=11, class_=shade)
    drawn = tag("svg", box, viewBox="0 0 18 12", class_="key heat", aria_hidden="true")
    return tag("span", drawn, text(name))


def _shade_class(shade: int | None) -> str:
    return "hx" if shade is None else f"h{shade}"
