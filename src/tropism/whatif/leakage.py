"""Features that know the answer: as good alone as no honest feature is."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tropism.models.metrics import roc_auc
from tropism.whatif.columns import Column
from tropism.whatif.notes import Note

SUSPICIOUS_AUC = 0.995
ROWS_MAX = 20_000
"""More rows than these, evenly taken, make nothing clearer."""

CLASS_MIN = 10
"""With fewer rows of a class than this, a feature separates them by chance."""


def leakage_notes(columns: Sequence[Column], labels: Sequence[float | None]) -> list[Note]:
    """Return a warning for every feature that alone tells the label almost perfectly."""
    known = [row for row, label in enumerate(labels) if label is not None]
    rows = known[:: max(1, -(-len(known) // ROWS_MAX))]
    truth = np.array([labels[row] for row in rows], dtype=np.float64)
    if min(truth.sum(), len(truth) - truth.sum()) < CLASS_MIN:
        return []
    return [
        Note(
            f"Column {column.name!r} alone tells the label almost perfectly (AUC {auc:.4f}). It is probably "
            f"known only with the label, and then every figure here is too good to be true: repeat with "
            f"--drop {column.name!r}, unless it is known in time.",
            "warning",
        )
        for column in columns
        if (auc := _auc(column, rows, truth)) > SUSPICIOUS_AUC
    ]


def _auc(column: Column, rows: Sequence[int], truth: NDArray[np.float64]) -> float:
    """Return how well a feature alone ranks the labels, whichever way round; a missing value is one too."""
    values = [column.values[row] for row in rows]
    if column.kind == "category":
        return _ranked(_rates(values, truth), truth[1::2])
    numbers = np.array(values, dtype=np.float64)
    present = numbers[~np.isnan(numbers)]
    low, high = (present.min() - 1.0, present.max() + 1.0) if present.size else (0.0, 0.0)
    return max(_ranked(np.where(np.isnan(numbers), edge, numbers), truth) for edge in (low, high))


def _ranked(numbers: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    places = np.searchsorted(np.unique(numbers), numbers) / max(len(numbers), 1)
    auc = roc_auc(np.clip(places, 0.0, 1.0), truth)
    return 0.0 if auc is None else max(auc, 1.0 - auc)


def _rates(values: Sequence[object], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of 1 of each odd row's category among the even rows."""
    counts: dict[object, list[float]] = {}
    for value, label in zip(values[::2], truth[::2], strict=True):
        seen = counts.setdefault(value, [0.0, 0.0])
        seen[0] += label
        seen[1] += 1.0
    return np.array([counts[v][0] / counts[v][1] if v in counts else 0.5 for v in values[1::2]])
