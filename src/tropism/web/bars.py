"""How values are spread, and how a whole is made up."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tropism.web.layout import Frame, Tone, nothing, place, svg
from tropism.web.svg import EMPTY, Markup, join, label, shortened, tag, text, titled, width_of
from tropism.web.ticks import Scale, log_ticks
from tropism.web.words import count, duration, finite, percent

_BARS_MOST = 60


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many durations were longer than ``low`` and at most ``high``, in seconds."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations on a logarithmic axis, with marks such as quantiles: (name, seconds)."""

    title: str
    description: str
    buckets: tuple[Bucket, ...]
    marks: tuple[tuple[str, float | None], ...] = ()
    tone: Tone = "leaf"

    def draw(self, frame: Frame) -> Markup:
        """Return the drawing as one inline SVG."""
        buckets = coarser([each for each in self.buckets if _sound(each)])
        if not buckets:
            return nothing(self.title, self.description, frame)
        low, high = math.log10(_low(buckets[0])), math.log10(buckets[-1].high)
        air = 0.02 * (high - low) + 1e-6
        x = Scale(low - air, high + air, 8, frame.width - 8)
        marks = [(name, value) for name, each in self.marks if (value := finite(each)) and value > 0]
        y = Scale(0, max(each.count for each in buckets), frame.height - 26, 44 if marks else 8)
        return svg(
            self.title,
            self.description,
            frame,
            tag("g", *_bars(buckets, x, y), class_=f"bars t-{self.tone}"),
            _seconds_axis(x, y.start),
            join(_marks(marks, x, y.start)),
            class_="histogram",
        )


@dataclass(frozen=True, slots=True)
class Parts:
    """Named durations in seconds as horizontal bars, in the order given."""

    title: str
    description: str
    parts: tuple[tuple[str, float], ...]
    tone: Tone = "sky"

    def draw(self, frame: Frame) -> Markup:
        """Return the drawing as one inline SVG, as high as its parts need."""
        known = [(name, value) for name, each in self.parts if (value := finite(each)) is not None]
        if not known:
            return nothing(self.title, self.description, frame)
        whole = sum(max(0.0, value) for _, value in known)
        names = min(frame.width * 0.42, 10 + max(width_of(name, 13) for name, _ in known))
        wide = Scale(0, max(1e-12, *(value for _, value in known)), names, frame.width - 112)
        rows = [_part(name, value, whole, wide, 28.0 * k) for k, (name, value) in enumerate(known)]
        tall = Frame(frame.width, 28.0 * len(known) + 2)
        return svg(self.title, self.description, tall, *rows, class_=f"parts t-{self.tone}")


def coarser(buckets: Sequence[Bucket], most: int = _BARS_MOST) -> list[Bucket]:
    """Return neighbouring buckets joined until there are at most so many."""
    ordered = sorted(buckets, key=lambda each: each.low)
    group = math.ceil(len(ordered) / most) or 1
    joined = [ordered[k : k + group] for k in range(0, len(ordered), group)]
    return [Bucket(each[0].low, each[-1].high, sum(one.count for one in each)) for each in joined]


def _sound(bucket: Bucket) -> bool:
    low, high = finite(bucket.low), finite(bucket.high)
    return low is not None and high is not None and 0 <= low < high and high > 1e-15 and bucket.count > 0


def _low(bucket: Bucket) -> float:
    return bucket.low if bucket.low > 1e-15 else bucket.high / 2


def _bars(buckets: list[Bucket], x: Scale, y: Scale) -> Iterator[Markup]:
    whole = sum(each.count for each in buckets)
    for each in buckets:
        left, right = x(math.log10(_low(each))), x(math.log10(each.high))
        top = min(y(each.count), y.start - 1)
        told = f"{duration(each.low)} to {duration(each.high)}: {count(each.count)}"
        yield titled(
            "rect",
            f"{told} ({percent(each.count / whole, 1)})",
            x=left,
            y=top,
            width=max(1.0, right - left - 1),
            height=y.start - top,
        )


def _seconds_axis(x: Scale, bottom: float) -> Markup:
    most = max(2, int((x.end - x.start) / 70))
    found = log_ticks(10**x.low, 10**x.high, most) or [10 ** ((x.low + x.high) / 2)]
    spots = [(x(math.log10(each)), duration(each)) for each in found]
    ticks = [
        tag(
            "g",
            tag("line", x1=a, x2=a, y1=bottom, y2=bottom + 5, class_="tick"),
            _centred(words, a, bottom, x),
        )
        for a, words in spots
    ]
    return join([tag("line", x1=x.start, x2=x.end, y1=bottom, y2=bottom, class_="axis"), *ticks])


def _centred(words: str, at: float, bottom: float, x: Scale) -> Markup:
    half = width_of(words) / 2
    middle = max(x.start - 6 + half, min(x.end + 6 - half, at))
    return label(words, middle, bottom + 18, text_anchor="middle")


def _marks(marks: list[tuple[str, float]], x: Scale, bottom: float) -> Iterator[Markup]:
    words = [f"{name} {duration(value)}" for name, value in marks]
    places = [max(x.start, min(x.end, x(math.log10(value)))) for _, value in marks]
    widths = [width_of(each, 12) for each in words]
    turned = [at + width + 8 > x.end for at, width in zip(places, widths, strict=True)]
    spans = [
        (at - width - 6, at) if left else (at, at + width + 6)
        for at, width, left in zip(places, widths, turned, strict=True)
    ]
    for each, at, left, tier in zip(words, places, turned, place(spans, 3, gap=2), strict=True):
        top = 12 + 14 * (tier or 0)
        yield tag(
            "g",
            tag("title", text(each)),
            tag("line", x1=at, x2=at, y1=top - 9, y2=bottom),
            label(each, at + (-5 if left else 5), top, text_anchor="end" if left else "start")
            if tier is not None
            else EMPTY,
            class_="mark",
        )


def _part(name: str, value: float, whole: float, x: Scale, top: float) -> Markup:
    end = max(x.start + 2, x(max(0.0, value)))
    share = percent(value / whole) if whole > 0 else ""
    return tag(
        "g",
        tag("title", text(f"{name}: {duration(value)}")),
        label(
            shortened(name, x.start - 10, 13), x.start - 10, top + 18, text_anchor="end", class_="partname"
        ),
        tag("rect", x=x.start, y=top + 5, width=end - x.start, height=18, rx=2),
        label(duration(value), end + 8, top + 18, class_="value"),
        label(share, x.end + 112, top + 18, text_anchor="end", class_="faint"),
    )
