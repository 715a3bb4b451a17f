"""The colours are told apart by everybody, and text stands out from its paper."""

import re
from itertools import combinations, pairwise

import pytest

from tropism.web.page import _asset

TONES = ("leaf", "sky", "ochre", "stone", "plum", "rose")
# Viénot, Brettel & Mollon 1999, in linear RGB
BLIND = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protan": ((0.11238, 0.88762, 0), (0.11238, 0.88762, 0), (0.00401, -0.00401, 1)),
    "deutan": ((0.29275, 0.70725, 0), (0.29275, 0.70725, 0), (-0.02234, 0.02234, 1)),
}


def palettes():
    style = _asset("page.css")
    light, dark = style.split("@media screen and (prefers-color-scheme: dark)", 1)
    found = [dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part.split("* {")[0])) for part in (light, dark)]
    return {"light": found[0], "dark": found[1]}


def linear(colour):
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def contrast(one, other):
    lights = sorted(
        sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear(each), strict=True))
        for each in (one, other)
    )
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def oklab(rgb):
    r, g, b = (max(0.0, each) for each in rgb)
    long, middle, short = (
        (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3),
        (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3),
        (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3),
    )
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def seen(colour, matrix):
    rgb = linear(colour)
    return oklab([sum(a * b for a, b in zip(row, rgb, strict=True)) for row in matrix])


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("paper", ["paper", "raised"])
@pytest.mark.parametrize("ink", ["ink", "soft", "faint", *TONES])
def test_text_stands_out_from_its_paper(mode, paper, ink):
    colours = palettes()[mode]
    assert contrast(colours[ink], colours[paper]) >= 4.5


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_best_value_stands_out_from_its_wash(mode):
    colours = palettes()[mode]
    assert contrast(colours["leaf"], colours["wash"]) >= 4.5


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("eyes", BLIND)
def test_lines_are_told_apart_by_all_eyes(mode, eyes):
    colours = palettes()[mode]
    for one, other in combinations(TONES, 2):
        a, b = seen(colours[one], BLIND[eyes]), seen(colours[other], BLIND[eyes])
        assert sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) ** 0.5 >= (
            0.045 if "stone" in {one, other} else 0.07
        ), (one, other)  # stone's lines are dotted


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("eyes", BLIND)
def test_shades_grow_steadily_in_one_direction(mode, eyes):
    colours = palettes()[mode]
    lightness = [seen(colours[f"h{k}"], BLIND[eyes])[0] for k in range(7)]
    ordered = sorted(lightness, reverse=mode == "light")
    assert lightness == ordered
    assert min(abs(a - b) for a, b in pairwise(lightness)) >= 0.03
