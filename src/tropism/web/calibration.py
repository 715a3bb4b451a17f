"""Whether outputs can be taken at their word: what was promised against what came true."""

from dataclasses import dataclass

from tropism.web.layout import Frame, Tone, nothing, svg
from tropism.web.svg import Markup, coordinate, join, label, path, tag, titled
from tropism.web.ticks import Scale
from tropism.web.words import count, finite, percent


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """Outputs of about the same size: their mean, the share that came true, and how many they were."""

    mean_output: float
    positive_share: float
    count: int


@dataclass(frozen=True, slots=True)
class CalibrationPlot:
    """A reliability curve with the diagonal of perfect calibration, and the counts of outputs below."""

    title: str
    description: str
    points: tuple[CalibrationPoint, ...]
    tone: Tone = "leaf"

    def draw(self, frame: Frame) -> Markup:
        """Return the drawing as one inline SVG."""
        known = sorted(filter(_sound, self.points), key=lambda each: each.mean_output)
        if not known:
            return nothing(self.title, self.description, frame)
        left, right = 36.0, frame.width - 8
        x = Scale(0, 1, left, right)
        side = right - left
        y = Scale(0, 1, 8 + side, 8)
        tall = Frame(frame.width, side + 92)
        return svg(
            self.title,
            self.description,
            tall,
            _square(x, y),
            _curve(known, x, y, self.tone),
            _counts(known, x, side + 52, self.tone),
            class_="calibration",
        )


def _sound(point: CalibrationPoint) -> bool:
    output, share = finite(point.mean_output), finite(point.positive_share)
    return output is not None and share is not None and 0 <= output <= 1 and 0 <= share <= 1 <= point.count


def _square(x: Scale, y: Scale) -> Markup:
    marks = (0.0, 0.25, 0.5, 0.75, 1.0)
    lines = [tag("line", x1=x(0), x2=x(1), y1=y(each), y2=y(each), class_="grid") for each in marks]
    sides = [label(f"{each:g}", x(0) - 7, y(each) + 4, text_anchor="end") for each in marks[::2]]
    below = [label(f"{each:g}", x(each), y(0) + 17, text_anchor="middle") for each in marks[::2]]
    diagonal = tag("line", x1=x(0), x2=x(1), y1=y(0), y2=y(1), class_="diagonal")
    came_true = label("came true", x(0) + 5, y(1) + 13, class_="faint")
    output = label("output", x(0.77), y(0) + 17, text_anchor="middle", class_="faint")
    return join([*lines, *sides, *below, diagonal, came_true, output])


def _curve(points: list[CalibrationPoint], x: Scale, y: Scale, tone: Tone) -> Markup:
    places = [(x(each.mean_output), y(each.positive_share)) for each in points]
    dots = [
        titled("circle", _told(each), cx=a, cy=b, r=3.4, class_="dot")
        for each, (a, b) in zip(points, places, strict=True)
    ]
    return tag("g", tag("path", d=path(places), class_="line"), *dots, class_=f"t-{tone}")


def _counts(points: list[CalibrationPoint], x: Scale, base: float, tone: Tone) -> Markup:
    most = max(each.count for each in points)
    height = 30.0
    bars = [
        titled("path", _told(each), d=_bar(x(each.mean_output), base + height, height * each.count / most))
        for each in points
    ]
    line = tag("line", x1=x(0), x2=x(1), y1=base + height, y2=base + height, class_="axis")
    words = label(f"up to {count(most)} decisions", x(1), base - 6, text_anchor="end", class_="faint")
    return tag("g", *bars, line, words, class_=f"counts t-{tone}")


def _bar(x: float, base: float, height: float) -> str:
    tall = coordinate(max(1.0, height))
    return f"M{coordinate(x - 4)} {coordinate(base)}v-{tall}h8v{tall}z"


def _told(point: CalibrationPoint) -> str:
    promised, came = percent(point.mean_output, 1), percent(point.positive_share, 1)
    return f"Promised {promised}, came true {came} ({count(point.count)} decisions)"
