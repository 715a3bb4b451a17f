"""What learns: named here, or a function of the user's own."""

import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from tropism.core.errors import InvalidInputError, NotSupportedError
from tropism.models.estimators import hist_gradient_boosting, logistic
from tropism.models.rows import Predictor, Train, TrainingRows
from tropism.whatif.recency import newest_that_predict

__all__ = ["MODELS", "train_boosting", "train_logistic", "trainer"]


def train_boosting(rows: TrainingRows, seed: int) -> Predictor:
    """Fit gradient boosting on the newest rows that predict best."""
    settings: dict[str, Any] = {"max_leaf_nodes": 15, "learning_rate": 0.1, "l2_regularization": 1.0}
    quick = partial(hist_gradient_boosting, max_iter=20, **settings)
    return hist_gradient_boosting(newest_that_predict(rows, seed, quick), seed, max_iter=60, **settings)


def train_logistic(rows: TrainingRows, seed: int) -> Predictor:
    """Fit a logistic regression on the newest rows that predict best."""
    return logistic(newest_that_predict(rows, seed, logistic), seed)


MODELS: dict[str, Train] = {"hist-gradient-boosting": train_boosting, "logistic": train_logistic}
"""Models by name."""


def trainer(name: str) -> Train:
    """Return what trains a model: one by name, or ``module:function`` taking TrainingRows and a seed.

    Raises: InvalidInputError if there is none; NotSupportedError where an extra is missing.
    """
    known = MODELS.get(name)
    if known is not None:
        _check_installed(name)
        return known
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise InvalidInputError(
            f"Cannot use --model {name!r}: there is none of that name. "
            f"Name {' or '.join(MODELS)}, or a function of your own as module:function."
        )
    return _own(name, module, function)


def _own(name: str, module: str, function: str) -> Train:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(import_module(module), function, None)
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".")
        raise InvalidInputError(
            f"Cannot use --model {name!r}: importing {module!r} failed with {told}. Mend the module."
        ) from error
    if not callable(found):
        raise InvalidInputError(
            f"Cannot use --model {name!r}: module {module!r} has no function {function!r}. "
            f"Define {function}(rows, seed), returning something with predict(rows)."
        )
    return cast("Train", found)


def _check_installed(name: str) -> None:
    try:
        import sklearn  # noqa: F401, PLC0415 (an extra)
    except ImportError as error:
        raise NotSupportedError(
            f"Cannot use --model {name!r}: scikit-learn is not installed. Run pip install 'tropism[models]'."
        ) from error
