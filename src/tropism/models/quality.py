"""Whether the data is broken, which is not drift: a model must not learn from it.

A finding needs the jump to be larger than its limit by more than four standard errors, so that a small window
does not block training by chance.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tropism.core.errors import InvalidInputError
from tropism.models.sketch.categories import Categories
from tropism.models.sketch.features import FeatureSketch, paired
from tropism.models.sketch.histogram import Histogram

Fact: TypeAlias = Literal[
    "missing_share",
    "unseen_share",
    "out_of_range_share",
    "constant",
]

_STANDARD_ERRORS = 4.0
_CHANCE_MAX = 1e-6  # of a healthy feature looking constant


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """How far a window may stray from the reference before its data counts as broken.

    What is found in a service's data blocks training until a window of at least rows_min rows is sound, or
    until the service has shown none for findings_last windows: it was renamed, removed, or fell silent.

    How many rows there are is not judged: no reference knows how many there should be.

    Units: shares of rows by which the window may exceed the reference. may_be_constant names features that a
    healthy window can hold still (the month).
    Raises: InvalidInputError if a share is outside [0, 1], or a count below 1.
    """

    missing_share_rise: float = 0.05
    unseen_share_rise: float = 0.05
    out_of_range_share_rise: float = 0.05
    rows_min: int = 200
    findings_last: int = 3
    may_be_constant: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        shares = (self.missing_share_rise, self.unseen_share_rise, self.out_of_range_share_rise)
        if not all(0.0 <= share <= 1.0 for share in shares):
            raise InvalidInputError(
                f"Cannot limit quality by {shares!r}: a share is outside [0, 1]. Give shares of rows."
            )
        for name, count in (("rows_min", self.rows_min), ("findings_last", self.findings_last)):
            if count < 1:
                raise InvalidInputError(f"Cannot limit quality: {name} is {count!r}. Choose 1 or more.")


@dataclass(frozen=True, slots=True)
class QualityFinding:
    """One reason not to learn from a window.

    Units: value and limit are shares of rows. For a constant feature, value is the share that its only cell
    has in the reference.
    """

    feature: str
    fact: Fact
    value: float
    limit: float


def quality_findings(
    reference: FeatureSketch,
    current: FeatureSketch,
    *,
    limits: QualityLimits | None = None,
) -> tuple[QualityFinding, ...]:
    """Give all reasons not to learn from the current window, feature by feature.

    Below rows_min rows on either side, there are none.
    Raises: InvalidInputError unless both sketches were built from one reference.
    """
    limits = limits or QualityLimits()
    findings: list[QualityFinding] = []
    pairs = paired(reference, current)
    if min(reference.rows, current.rows) >= max(1, limits.rows_min):
        for name, (before, after) in zip(reference.names, pairs, strict=True):
            findings += _rises(name, before, after, limits)
            if name not in limits.may_be_constant:
                findings += _constant(name, before, after)
    return tuple(findings)


def _rises(
    name: str, before: Histogram | Categories, after: Histogram | Categories, limits: QualityLimits
) -> Iterator[QualityFinding]:
    facts: list[tuple[Fact, int, int, float]] = [
        ("missing_share", before.missing, after.missing, limits.missing_share_rise)
    ]
    if isinstance(before, Histogram) and isinstance(after, Histogram):
        rise = limits.out_of_range_share_rise
        facts.append(("out_of_range_share", before.out_of_range, after.out_of_range, rise))
    if isinstance(before, Categories) and isinstance(after, Categories):
        facts.append(("unseen_share", before.others, after.others, limits.unseen_share_rise))
    for fact, then, now, rise in facts:
        limit, share = then / before.rows + rise, now / after.rows
        if share - _STANDARD_ERRORS * math.sqrt(share * (1.0 - share) / after.rows) > limit:
            yield QualityFinding(name, fact, share, limit)


def _constant(
    name: str, before: Histogram | Categories, after: Histogram | Categories
) -> Iterator[QualityFinding]:
    present = after.rows - after.missing
    cell = _only_cell(after)
    known = before.rows - before.missing
    if cell is None or not known:
        return
    share = before.cells[cell] / known
    limit = _CHANCE_MAX ** (1.0 / present)
    if share < limit:  # share^present is the chance of it in healthy data
        yield QualityFinding(name, "constant", share, limit)


def _only_cell(feature: Histogram | Categories) -> int | None:
    filled = [i for i, count in enumerate(feature.cells[:-1]) if count]
    if len(filled) != 1:
        return None
    if isinstance(feature, Histogram):
        return filled[0] if feature.low == feature.high else None
    return filled[0] if filled[0] < len(feature.categories) else None  # others may be many categories
