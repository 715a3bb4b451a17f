"""What each version was, and when: in training, in shadow, in canary, champion, watched, rolled back."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from tropism.web.layout import Band, Frame, bands, nothing, svg, time_axis
from tropism.web.svg import Markup, join, label, shortened, tag, text, titled, width_of
from tropism.web.ticks import Scale
from tropism.web.words import days_between, decimal, minute

Stage = Literal["training", "shadow", "canary", "champion", "watch", "rolled back"]
"""What a version can be; ``watch`` is the champion before, kept beside the new one."""

STAGES: tuple[Stage, ...] = get_args(Stage)


@dataclass(frozen=True, slots=True)
class Span:
    """A version in a stage, from an instant to another; None while it lasts."""

    version: str
    stage: Stage
    start_us: int
    end_us: int | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """A row for each version, in the order of their first spans."""

    title: str
    description: str
    spans: tuple[Span, ...]
    bands: tuple[Band, ...] = ()

    def draw(self, frame: Frame) -> Markup:
        """Return the drawing as one inline SVG, as high as its versions need."""
        if not self.spans:
            return nothing(self.title, self.description, frame)
        versions = list(dict.fromkeys(each.version for each in sorted(self.spans, key=_start)))
        row = 20.0 if len(versions) <= 30 else 13.0
        bottom = 6 + row * len(versions)
        x = self._scale(frame, max(width_of(each, 11.5) for each in versions))
        rows = [
            _row(version, [each for each in self.spans if each.version == version], x, 6 + row * k, row)
            for k, version in enumerate(versions)
        ]
        return svg(
            self.title,
            self.description,
            Frame(frame.width, bottom + 40),
            bands(self.bands, x, 2, bottom, None),
            join(rows),
            time_axis(x, bottom, bottom),
            class_="timeline",
        )

    def _scale(self, frame: Frame, names: float) -> Scale:
        low = min(each.start_us for each in self.spans)
        high = max(each.start_us if each.end_us is None else each.end_us for each in self.spans)
        return Scale(low, max(high, low + 1_000_000), min(names, frame.width / 3) + 8, frame.width - 8)


def stage_legend(spans: tuple[Span, ...]) -> Markup:
    """Return the key of the stages that occur."""
    seen = {each.stage for each in spans}
    return tag("div", *(_key(each) for each in STAGES if each in seen), class_="legend")


def _key(stage: Stage) -> Markup:
    box = tag("rect", x=0.5, y=1.5, width=21, height=9, rx=2, class_=_class(stage))
    drawn = tag("svg", box, viewBox="0 0 22 12", class_="key timeline", aria_hidden="true")
    return tag("span", drawn, text(stage))


def _row(version: str, spans: list[Span], x: Scale, top: float, row: float) -> Markup:
    middle = top + row / 2
    first = x(min(each.start_us for each in spans))
    name = shortened(version, x.start - 8, 11.5)
    room = width_of(name, 11.5)
    return tag(
        "g",
        tag("line", x1=x.start, x2=x.end, y1=middle, y2=middle, class_="guide"),
        tag("rect", x=first - room - 8, y=top, width=room + 6, height=row, class_="clear"),
        *_blocks(spans, x, top + row * 0.17, row * 0.66),
        label(name, first - 5, middle + 4, text_anchor="end", class_="version"),
    )


def _blocks(spans: list[Span], x: Scale, top: float, height: float) -> Iterator[Markup]:
    for each in sorted(spans, key=_start):
        end_us = x.high if each.end_us is None else each.end_us
        left, right = x(each.start_us), x(end_us)
        yield titled(
            "rect",
            _told(each),
            x=left,
            y=top,
            width=max(2.5, right - left - 0.8),
            height=height,
            rx=2,
            class_=_class(each.stage),
        )


def _told(span: Span) -> str:
    if span.end_us is None:
        when = f"since {minute(span.start_us)}"
    else:
        lasted = decimal(days_between(span.start_us, span.end_us), 1)
        when = f"{minute(span.start_us)} to {minute(span.end_us)} ({lasted} days)"
    return f"{span.version} {span.stage}, {when}{': ' if span.note else ''}{span.note}"


def _class(stage: Stage) -> str:
    return f"g-{stage.replace(' ', '-')}"


def _start(span: Span) -> int:
    return span.start_us
