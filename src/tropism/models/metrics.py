"""What a model's outputs were worth, once the outcomes are known.

Every figure is computed from groups of equal outputs, sorted: one sort serves all, ties are exact, and the
order of the rows changes no bit. A metric that cannot be computed yet is None, never zero.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tropism.core.errors import InvalidInputError

_CLIP = 1e-15  # an output of exactly 0 or 1 that is wrong costs 34.5, not infinity


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Outputs of about the same size: what they promised on average and what came true.

    Units: mean_output and positive_share are shares in [0, 1].
    """

    count: int
    mean_output: float
    positive_share: float


@dataclass(frozen=True, slots=True)
class Scores:
    """The metrics of one set of decisions; None where the rows do not suffice to compute one.

    Units: log_loss in nats; capture = share of all positives found in the top capture_fraction of outputs.
    """

    count: int
    positives: int
    roc_auc: float | None
    log_loss: float | None
    brier: float | None
    calibration_error: float | None
    capture: float | None
    capture_fraction: float


@dataclass(frozen=True, slots=True)
class _Groups:
    """Equal outputs as one: ascending values, how many rows have each, and how many of those are positive."""

    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    positives: NDArray[np.int64]

    @property
    def totals(self) -> tuple[int, int]:
        return int(self.counts.sum()), int(self.positives.sum())


def score(outputs: ArrayLike, labels: ArrayLike, *, capture_fraction: float = 0.1, bins: int = 10) -> Scores:
    """Compute all metrics at once, with one sort.

    Shapes: n outputs in [0, 1] and n labels of 0 or 1 (or booleans).
    Raises: InvalidInputError if the shapes differ or a value is outside its range.
    """
    groups = _grouped(outputs, labels)
    count, positives = groups.totals
    return Scores(
        count=count,
        positives=positives,
        roc_auc=_roc_auc(groups),
        log_loss=_log_loss(groups),
        brier=_brier(groups),
        calibration_error=_calibration_error(_calibration_curve(groups, bins)),
        capture=_capture_at(groups, capture_fraction),
        capture_fraction=capture_fraction,
    )


def roc_auc(outputs: ArrayLike, labels: ArrayLike) -> float | None:
    """Give the chance that a positive outranks a negative, ties counting half; None if a class is absent.

    Shapes and errors: as `score`.    Source: Hanley & McNeil, Radiology 1982.
    """
    return _roc_auc(_grouped(outputs, labels))


def log_loss(outputs: ArrayLike, labels: ArrayLike) -> float | None:
    """Give the mean negative log-likelihood, outputs clipped to [1e-15, 1 - 1e-15]; None without rows.

    Shapes and errors: as `score`.    Units: nats.
    """
    return _log_loss(_grouped(outputs, labels))


def brier(outputs: ArrayLike, labels: ArrayLike) -> float | None:
    """Give the mean squared difference of output and label; None without rows.

    Shapes and errors: as `score`.    Source: Brier, Monthly Weather Review 1950.
    """
    return _brier(_grouped(outputs, labels))


def expected_calibration_error(outputs: ArrayLike, labels: ArrayLike, *, bins: int = 10) -> float | None:
    """Give the mean gap of promised and real share over bins of equal mass; None without rows.

    Shapes and errors: as `calibration_curve`.    Source: Nixon et al., CVPR workshops 2019 (adaptive bins).
    """
    return _calibration_error(_calibration_curve(_grouped(outputs, labels), bins))


def capture_at(outputs: ArrayLike, labels: ArrayLike, *, fraction: float) -> float | None:
    """Give the share of all positives found in the top fraction of outputs; None without a positive.

    Outputs tied at the cut share the remaining places in proportion: the mean over every order of the rows.
    Shapes and errors: as `score`; InvalidInputError too unless 0 < fraction <= 1.
    """
    return _capture_at(_grouped(outputs, labels), fraction)


def calibration_curve(outputs: ArrayLike, labels: ArrayLike, *, bins: int = 10) -> tuple[CalibrationBin, ...]:
    """Give promised against real share in at most so many bins of equal mass, ascending; none without rows.

    Equal outputs are never split, so a bin that ties fill swallows its neighbours' share.
    Shapes and errors: as `score`; InvalidInputError too if bins < 1.
    """
    return _calibration_curve(_grouped(outputs, labels), bins)


def _grouped(outputs: ArrayLike, labels: ArrayLike) -> _Groups:
    values, positive = _checked(outputs, labels)
    if not values.size:
        return _Groups(values, positive, positive)
    order = np.argsort(values)
    values, positive = values[order], positive[order]
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    counts = np.diff(np.r_[starts, values.size])
    return _Groups(values[starts], counts, np.add.reduceat(positive, starts))


def _checked(outputs: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values, truth = np.asarray(outputs, dtype=np.float64), np.asarray(labels)
    if values.ndim != 1 or values.shape != truth.shape:
        raise InvalidInputError(
            f"Cannot score {values.shape!r} outputs against {truth.shape!r} labels: the shapes differ "
            "or have more than one dimension. Give one output and one label per row."
        )
    if not np.all((values >= 0.0) & (values <= 1.0)):
        bad = values[~((values >= 0.0) & (values <= 1.0))][0]
        raise InvalidInputError(f"Cannot score output {bad!s}: it is outside [0, 1]. Give probabilities.")
    if not np.all((truth == 0) | (truth == 1)):
        raise InvalidInputError(
            f"Cannot score against labels of type {truth.dtype!s}: some are neither 0 nor 1. "
            "Leave out rows without an outcome, and give 0 or 1 for the others."
        )
    return values, truth.astype(np.int64)


def _roc_auc(groups: _Groups) -> float | None:
    count, positives = groups.totals
    pairs = positives * (count - positives)
    if not pairs:
        return None
    negatives = groups.counts - groups.positives
    below_twice = 2 * np.cumsum(negatives) - negatives  # a tie is half a win: counted in halves, it is exact
    return int(groups.positives @ below_twice) / (2 * pairs)


def _log_loss(groups: _Groups) -> float | None:
    count, _ = groups.totals
    if not count:
        return None
    values = np.clip(groups.values, _CLIP, 1.0 - _CLIP)
    negatives = groups.counts - groups.positives
    return -float(np.sum(groups.positives * np.log(values) + negatives * np.log1p(-values))) / count


def _brier(groups: _Groups) -> float | None:
    count, _ = groups.totals
    if not count:
        return None
    negatives = groups.counts - groups.positives
    return float(np.sum(groups.positives * (1.0 - groups.values) ** 2 + negatives * groups.values**2)) / count


def _capture_at(groups: _Groups, fraction: float) -> float | None:
    if not 0.0 < fraction <= 1.0:
        raise InvalidInputError(
            f"Cannot capture at {fraction!r}: it is no share of the rows. Choose 0 < fraction <= 1."
        )
    count, positives = groups.totals
    if not positives:
        return None
    counts, found = groups.counts[::-1], groups.positives[::-1]
    above = np.cumsum(counts) - counts
    taken = np.clip((fraction * count - above) / counts, 0.0, 1.0)
    return math.fsum((found * taken).tolist()) / positives


def _calibration_curve(groups: _Groups, bins: int) -> tuple[CalibrationBin, ...]:
    if bins < 1:
        raise InvalidInputError(
            f"Cannot bin outputs into {bins!r} bins: there is nothing to fill. Choose 1 or more."
        )
    count, _ = groups.totals
    if not count:
        return ()
    middle_twice = 2 * np.cumsum(groups.counts) - groups.counts
    which = middle_twice * bins // (2 * count)  # the bin in which the middle row of the group falls
    starts = np.flatnonzero(np.r_[True, which[1:] != which[:-1]])
    sizes = np.add.reduceat(groups.counts, starts).tolist()
    outputs = np.add.reduceat(groups.counts * groups.values, starts).tolist()
    found = np.add.reduceat(groups.positives, starts).tolist()
    return tuple(
        CalibrationBin(count=n, mean_output=total / n, positive_share=hits / n)
        for n, total, hits in zip(sizes, outputs, found, strict=True)
    )


def _calibration_error(curve: tuple[CalibrationBin, ...]) -> float | None:
    if not curve:
        return None
    total = sum(each.count for each in curve)
    return math.fsum(abs(each.mean_output - each.positive_share) * each.count for each in curve) / total
