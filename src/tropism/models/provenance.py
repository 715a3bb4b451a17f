"""What a version was made with: code, environment and data, each as a digest."""

import inspect
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import distributions
from types import ModuleType
from typing import Any

import msgspec
import numpy as np

from tropism.models.rows import TrainingRows


def code_of(*functions: Callable[..., Any]) -> str:
    """Return the digest of the source of the modules that functions stand in."""
    parts = []
    for function in functions:
        module: ModuleType | None = inspect.getmodule(function)
        try:
            parts.append(inspect.getsource(module if module is not None else function))
        except (OSError, TypeError):
            parts.append(repr(getattr(function, "__qualname__", function)))
    return sha256("\n".join(parts).encode()).hexdigest()


def environment() -> str:
    """Return the digest of all installed distributions and their versions."""
    names = sorted({f"{d.metadata['Name']}=={d.version}".lower() for d in distributions()})
    return sha256("\n".join(names).encode()).hexdigest()


def data_of(rows: TrainingRows) -> str:
    """Return the digest of rows to learn from: features, outcomes, and when each was known."""
    found = sha256()
    for column in rows.columns:
        found.update(_bytes_of(column))
    for array in (rows.outcomes, rows.decided_us, rows.known_us):
        found.update(array.tobytes())
    return found.hexdigest()


def _bytes_of(column: Any) -> bytes:
    if isinstance(column, np.ndarray) and column.dtype != object:
        return f"{column.dtype.str}/{len(column)}/".encode() + column.tobytes()
    return msgspec.msgpack.encode(list(column))
