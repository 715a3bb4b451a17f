"""Which features have changed since the reference: how much, and whether by more than chance.

Two sketches of one reference are compared cell by cell: bins or categories, out of range, others, missing.
Large samples make every trifle significant and small ones make every chance large, so a feature has drifted
only if its change is both significant, with the false discoveries over all features controlled, and large.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tropism.models.discovery import OnlineDiscovery, benjamini_hochberg, calibrated
from tropism.models.sketch.features import FeatureSketch, paired
from tropism.models.special import chi_square_tail

_EXPECTED_MIN = 5.0  # Cochran's rule: below it the chi-square approximation is poor


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """How one feature of the current rows differs from the reference; None where it cannot be computed yet.

    Units: psi in nats; jensen_shannon in bits, in [0, 1]; q_value = p_value adjusted for all features.
    drifted: a discovery with psi of at least the wanted size, None without a p-value (all rows in one cell).
    """

    feature: str
    rows_reference: int
    rows_current: int
    psi: float | None
    jensen_shannon: float | None
    p_value: float | None
    q_value: float | None = None
    drifted: bool | None = None


def drift_report(
    reference: FeatureSketch,
    current: FeatureSketch,
    *,
    rows_min: int = 200,
    psi_min: float = 0.1,
    false_discovery_rate: float = 0.05,
) -> tuple[FeatureDrift, ...]:
    """Compare all features in a single look, most severe first: drifted, then by psi, then by name.

    With fewer than rows_min rows on either side the measures are None. Over repeated looks at one reference
    the rate holds for each look alone: use `watch_drift` where every false alarm costs.
    Raises: InvalidInputError unless both sketches were built from one reference.
    """
    measured = _measured(reference, current, rows_min)
    tested = [each for each in measured if each.p_value is not None]
    q_values = benjamini_hochberg([each.p_value for each in tested if each.p_value is not None])
    adjusted = dict(zip([each.feature for each in tested], q_values, strict=True))
    judged = [
        _judged(each, q, found=q <= false_discovery_rate, psi_min=psi_min)
        if (q := adjusted.get(each.feature)) is not None
        else each
        for each in measured
    ]
    return tuple(sorted(judged, key=_severity))


def watch_drift(
    control: OnlineDiscovery,
    reference: FeatureSketch,
    current: FeatureSketch,
    *,
    rows_min: int = 200,
    psi_min: float = 0.1,
) -> tuple[OnlineDiscovery, tuple[FeatureDrift, ...]]:
    """Compare all features in one of many looks, the false discoveries controlled over all of them.

    Returns the control for the next look, and the report without q-values, most severe first.
    Raises: InvalidInputError unless both sketches were built from one reference.
    """
    judged = []
    for each in _measured(reference, current, rows_min):  # in the order of the schema, which knows no p-value
        if each.p_value is not None:
            control, found = control.test(calibrated(each.p_value))
            judged.append(_judged(each, None, found=found, psi_min=psi_min))
        else:
            judged.append(each)
    return control, tuple(sorted(judged, key=_severity))


def population_stability(reference: Sequence[int], current: Sequence[int]) -> float | None:
    """Give the population stability index of two rows of counts, half a row added to every cell.

    Shapes: k counts each.    Units: nats; None if either side is empty.
    Source: Siddiqi, Credit Risk Scorecards, 2006.
    """
    cells = _cells(reference, current)
    before, after = sum(reference), sum(current)
    if not before or not after:
        return None
    extra = 0.5 * len(cells)  # without it an empty cell, however unimportant, makes the index infinite
    shares = [((a + 0.5) / (before + extra), (b + 0.5) / (after + extra)) for a, b in cells]
    return math.fsum((q - p) * math.log(q / p) for p, q in shares)


def jensen_shannon(reference: Sequence[int], current: Sequence[int]) -> float | None:
    """Give the Jensen-Shannon divergence of two rows of counts.

    Shapes: k counts each.    Units: bits, in [0, 1]; None if either side is empty.
    Source: Lin, IEEE Transactions on Information Theory 1991.
    """
    before, after = sum(reference), sum(current)
    if not before or not after:
        return None
    shares = [(a / before, b / after) for a, b in _cells(reference, current)]
    total = math.fsum(_surprise(p, p + q) + _surprise(q, p + q) for p, q in shares)
    return min(1.0, max(0.0, 0.5 * total))


def chi_square_p_value(reference: Sequence[int], current: Sequence[int]) -> float | None:
    """Give the chance, if both rows of counts are samples of one distribution, of a difference as large.

    Cells expected to hold fewer than 5 rows on either side are pooled; None if fewer than two cells remain.
    Shapes: k counts each.    Source: Pearson 1900; pooling by Cochran, Biometrics 1954.
    """
    before, after = sum(reference), sum(current)
    if not before or not after:
        return None
    total = before + after
    cells = _pooled(_cells(reference, current), _EXPECTED_MIN * total / min(before, after))
    if len(cells) < 2:
        return None
    statistic = math.fsum(
        (a * after - b * before) ** 2 / ((a + b) * before * after) for a, b in cells
    )  # both rows of the table at once
    return chi_square_tail(statistic, len(cells) - 1)


def _measured(reference: FeatureSketch, current: FeatureSketch, rows_min: int) -> list[FeatureDrift]:
    enough = min(reference.rows, current.rows) >= max(1, rows_min)
    pairs = [(one.cells, other.cells) for one, other in paired(reference, current)]
    return [
        FeatureDrift(
            feature=name,
            rows_reference=reference.rows,
            rows_current=current.rows,
            psi=population_stability(before, after) if enough else None,
            jensen_shannon=jensen_shannon(before, after) if enough else None,
            p_value=chi_square_p_value(before, after) if enough else None,
        )
        for name, (before, after) in zip(reference.names, pairs, strict=True)
    ]


def _judged(each: FeatureDrift, q_value: float | None, *, found: bool, psi_min: float) -> FeatureDrift:
    return replace(each, q_value=q_value, drifted=found and (each.psi or 0.0) >= psi_min)


def _severity(each: FeatureDrift) -> tuple[bool, float, str]:
    return not each.drifted, -math.inf if each.psi is None else -each.psi, each.feature


def _cells(reference: Sequence[int], current: Sequence[int]) -> list[tuple[int, int]]:
    return [(a, b) for a, b in zip(reference, current, strict=True) if a or b]


def _pooled(cells: list[tuple[int, int]], rows_min: float) -> list[tuple[int, int]]:
    kept = sorted((cell for cell in cells if sum(cell) >= rows_min), key=sum)
    rare = [cell for cell in cells if sum(cell) < rows_min]
    if not rare:
        return kept
    pool = (sum(a for a, _ in rare), sum(b for _, b in rare))
    if sum(pool) >= rows_min or not kept:
        return [*kept, pool]
    (a, b), *others = kept  # still too rare: into the smallest of the others
    return [(a + pool[0], b + pool[1]), *others]


def _surprise(share: float, of: float) -> float:
    return share * math.log2(2.0 * share / of) if share else 0.0
