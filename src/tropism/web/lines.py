"""Values over time: several lines, stretches of time set apart, events, and names at the lines' ends."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tropism.core.time import MICROSECONDS
from tropism.web.layout import (
    Band,
    Frame,
    Marker,
    Tone,
    bands,
    markers,
    nothing,
    spread,
    svg,
    time_axis,
    value_axis,
)
from tropism.web.svg import EMPTY, Markup, join, label, path, shortened, tag, titled, width_of
from tropism.web.ticks import Scale, number_ticks, padded
from tropism.web.words import day, decimal, finite


@dataclass(frozen=True, slots=True)
class Series:
    """One line: values at instants, None where a value is absent; the line is then broken, not lowered."""

    name: str
    points: tuple[tuple[int, float | None], ...]
    tone: Tone
    strong: bool = False
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines over time. ``baseline`` draws one value across; ``digits`` is how exactly values are told.

    ``period`` is said before the day of a value, such as "week of"; ``named`` puts names at the lines' ends.
    """

    title: str
    description: str
    series: tuple[Series, ...]
    bands: tuple[Band, ...] = ()
    markers: tuple[Marker, ...] = ()
    digits: int = 3
    baseline: float | None = None
    named: bool = True
    period: str = ""

    def draw(self, frame: Frame) -> Markup:
        """Return the drawing as one inline SVG."""
        known = [
            Series(each.name, tuple(sorted(_clean(each.points))), each.tone, each.strong, each.dashed)
            for each in self.series
        ]
        if not any(value is not None for each in known for _, value in each.points):
            return nothing(self.title, self.description, frame)
        return _Plot.of(self, known, frame).draw()


@dataclass(frozen=True, slots=True)
class _Plot:
    chart: LineChart
    series: list[Series]
    frame: Frame
    x: Scale
    y: Scale
    lanes: tuple[float, float]  # of the bands' names, of the pins

    @classmethod
    def of(cls, chart: LineChart, series: list[Series], frame: Frame) -> "_Plot":
        low, high = _range(chart, series)
        ticks = number_ticks(low, high)
        left = max([width_of(tick.label) for tick in ticks], default=20.0) + 12
        ends = max([width_of(each.name, 12.5) for each in series], default=0.0) + 18
        right = frame.width - (min(ends, 170) if chart.named and not frame.narrow else 10)
        names = 16 if chart.bands and not frame.narrow else 0
        pins = names + (32 if chart.markers else 0)
        times = [time for each in series for time, _ in each.points]
        start, end = min(times), max(times)
        if start == end:
            start, end = start - 43_200 * MICROSECONDS, end + 43_200 * MICROSECONDS
        return cls(
            chart,
            series,
            frame,
            Scale(start, end, left, right),
            Scale(low, high, frame.height - 38, pins + 10),
            (11, pins),
        )

    def draw(self) -> Markup:
        chart, x, y = self.chart, self.x, self.y
        top, bottom = y.end, y.start
        ticks = number_ticks(y.low, y.high, most=6 if bottom - top > 150 else 4)
        return svg(
            chart.title,
            chart.description,
            self.frame,
            bands(chart.bands, x, top - 4, bottom, None if self.frame.narrow else self.lanes[0]),
            value_axis(y, ticks, x.start, x.end),
            time_axis(x, top, bottom),
            self._baseline(),
            markers(chart.markers, x, self.lanes[1], bottom, 1 if self.frame.narrow else 2),
            join(self._line(each) for each in self.series),
            self._names(),
            EMPTY if self.frame.narrow else self._targets(),
            class_="lines",
            data_hover=self._hover(),
            data_plot=f"{x.start:g} {x.end:g} {top:g} {bottom:g}",
            tabindex="0",
        )

    def _baseline(self) -> Markup:
        base = self.chart.baseline
        if base is None:
            return EMPTY
        return tag(
            "line", x1=self.x.start, x2=self.x.end, y1=self.y(base), y2=self.y(base), class_="baseline"
        )

    def _line(self, series: Series) -> Markup:
        runs = list(_runs(series.points))
        drawn = " ".join(path(self._pixels(run)) for run in runs if len(run) > 1)
        alone = [self._pixels(run)[0] for run in runs if len(run) == 1]
        look = f"t-{series.tone}{' strong' if series.strong else ''}{' dashed' if series.dashed else ''}"
        return tag(
            "g",
            tag("path", d=drawn, class_="halo") if drawn else EMPTY,
            tag("path", d=drawn, class_="line") if drawn else EMPTY,
            *(tag("circle", cx=a, cy=b, r=3.5, class_="dot") for a, b in alone),
            class_=look,
        )

    def _pixels(self, run: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
        return [(self.x(time), self.y(value)) for time, value in run]

    def _names(self) -> Markup:
        if self.frame.narrow or not self.chart.named:
            return EMPTY
        ends = [(each, known[-1]) for each in self.series if (known := _known(each.points))]
        heights = spread([self.y(value) for _, (_, value) in ends], 16, self.y.end + 2, self.y.start - 2)
        return join(
            self._name(each, self.x(time), self.y(value), height)
            for (each, (time, value)), height in zip(ends, heights, strict=True)
        )

    def _name(self, series: Series, x: float, y: float, height: float) -> Markup:
        room = self.frame.width - self.x.end - 18
        return tag(
            "g",
            tag("path", d=path([(x + 3, y), (self.x.end + 12, height)]), class_="leader"),
            label(shortened(series.name, room, 12.5), self.x.end + 16, height + 4, class_="name"),
            class_=f"t-{series.tone}",
        )

    def _targets(self) -> Markup:
        """Give every point a tooltip of the browser's own, for readers without scripts."""
        return tag(
            "g",
            *(
                titled(
                    "circle",
                    f"{each.name}, {self._when(time)}: {decimal(value, self.chart.digits)}",
                    cx=self.x(time),
                    cy=self.y(value),
                    r=5,
                )
                for each in self.series
                for time, value in _known(each.points)
            ),
            class_="targets",
        )

    def _hover(self) -> str:
        """Return what the crosshair tells: for every instant its pixel, its words, and each line's value."""
        by_time = [dict(each.points) for each in self.series]
        times = sorted({time for each in by_time for time in each})
        points = [
            [round(self.x(time), 1), self._when(time), [self._reading(each.get(time)) for each in by_time]]
            for time in times
        ]
        told = {"series": [[each.name, each.tone] for each in self.series], "points": points}
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))

    def _when(self, time_us: int) -> str:
        return f"{self.chart.period} {day(time_us)}".strip()

    def _reading(self, value: float | None) -> list[str | float | None]:
        height = None if value is None else round(self.y(value), 1)
        return [decimal(value, self.chart.digits), height]


def _clean(points: Sequence[tuple[int, float | None]]) -> list[tuple[int, float | None]]:
    return [(time, finite(value)) for time, value in dict(points).items()]


def _known(points: Sequence[tuple[int, float | None]]) -> list[tuple[int, float]]:
    return [(time, value) for time, value in points if value is not None]


def _range(chart: LineChart, series: list[Series]) -> tuple[float, float]:
    values = [value for each in series for _, value in _known(each.points)]
    return padded(values if chart.baseline is None else [*values, chart.baseline])


def _runs(points: Sequence[tuple[int, float | None]]) -> list[list[tuple[int, float]]]:
    runs: list[list[tuple[int, float]]] = [[]]
    for time, value in points:
        if value is not None:
            runs[-1].append((time, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]
