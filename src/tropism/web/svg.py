"""Markup whose escaping cannot be forgotten: text becomes `Markup` only through `text` or as an attribute."""

import html
import math
import re
from collections.abc import Iterable
from typing import NewType

Markup = NewType("Markup", str)
"""Text that is safe inside a page: every part of it was escaped or written here."""

EMPTY = Markup("")
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_VOID = frozenset({"meta", "link", "br"})


def text(value: object) -> Markup:
    """Return a value as escaped text, with a sign for what a page cannot hold or what turns its direction."""
    return Markup(html.escape(_FORBIDDEN.sub("\ufffd", str(value)), quote=True))


def join(parts: Iterable[Markup]) -> Markup:
    """Return markup one after the other."""
    return Markup("".join(parts))


def tag(name: str, *children: Markup, **attributes: str | float | None) -> Markup:
    """Return an element: ``class_`` is written class, ``stroke_width`` stroke-width, and None is left out."""
    pairs = [
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    opening = f"<{name}{''.join(pairs)}>"
    return Markup(opening if name in _VOID else f"{opening}{''.join(children)}</{name}>")


def titled(name: str, title: str, **attributes: str | float | None) -> Markup:
    """Return a shape that says what it is when pointed at."""
    return tag(name, tag("title", text(title)), **attributes)


def label(content: str, x: float, y: float, **attributes: str | float | None) -> Markup:
    """Return text at a place of a drawing."""
    return tag("text", text(content), x=x, y=y, **attributes)


def path(points: Iterable[tuple[float, float]]) -> str:
    """Return a line through points, as the data of a path."""
    return "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)


def coordinate(value: float) -> str:
    """Return a number to a tenth of a pixel, in as few characters as it takes."""
    rounded = round(value, 1) if math.isfinite(value) else 0.0
    return f"{rounded:.1f}".rstrip("0").rstrip(".") if rounded else "0"


def width_of(content: str, size: float = 12.0) -> float:
    """Estimate how wide text stands on the page, on the generous side."""
    return sum(1.0 if ord(each) > 0x2E80 else 0.58 for each in content) * size


def shortened(content: str, width: float, size: float = 12.0) -> str:
    """Return text cut to a width in its middle: what names have in common is mostly their beginning."""
    if width_of(content, size) <= width:
        return content
    kept = len(content)
    while kept and width_of(_cut(content, kept), size) > width:
        kept -= 1
    return _cut(content, kept)


def _cut(content: str, kept: int) -> str:
    last = kept * 2 // 5
    return f"{content[: kept - last].rstrip()}…{content[len(content) - last :].lstrip()}"


def _attribute(value: str | float) -> str:
    return text(value) if isinstance(value, str) else coordinate(value)
