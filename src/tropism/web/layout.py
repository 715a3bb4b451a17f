"""What all charts share: the frame they fill, where labels go without meeting, and the axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tropism.web.svg import EMPTY, Markup, join, label, tag, text, width_of
from tropism.web.ticks import Scale, Tick, time_ticks

Tone = Literal["leaf", "sky", "ochre", "stone", "plum", "rose"]
"""A colour by name; the style sheet gives it a value for light and for dark paper."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The space a chart fills, in pixels at its natural size. A narrow one, a phone's, holds less text."""

    width: float
    height: float

    @property
    def narrow(self) -> bool:
        """Whether there is no room for labels beside the plot."""
        return self.width < 560


class Chart(Protocol):
    """Something that draws itself into any frame."""

    @property
    def title(self) -> str:
        """What it shows, for those who do not see it as well."""
        ...

    def draw(self, frame: Frame) -> Markup:
        """Return the drawing as one inline SVG."""
        ...


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time that is set apart, such as a storm."""

    start_us: int
    end_us: int
    label: str


@dataclass(frozen=True, slots=True)
class Marker:
    """An event at an instant, such as a promotion; ``detail`` is what it tells when pointed at."""

    at_us: int
    label: str
    detail: str = ""
    tone: Tone = "leaf"


def svg(title: str, description: str, frame: Frame, *children: Markup, **attributes: str | None) -> Markup:
    """Return a drawing with its title and description."""
    return tag(
        "svg",
        tag("title", text(title)),
        tag("desc", text(description)),
        *children,
        viewBox=f"0 0 {frame.width:g} {frame.height:g}",
        role="img",
        **attributes,
    )


def nothing(title: str, description: str, frame: Frame) -> Markup:
    """Return the drawing of a chart that has no values yet, and says so."""
    small = Frame(frame.width, min(frame.height, 120))
    words = label("No values yet", small.width / 2, small.height / 2 + 4, class_="none", text_anchor="middle")
    box = tag("rect", x=0.5, y=0.5, width=small.width - 1, height=small.height - 1, rx=6, class_="nothing")
    return svg(title, description, small, box, words)


def place(spans: Sequence[tuple[float, float]], tiers: int, gap: float = 4.0) -> list[int | None]:
    """Return for each stretch the first tier where it meets no earlier one, or None if there is none."""
    taken: list[list[tuple[float, float]]] = [[] for _ in range(tiers)]
    found: list[int | None] = []
    for low, high in spans:
        free = (
            tier for tier, row in enumerate(taken) if all(high + gap <= a or low >= b + gap for a, b in row)
        )
        tier = next(free, None)
        if tier is not None:
            taken[tier].append((low, high))
        found.append(tier)
    return found


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return positions near the wanted ones, in their order, at least a gap apart and within low and high."""
    order = sorted(range(len(wanted)), key=lambda each: wanted[each])
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    blocks: list[tuple[float, list[int]]] = []  # the first position of a block, and who stands in it
    for each in order:
        blocks.append((_within(wanted[each], low, high), [each]))
        while len(blocks) > 1 and blocks[-2][0] + gap * len(blocks[-2][1]) > blocks[-1][0]:
            members = [*blocks[-2][1], *blocks[-1][1]]
            centred = [wanted[member] - gap * place for place, member in enumerate(members)]
            first = sum(centred) / len(centred)
            blocks[-2:] = [(_within(first, low, high - gap * (len(members) - 1)), members)]
    found = [0.0] * len(wanted)
    for first, members in blocks:
        for place_in, member in enumerate(members):
            found[member] = first + gap * place_in
    return found


def time_axis(x: Scale, top: float, bottom: float, *, grid: bool = False) -> Markup:
    """Return the axis of time below a plot, with as many marks as fit."""
    room = 46 if x.end - x.start < 500 else 58
    ticks = time_ticks(int(x.low), int(x.high), most=max(2, int((x.end - x.start) / room)))
    return join(
        [tag("line", x1=x.start, x2=x.end, y1=bottom, y2=bottom, class_="axis")]
        + [_time_tick(tick, x(tick.value), top if grid else bottom, bottom) for tick in ticks]
    )


def value_axis(y: Scale, ticks: Sequence[Tick], left: float, right: float) -> Markup:
    """Return the marks of a vertical axis, with a faint line across the plot for each."""
    return join(
        tag(
            "g",
            tag("line", x1=left, x2=right, y1=y(tick.value), y2=y(tick.value), class_="grid"),
            label(tick.label, left - 8, y(tick.value) + 4, text_anchor="end"),
        )
        for tick in ticks
    )


def bands(items: Sequence[Band], x: Scale, top: float, bottom: float, lane: float | None) -> Markup:
    """Return stretches of time, shaded; their names go on the lane above, where they fit."""
    seen = [each for each in items if each.end_us >= x.low and each.start_us <= x.high]
    spans = [_stretch(each, x) for each in seen]
    shades = [
        tag(
            "g",
            tag("title", text(each.label)),
            tag("rect", x=a, y=top, width=b - a, height=bottom - top),
            class_="band",
        )
        for each, (a, b) in zip(seen, spans, strict=True)
    ]
    return join([*shades, *(_band_names(seen, spans, x, lane) if lane is not None else [])])


def markers(items: Sequence[Marker], x: Scale, lane: float, bottom: float, tiers: int) -> Markup:
    """Return events as pins: a line down through the plot, a dot on the lane, a name where there is room."""
    seen = [each for each in items if x.low <= each.at_us <= x.high]
    halves = [width_of(each.label, 11) / 2 for each in seen]
    spans = [(x(each.at_us) - half, x(each.at_us) + half) for each, half in zip(seen, halves, strict=True)]
    tiers_of = place(spans, tiers)
    return join(
        _pin(each, x(each.at_us), lane, bottom, tier) for each, tier in zip(seen, tiers_of, strict=True)
    )


def _pin(marker: Marker, x: float, lane: float, bottom: float, tier: int | None) -> Markup:
    height = lane - 7 - 12 * (tier or 0)
    return tag(
        "g",
        tag("title", text(marker.detail or marker.label)),
        tag("line", x1=x, x2=x, y1=lane, y2=bottom),
        tag("line", x1=x, x2=x, y1=height + 2, y2=lane, class_="stem") if tier else EMPTY,
        tag("circle", cx=x, cy=lane, r=3.2),
        label(marker.label, x, height, text_anchor="middle") if tier is not None else EMPTY,
        class_=f"pin t-{marker.tone}",
    )


def _stretch(band: Band, x: Scale) -> tuple[float, float]:
    low, high = x(max(x.low, band.start_us)), x(min(x.high, band.end_us))
    return low, max(high, low + 2.0)


def _band_names(seen: list[Band], spans: list[tuple[float, float]], x: Scale, lane: float) -> list[Markup]:
    order = sorted(range(len(seen)), key=lambda each: seen[each].start_us - seen[each].end_us)
    extents = []
    for each in order:
        middle, half = sum(spans[each]) / 2, width_of(seen[each].label, 10.5) / 2
        middle = _within(middle, x.start + half, x.end - half)
        extents.append((middle - half, middle + half))
    fits = place(extents, 1, gap=10)
    return [
        label(seen[each].label, (a + b) / 2, lane, class_="bandname", text_anchor="middle")
        for each, (a, b), tier in zip(order, extents, fits, strict=True)
        if tier is not None and b - a <= x.end - x.start
    ]


def _time_tick(tick: Tick, x: float, top: float, bottom: float) -> Markup:
    return tag(
        "g",
        tag("line", x1=x, x2=x, y1=top, y2=bottom + 5, class_="tick"),
        label(tick.label, x, bottom + 18, text_anchor="middle"),
        label(tick.below, x, bottom + 32, text_anchor="middle", class_="faint") if tick.below else EMPTY,
    )


def _within(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))
